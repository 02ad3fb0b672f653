//! Release manifests: which images are good, said by a quorum of release keys and written into a public log.
//!
//! A policy with a table `[release]` names no image itself. It pins release keys, how many of them must agree, and a log;
//! the references come from the newest [`ReleaseManifest`] that they signed. [`ReleaseBundle::verify`] checks signatures,
//! rotations and inclusion; [`VerifiedRelease::apply`] makes the policy that is in force at one moment. Formats in
//! `policy/RELEASE.md`.
//!
//! # Establishes
//! A quorum of the pinned keys, or of those that such a quorum named in their place, signed exactly this manifest, and it
//! stands in the pinned log under a head that is no older than the policy allows.
//!
//! # Does not establish
//! That the log showed everybody the same: this version knows no witnesses, and every verdict says so. That the images are
//! good: whoever holds the keys answers for that, and anybody can build them again.

mod bundle;
mod error;
mod kernels;
mod keys;
mod manifest;
mod verify;

pub(crate) use keys::check_keys;

pub use bundle::{BUNDLE_BYTES_MAX, BUNDLE_TYPE, ReleaseBundle, ReleaseEntry, ReleaseSignature};
pub use error::ReleaseError;
pub use kernels::KERNELS_WITHOUT_HOST_AML;
pub use keys::{KEYS_MAX, ReleaseKey, ReleaseKeys, THRESHOLD_MIN};
pub use manifest::{
    LIFETIME_S_MAX, MANIFEST_BYTES_MAX, MANIFEST_TYPE, ReferenceMatrix, ReleaseManifest, ReleasedFile, ReleasedImage,
};
pub use verify::{LastSeen, VerifiedRelease};

use hanzo_attestation::UnixTime;

/// How far a release's or a log's clock may run ahead of the reader's, in seconds.
const CLOCK_SKEW_S: u64 = 60;

/// True if `time` lies further ahead of `now` than clocks may differ.
fn is_ahead(time: u64, now: UnixTime) -> bool {
    time > now.0.saturating_add(CLOCK_SKEW_S)
}
