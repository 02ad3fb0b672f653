//! What guest and key broker say to each other: RCAR 0.4.0 of the CoCo key broker, and our grants on top of it.
//!
//! [`GuestSession`] is the guest's side without any I/O: it writes the bodies of the three requests and opens what comes
//! back. [`AttestBody`] is the broker's side. [`Grant`] and [`WrappedDek`] are the formats of a key released to our own
//! guests, [`jwe`] that of a secret released to CoCo's; `SPEC.md` beside this crate has them with a worked example.
//!
//! It never opens a socket, reads a clock, or opens a wrapped key whose grant is not signed by the pinned broker: HPKE
//! base mode authenticates nobody, and a host can run a broker of its own.
//!
//! # Spec
//! CoCo KBS attestation protocol (RCAR) 0.4.0; RFC 7516, 7518, 3394; SP 800-185; draft-ietf-jose-pqc-kem-05; DESIGN section
//! 4, "Grant".
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

mod among;
mod attest_body;
mod certificates;
mod error;
mod evidence;
mod grant;
pub mod heads;
mod init_data;
pub mod jwe;
mod session;
mod tee_key;
mod wire;
mod wrap_key;

pub use among::{Among, SeveralSigned};
pub use attest_body::AttestBody;
pub use certificates::CertificateOf;
pub use error::{GrantError, SessionBindingError, SessionError, WireError};
pub use evidence::{SampleEvidence, SessionEvidence};
pub use grant::{GRANT_PURPOSE, Grant, WRAPPED_DEK_BYTES_MAX, WrappedDek, wrap_info};
pub use init_data::InitData;
pub use kbs_types::{ErrorInformation, Tee};
pub use session::{Expected, GuestSession, OpenedGrant};
pub use tee_key::TeeKey;
pub use wire::{
    ATTEST_BYTES_MAX, ATTEST_PATH, AUTH_BYTES_MAX, AUTH_PATH, COOKIE_NAME, ERROR_TYPE_PREFIX, KBS_PATH,
    PROTOCOL_VERSION, RESOURCE_PATH, SampleTee, auth_request, auth_request_with, challenge_body, decode_nonce,
    encode_nonce, resource_path,
};
pub use wrap_key::{WrapKey, recipient};
