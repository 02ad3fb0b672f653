//! The AI chain's consensus as bytes: who votes, how many it takes, what a vote says, and the certificate that makes a block final.
//! Everything that a light client needs, and nothing of the engine that makes it (`hanzo-chain`).
//!
//! [`ConsensusConfig`] holds the parameters of a network, [`quorum`] the arithmetic, [`ValidatorSet`] the committee, [`AIChainVote`]
//! the three votes with exactly the bytes that `hanzo-signer` signs, [`FinalityCertificate`] the proof. [`ValidatorKeys`] are the keys of
//! one boot and what its evidence signs; [`Candidate`] and [`assemble`] begin a chain. [`verify_finality`] is the one
//! function that makes a [`FinalHeader`].
//!
//! What it never does: read a clock, draw randomness, touch a file or a socket, count in fractions. `SPEC.md` of `enclave/chain`
//! lists the bytes.
//!
//! # Does not establish
//! That a validator set is the chain's: the caller pins it, or knows it from a final state.
//!
//! ```compile_fail,E0451
//! fn forged(header: hanzo_ledger::Header) -> hanzo_chain_types::FinalHeader {
//!     hanzo_chain_types::FinalHeader { header }
//! }
//! ```
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
#![deny(clippy::arithmetic_side_effects, clippy::float_arithmetic)]
#![allow(
    clippy::result_large_err,
    reason = "a refusal says what was expected and what came; it is not the fast path"
)]

mod candidate;
mod certificate;
mod config;
mod keys;
mod light;
mod quorum;
mod request;
mod set;
mod snapshot;
mod vote;

pub use candidate::{
    Beginning, CANDIDATE_BYTES_MAX, Candidate, CandidateError, EVIDENCE_BYTES_MAX, assemble, before_genesis,
};
pub use certificate::{CERTIFICATE_BYTES_MAX, FinalHeader, FinalityCertificate, FinalityError, verify_finality};
pub use config::{ConfigError, ConsensusConfig, ConsensusMode};
pub use keys::{CHANNEL_KEY_BYTES, VALIDATOR_KEYS_BYTES, ValidatorKeys};
pub use light::{
    HANDOVERS_MAX, HEADERS_MAX, Handover, Inclusion, LIGHT_PROOF_BYTES_MAX, LightClient, LightError, LightProof,
    PaidAnswer, Subject, committee_of,
};
pub use quorum::{COMMITTEE_MAX, COMMITTEE_MIN, CommitteeError, QUORUM_PERCENT, faults, quorum};
pub use request::{KEY_REQUEST_BYTES_MAX, KeyRequest, KeyRequestError};
pub use set::{SetError, VALIDATOR_SET_BYTES_MAX, Validator, ValidatorSet};
pub use snapshot::{Assembly, OFFER_BYTES_MAX, Offer, Snapshot, SnapshotError};
pub use vote::{AIChainVote, Proposal};
