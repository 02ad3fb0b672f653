//! The ledger on a disk: [`MiningLedger`] keeps the blocks of one chain and the state after the newest of them in SQLCipher.
//!
//! A block and all that it changes are one transaction: after a crash it is there whole or not at all. The same block again is
//! told so and changes nothing; another block of a height that is there is refused. A store of another genesis, a damaged one and
//! one that holds other entries than its newest block's root are refused when they are opened.
//!
//! Beside the blocks it keeps what a node shows to others: certificates of finality ([`MiningLedger::certify`]), one handover an epoch,
//! and where each transaction stands.
//!
//! What it never does: decide which blocks are final, or apply one whose signatures it has not verified itself.
//!
//! # Does not establish
//! Freshness: a host can put back an older file whole. The chain's other validators know newer blocks, and a light client holds a
//! finalized root; what must not go back on its own is the signer's (`enclave/signer`).
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
#![allow(
    clippy::result_large_err,
    reason = "a refusal says what was expected and what came; it is not the fast path"
)]

mod error;
mod ledger;
mod schema;

pub use error::MiningError;
pub use ledger::{CERTIFICATE_SPACING, CERTIFICATES_KEPT, Committed, MiningLedger, Placed};
pub use schema::{APPLICATION_ID, SCHEMA};
