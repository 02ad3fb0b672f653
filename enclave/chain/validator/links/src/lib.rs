//! Links between validators: commonware's `Sender`, `Receiver` and `Blocker` over TCP, each connection TLS 1.3 with X25519MLKEM768
//! alone and attested in both directions.
//!
//! * [`Identity`] is one boot: the keys of [`ValidatorKeys`](hanzo_chain_types::ValidatorKeys), the evidence that proves them (purpose
//!   `hanzo.validator.v1`) and the owner's signature that gives the validator this key. [`Greeting`] is what goes to peers of it.
//! * [`handshake`] lets each side of a fresh connection judge the other: network, account, incarnation, evidence by policy, and a
//!   channel proof over this very connection. Nothing that a peer says is used before all of it passed.
//! * [`Network::judge_again`] holds the evidence of those that are connected against the time and policy of now.
//! * [`Network`] holds the connections: who may connect is told by the caller out of the chain's state ([`Network::set_members`]) and, of
//!   accounts that the chain does not have yet, out of its configuration ([`Network::set_candidates`]).
//!   [`Network::register`] gives the two ends of a numbered channel.
//!
//! # Establishes
//! A message of peer K came, whole and unread by others, from the boot whose evidence names consensus key K, and K is the key that the
//! chain has of that account, or a later one, or one that only reads the chain ([`LOOKING`]); the account's owner signed it.
//!
//! # Does not establish
//! That the message is true, new or in time. That whoever runs the machine lets messages through.
//!
//! # Spec
//! `enclave/chain/SPEC.md`, "Links".
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        reason = "tests stop at the first surprise"
    )
)]
#![allow(
    clippy::result_large_err,
    reason = "a refusal says what was expected and what came; it is not the fast path"
)]

mod again;
mod channel;
mod connection;
mod error;
mod evidence;
mod frame;
mod greeting;
pub mod handshake;
mod members;
mod network;
#[cfg(test)]
mod tests;
mod tls;

pub use again::Standing;
pub use channel::{LinkBlocker, LinkReceiver, LinkSender, ReceiveError};
pub use error::LinkError;
pub use evidence::{Appraised, Appraiser, AttestError, Attester, PolicyAppraiser};
pub use greeting::{Admission, Greeting, Identity, LOOKING, Peer, Registered};
pub use network::{Counters, Limits, Network, PeerAddress, PeerStatus};
