//! What guest and key broker say to each other: RCAR 0.4.0 of the CoCo key broker, and our grants on top of it.
//!
//! [`GuestSession`] is the guest's side without any I/O: it writes the bodies of the three requests and opens what comes
//! back. [`AttestBody`] is the broker's side. [`Grant`] and [`WrappedDek`] are the formats of a released key; `SPEC.md`
//! beside this crate has them with a worked example.
//!
//! It never opens a socket, reads a clock, or opens a wrapped key whose grant is not signed by the pinned broker: HPKE
//! base mode authenticates nobody, and a host can run a broker of its own.
//!
//! # Spec
//! CoCo KBS attestation protocol (RCAR) 0.4.0; DESIGN section 4, "Grant".
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

mod error;
mod grant;
mod session;
mod wire;
mod wrap_key;

pub use error::{GrantError, SessionError, WireError};
pub use grant::{GRANT_PURPOSE, Grant, WRAPPED_DEK_BYTES_MAX, WrappedDek, wrap_info};
pub use kbs_types::{ErrorInformation, Tee};
pub use session::{Expected, GuestSession, OpenedGrant};
pub use wire::{
    ATTEST_BYTES_MAX, ATTEST_PATH, AUTH_BYTES_MAX, AUTH_PATH, AttestBody, COOKIE_NAME, ERROR_TYPE_PREFIX,
    PROTOCOL_VERSION, RESOURCE_PATH, auth_request, challenge_body, decode_nonce, encode_nonce, resource_path,
};
pub use wrap_key::{WrapKey, recipient};
