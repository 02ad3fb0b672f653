//! Evidence in, verdict out: authenticate, bind, appraise, result.
//!
//! [`verify_bundle`] answers "does the guest that answered *my* challenge reach *my* policy"; [`verify_rcar`] answers the same
//! for a key broker's session; [`read_bundle`] reads a bundle that answers nobody's challenge, and its type is another
//! one, so that no client or broker can mistake it for a verdict; [`read_certificate`] does so for an RA-TLS certificate. Receipts are checked offline by [`receipt`]. Evidence in
//! other projects' formats is read by [`foreign`], their gateways' receipts by [`aci`]; results in their form are written and read by [`ear`].
//!
//! # Establishes
//! [`AttestationResult`]: a genuine processor (or a simulator, and then it says so for ever) signed this keyset and this
//! challenge, and the guest reaches the policy's minimum tier by rules that are all listed.
//!
//! # Does not establish
//! Who is at the other end of a connection: each connection proves itself against the keyset (`hanzo-client`). That the
//! reference values are good ones. Anything after [`AttestationResult::valid_until`].
//!
//! This crate does no I/O, reads no clock, draws no randomness and runs no unsafe code: time, roots, collateral, policy and
//! challenge are arguments, so that every verdict can be replayed.
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

pub mod aci;
pub mod callers;
mod certificate;
pub mod corim;
pub mod ear;
mod error;
pub mod explanation;
pub mod foreign;
mod help;
mod in_force;
pub mod order;
pub mod reading;
pub mod receipt;
pub mod result;
mod verify;
pub mod view;

pub use certificate::read_certificate;
pub use error::{Refusal, VerifyError};
pub use reading::Reading;
pub use result::AttestationResult;
pub use verify::{VerifierContext, read_bundle, verify_bundle, verify_rcar, verify_rcar_with};
pub use view::{DeviceView, ReleaseView, TdxView, TpmView, VerdictView};
