//! A validator as a process: its files, the beginning of a chain, a boot with a new consensus key, links, engine, ledger and RPC.
//!
//! * [`config`] is `validator.toml`; [`files`] are the others of its folder.
//! * [`ceremony`] waits for a genesis with a key that is in memory alone; [`boot`] makes the key of a later boot.
//! * [`rotate`] lets other validators endorse that key and puts it on the chain; until it votes, [`sync`] brings final blocks.
//! * [`snapshot`] brings a whole state to whoever is far behind; [`serve`] answers for both, each peer in its turn.
//! * [`reports`] puts conflicting votes of others on the chain.
//! * [`node`] runs all of it; [`program`] is the command line that both programs share. What evidence is made and asked for is a
//!   [`Machine`], which a program brings along: `hanzo-validator` this machine's, `hanzo-validator-simulated` a simulator's.
//!
//! * [`vote`] is a validator in a guest's image: a measured text in place of the folder's files, its account's key ([`account`]) over a
//!   descriptor, its key's number from the chain.
//! * [`observer`] is a node without a key: it follows others by certificates ([`follow`] asks them) and answers RPC.
//!
//! What it never does: write a consensus key anywhere, vote with a key that the chain does not have, follow a block without a
//! certificate of the committee that the state before it named, start a chain anew where there was one.
//!
//! # Spec
//! `enclave/chain/SPEC.md`, "Validator".
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
#![allow(
    clippy::result_large_err,
    reason = "a refusal says what was expected and what came; it is not the fast path"
)]

pub mod account;
pub mod boot;
pub mod ceremony;
pub mod config;
mod error;
pub mod files;
pub mod follow;
mod gossip;
pub mod kept;
pub mod machine;
pub mod node;
pub mod observer;
pub mod program;
pub mod reports;
pub mod rotate;
mod rpc;
pub mod serve;
pub mod snapshot;
pub mod sync;
pub mod vote;
mod watch;

pub use config::Config;
pub use error::NodeError;
pub use machine::Machine;
