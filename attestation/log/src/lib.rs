//! Append-only logs that nobody needs to trust: Merkle trees of RFC 6962, signed checkpoints, tiles, and audit logs on top.
//!
//! * [`tree`]: roots, inclusion and consistency proofs; [`Frontier`] appends in O(log n) without the earlier leaves.
//! * [`Checkpoint`], [`SignedCheckpoint`]: a log's size and root as a C2SP signed note under [`LogKey`], two signatures
//!   (Ed25519 and ML-DSA) that must both verify. [`AuthenticCheckpoint`] exists only where they did.
//! * [`WitnessKey`]: who cosigns heads of many logs, so that a log cannot show two stories unnoticed.
//! * [`DatedCheckpoint`]: the same with the time of its signing, for readers to whom an old head says too little.
//! * [`proof`]: the same proofs out of stored subtrees.
//! * [`tile`]: paths and bytes of C2SP tlog-tiles.
//! * [`audit`]: a broker's decisions as such a log, checked line by line; a removed, altered or reordered entry is named by
//!   its number.
//!
//! A leaf is any bytes. The crate reads no file and no clock and draws nothing: bytes come in, verdicts go out. `SPEC.md`
//! beside it has the formats.
//!
//! ```
//! use hanzo_log::{Frontier, tree};
//!
//! let mut log = Frontier::default();
//! for leaf in [b"first".as_slice(), b"second", b"third"] {
//!     log.push(tree::leaf_hash(&[leaf]))?;
//! }
//! assert_eq!((log.size(), log.root()), (3, tree::root(&[b"first".as_slice(), b"second", b"third"].map(|l| tree::leaf_hash(&[l])))));
//! # Ok::<(), hanzo_log::LogError>(())
//! ```
//!
//! # Spec
//! RFC 6962 section 2.1, RFC 9162 section 2.1; C2SP signed-note, tlog-checkpoint, tlog-cosignature, tlog-tiles.
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

pub mod audit;
mod checkpoint;
mod cosignature;
mod dated;
mod error;
mod frontier;
mod key;
mod note;
pub mod proof;
pub mod tile;
pub mod tree;

pub use checkpoint::{AuthenticCheckpoint, Checkpoint, SignedCheckpoint};
pub use cosignature::{Cosigned, WitnessKey};
pub use dated::{AuthenticDatedCheckpoint, DatedCheckpoint, SignedDatedCheckpoint};
pub use error::LogError;
pub use frontier::{Completed, Frontier};
pub use key::{LogKey, LogVerifier, Origin, key_id};
pub use note::{NOTE_BYTES_MAX, SIGNATURES_MAX};

/// Most entries of a log: integers of our formats stay below 2^53.
pub const SIZE_MAX: u64 = (1 << 53) - 1;
