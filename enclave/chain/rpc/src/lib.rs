//! What a node of the AI chain tells others: JSON-RPC 2.0, blocks as server-sent events, metrics and a page to look at.
//!
//! A node implements [`Node`]: a [`hanzo_mining::MiningLedger`], a place for transactions, and a word about itself. [`serve`] makes
//! everything else of that: blocks, accounts, committees, supply, light proofs as `hanzo-verify` reads them. [`calls`] has the
//! questions and answers as types, [`client`] writes and reads them without a socket.
//!
//! Whoever asks believes nothing of it: what counts is in a light proof, which is checked against the genesis.
//!
//! What it never does: sign, hold a key, dial. Bodies, batches, connections and streams are bounded; what is not understood whole is
//! refused with what, where, expected and got.
//!
//! # Spec
//! `SPEC.md` beside this crate; JSON-RPC 2.0; server-sent events (WHATWG HTML 9.2); OpenMetrics 1.0.
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
#![allow(
    clippy::result_large_err,
    reason = "a refusal says what was expected and what came; it is not the fast path"
)]

mod answer;
pub mod calls;
pub mod client;
mod envelope;
mod guard;
mod http;
mod metrics;
mod node;
mod proofs;
mod stream;
mod views;

pub use envelope::{Failure, REQUEST_BYTES_MAX};
pub use http::{ServerConfig, serve};
pub use node::{Node, NodeStanding, PeerStanding, SubmitError};
pub use views::{block_view, transaction_view};
