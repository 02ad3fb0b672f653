//! The guest's log of receipts: gapless, chained, signed and durable before anything leaves (DESIGN section 4, "Receipt").
//!
//! [`ReceiptLog::begin`] fixes a random id when a request starts. [`ReceiptLog::finish`] gives the receipt its `seq` and
//! `prev`, signs it with both keys and appends it in one durable transaction, which it shares with those that end at the same
//! time; only then does the caller hold a [`DisclosedReceipt`]. [`ReceiptLog::fetch`] gives it again, to its owner alone, with the proof that it is in the log.
//!
//! [`PublicLog`] is that log for everybody: one tree over the receipts of all boots, in the order in which they were made,
//! under a name and a key of its own (C2SP tlog-tiles). A receipt becomes a leaf in the transaction that gives it its number.
//!
//! [`AciView`] signs the receipts of another project's format beside ours, for the same answers, and keeps them for a while.
//!
//! Never: a receipt before its commit; two receipts with one `seq`; salts that the store's key opens. Salts are sealed under a
//! key derived from the owner's secret, of which only the SHA-256 is stored: whoever holds the database and its key learns
//! nothing from the commitments. A request without an owner gets its salts once, in its stream, or never.
//!
//! # Does not establish
//! Freshness of the store: a host can put back an older file. Receipts and heads that clients hold then show the fork (two
//! receipts with one `seq`, two heads of one size).
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod accounts;
mod aci;
mod error;
mod group;
mod log;
mod orders;
mod owner;
mod public;
mod queue;
mod schema;
mod tree;

pub use accounts::{Accounts, Usage};
pub use aci::{AciEnd, AciKept, AciPending, AciShelf, AciView, AciViewError, KEPT_MAX, KEPT_S};
pub use error::ReceiptLogError;
pub use hanzo_log::Origin;
pub use hanzo_log::tile::Tile;
pub use hanzo_verifier::aci::API_VERSION as ACI_VERSION;
pub use hanzo_verifier::receipt::{
    Commitment, DisclosedReceipt, Endpoint, Fence, LogHead, LogProof, Outcome, ReceiptId, Salt, Salts, Sampling,
    SignedReceipt, TRANSPORT_TLS, Transport, Work,
};
pub use log::{Finished, FreshBytes, Pending, ReceiptLog, RequestStart};
pub use orders::{ORDERS_MAX, OrderOutcome, PASSING_ORDERS_MAX};
pub use owner::Owner;
pub use public::{LOG_SEED_LEN, PublicLog};
pub use schema::{APPLICATION_ID, SCHEMA};
