//! The guest's log of receipts: gapless, chained, signed and durable before anything leaves (DESIGN section 4, "Receipt").
//!
//! [`ReceiptLog::begin`] fixes a random id when a request starts. [`ReceiptLog::finish`] gives the receipt its `seq` and
//! `prev`, signs it with both keys and appends it in one durable transaction; only then does the caller hold a
//! [`DisclosedReceipt`]. [`ReceiptLog::fetch`] gives it again, to its owner alone.
//!
//! Never: a receipt before its commit; two receipts with one `seq`; salts that the store's key opens. Salts are sealed under a
//! key derived from the owner's secret, of which only the SHA-256 is stored: whoever holds the database and its key learns
//! nothing from the commitments. A request without an owner gets its salts once, in its stream, or never.
//!
//! # Does not establish
//! Freshness of the store: a host can put back an older file. Receipts that clients hold then show the fork (two receipts with
//! one `seq`), and each boot starts a log of its own under its own keyset.
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod accounts;
mod error;
mod log;
mod owner;
mod schema;

pub use accounts::{Accounts, Usage};
pub use error::ReceiptLogError;
pub use hanzo_verifier::receipt::{
    Commitment, DisclosedReceipt, Endpoint, Outcome, ReceiptId, Salt, Salts, Sampling, SignedReceipt, TRANSPORT_TLS,
    Transport, Work,
};
pub use log::{Finished, FreshBytes, Pending, ReceiptLog, RequestStart};
pub use owner::Owner;
pub use schema::{APPLICATION_ID, SCHEMA};
