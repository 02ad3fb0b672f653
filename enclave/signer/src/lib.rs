//! Keys that sign inside the enclave: consensus votes, mining receipts, transactions and bridge messages, and the miner's wallet.
//!
//! * [`SignRequest`] is everything that can be asked: a closed list of kinds, each with its role, its network and a domain string
//!   of its own. There is no call that signs bytes.
//! * [`SigningGuard`] decides, purely: one notarization and one finalization a view, never nullify and finalize in one view, one
//!   content per sequence number, nothing at or below the floor.
//! * [`Journal`] is the hash-chained log. What is decided is in it, synced, before a signature is made; the signature is in it,
//!   synced, before it leaves.
//! * [`FreshnessSource`] says which head of the journal is the newest. No head, another head and no answer all mean: do not sign.
//! * [`Signer`] puts these together. [`ephemeral`] makes consensus keys that live for one boot and are written nowhere.
//! * [`interchange`] and [`history`] read, write and obey EIP-3076 files; [`wallet`] holds a miner's key and its encrypted file.
//! * [`Statement`] is what an owner says beside transactions: a closed list too.
//!
//! What it never does: open a socket, read a clock, export a signer's key, start from nothing when its state is missing.
//! `SPEC.md` beside this crate lists the bytes and the rules.
//!
//! ```
//! use hanzo_signer::{Network, SecurityLevel, SignRequest, Vote, ephemeral};
//!
//! # fn main() -> Result<(), hanzo_signer::SignerError> {
//! let network = Network::ai_chain(36964, [7; 32]);
//! let (mut signer, _) = ephemeral::boot(network, [1; 32], 1, SecurityLevel::MlDsa65)?;
//! let vote = |payload| SignRequest::notarize(network, Vote { epoch: 0, view: 1, parent: 0, payload });
//! let signature = signer.sign(&vote([2; 32]))?;
//! assert_eq!(signer.sign(&vote([2; 32]))?, signature);
//! assert_eq!(signer.sign(&vote([3; 32])).unwrap_err().code(), "signer.conflict");
//! # Ok(())
//! # }
//! ```
//!
//! # Spec
//! FIPS 204, EIP-3076, RFC 9106, draft-irtf-cfrg-xchacha-03, BIP-39.
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

mod checkpoint;
mod codec;
pub mod ephemeral;
mod error;
pub mod freshness;
mod guard;
pub mod history;
pub mod interchange;
mod journal;
mod key;
mod request;
mod signer;
mod statement;
mod storage;
pub mod wallet;

pub use error::{Place, Refusal, SignerError};
pub use freshness::{FreshnessError, FreshnessSource, Head};
pub use guard::{Decision, Floor, SigningGuard};
pub use journal::Journal;
pub use key::{PublicKey, SecurityLevel, SignerKey};
pub use request::{Claim, Kind, Network, NetworkKind, Observed, Role, SignRequest, Subject, Vote};
pub use signer::{Signer, verify};
pub use statement::Statement;
pub use storage::{FileStorage, Storage, Volatile};
pub use wallet::MiningWallet;
