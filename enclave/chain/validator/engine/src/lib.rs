//! The AI chain's consensus: commonware's simplex with ML-DSA-65 votes from hanzo-signer, over the ledger's pure transitions.
//!
//! * [`Scheme`] is the engine's signature scheme. It verifies the bytes that [`AIChainVote`] defines, and asks a [`VoteSigner`] for votes:
//!   [`GuardedSigner`] puts every one through the signer's typed requests and its double-sign guard.
//! * [`ConsensusEngine`] runs a validator: it proposes and checks [`AIChainBlock`]s, hands them round, and gives final ones, in order and with
//!   their [`FinalityCertificate`]s, to a [`FinalBlocks`], such as [`StoredBlocks`] on a disk. It runs for one epoch and its committee;
//!   [`run_epochs`] goes from epoch to epoch.
//! * [`Pool`] holds the transactions that wait, over all epochs.
//!
//! Networks are the caller's: four pairs of commonware's `Sender` and `Receiver`, whose peers must be authenticated as the validators'
//! keys. Time is the runtime's clock. `enclave/chain/SPEC.md` lists the bytes, the rules and what is not here.
//!
//! What it never does: sign anything but votes, apply a block whose signatures it has not verified, notarize a block that is not on
//! its disk, follow two final blocks of one height.
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
#![allow(
    clippy::result_large_err,
    reason = "a refusal says what was expected and what came; it is not the fast path"
)]

mod engine;
mod epochs;
mod evidence;
mod final_blocks;
mod held;
mod keys;
mod node;
mod pool;
mod scheme;
mod store;
mod stored;
mod tree;
mod voting;
mod wire;

pub use engine::{ConsensusEngine, Links, Running, StartError, Validator};
pub use epochs::{EpochStart, Outcome, Progress, Standing, run_epochs};
pub use final_blocks::{CommitError, Fault, FinalBlocks, MemoryLedger};
pub use hanzo_chain_types::{AIChainVote, ConsensusConfig, ConsensusMode, FinalityCertificate, ValidatorSet};
/// A block of the chain: the ledger's.
pub use hanzo_ledger::Block as AIChainBlock;
pub use keys::{ValidatorKey, VoteSignature};
pub use node::Halt;
pub use pool::{POOL_BYTES_MAX, POOL_TXS_MAX, Pool, PoolReject, SENDER_TXS_MAX};
pub use scheme::{Certificate, Scheme};
pub use stored::{StoredBlocks, Watcher};
pub use voting::{GuardedSigner, VoteSigner};
pub use wire::MESSAGE_BYTES_MAX;

/// What stands for a block in votes: its id, SHA-256.
pub type BlockId = commonware_cryptography::sha256::Digest;
