//! Bytes to authenticated claims, and the formats everything else hangs on.
//!
//! This crate parses evidence and formats, checks signatures against roots that the caller passes in, and binds the
//! claims to a nonce and a key set. It never decides whether a guest is good enough: that is `hanzo-policy`, and the
//! only function that turns evidence into a verdict is in `hanzo-verifier`.
//!
//! It never does I/O, reads a clock, draws randomness or runs unsafe code. Time, roots, collateral and nonces are
//! arguments, so that every verdict can be replayed.
//!
//! The spine, one hop each: [`RawEvidence`] -> [`ParsedEvidence`] -> [`Authentic`]`<Claims>` -> [`Bound`]`<Claims>`.
//! Formats are described with worked examples in `attestation/SPEC.md`.
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

pub mod aci;
pub mod attacks;
pub mod binding;
pub mod bundle;
pub mod channel;
pub mod config;
pub mod digest;
pub mod eventlog;
pub mod evidence;
pub mod foreign;
pub mod freshness;
pub mod jcs;
pub mod keyset;
pub mod merkle;
pub mod name;
pub mod nvidia;
pub mod padding;
mod pinned;
pub mod ratls;
pub mod snp;
pub mod statement;
pub mod tdx;
pub mod tpm;

pub use binding::{Binding, BindingError, Bound};
pub use digest::{Digest256, Digest384, Nonce};
pub use evidence::{
    Anchors, AttestationError, Authentic, AuthenticDevices, Claims, Collateral, DeviceClaims, KnownSignatures,
    ParsedDevice, ParsedEvidence, RawEvidence, Revocation, UnixTime,
};
