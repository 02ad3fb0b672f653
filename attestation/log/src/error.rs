//! Why a checkpoint, proof or tile was refused.

use hanzo_pqc::PqcError;

/// Why a checkpoint, proof or tile was refused.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum LogError {
    /// Not a C2SP signed note.
    #[error("note: {what}")]
    Note {
        /// Which rule it breaks.
        what: &'static str,
    },
    /// Longer than any note of ours.
    #[error("note: {got} bytes, at most {limit} are accepted")]
    NoteTooLarge {
        /// The bound.
        limit: usize,
        /// What came.
        got: usize,
    },
    /// A note whose text is no checkpoint.
    #[error("checkpoint: {what}")]
    Checkpoint {
        /// Which rule it breaks.
        what: &'static str,
    },
    /// A checkpoint of another log.
    #[error("checkpoint: origin: expected {expected}, got another log's")]
    Origin {
        /// Of the key.
        expected: String,
    },
    /// One of the two signatures is not there.
    #[error("checkpoint: no {algorithm} signature of {origin} stands under it: both must")]
    Unsigned {
        /// Which log.
        origin: String,
        /// Which signature.
        algorithm: &'static str,
    },
    /// A signature that does not verify.
    #[error("checkpoint: {0}")]
    Signature(PqcError),
    /// A witness's signature that does not verify.
    #[error("checkpoint: cosignature of {witness}: {what}")]
    Cosignature {
        /// Whose.
        witness: String,
        /// What is wrong.
        what: &'static str,
    },
    /// Not a witness's public key.
    #[error("witness key: {what}")]
    WitnessKey {
        /// What is wrong with it.
        what: &'static str,
    },
    /// Not a log's public key.
    #[error("log key: {what}")]
    Key {
        /// Which member, and what is wrong with it.
        what: String,
    },
    /// The path does not lead from the leaf to the root.
    #[error("inclusion proof: does not lead from entry {index} (counted from 0) to the root of {size} entries")]
    Inclusion {
        /// Which leaf.
        index: u64,
        /// Of how many.
        size: u64,
    },
    /// The newer tree does not extend the older one.
    #[error("consistency proof: the tree of {new} entries does not extend the tree of {old}")]
    Consistency {
        /// The older size.
        old: u64,
        /// The newer size.
        new: u64,
    },
    /// Stored hashes that do not fit their tree.
    #[error("frontier: {bytes} bytes do not fit a tree of {size} entries")]
    Frontier {
        /// Leaves of the tree.
        size: u64,
        /// What came.
        bytes: usize,
    },
    /// No more entries can be numbered.
    #[error("log: full: 2^53 - 1 entries")]
    Full,
    /// A tile's path in another spelling than the one there is.
    #[error("tile path: {what}")]
    TilePath {
        /// Which rule it breaks.
        what: &'static str,
    },
    /// A tile's bytes.
    #[error("tile: {what}")]
    Tile {
        /// Which rule they break.
        what: &'static str,
    },
    /// An entry that no bundle can hold.
    #[error("entry: {got} bytes, at most 65535 fit a bundle")]
    EntryTooLong {
        /// Its length.
        got: usize,
    },
}

impl LogError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Note { .. } => "log.note.malformed",
            Self::NoteTooLarge { .. } => "log.note.too_large",
            Self::Checkpoint { .. } => "log.checkpoint.malformed",
            Self::Origin { .. } => "log.checkpoint.origin",
            Self::Unsigned { .. } => "log.signature.missing",
            Self::Signature(_) => "log.signature.invalid",
            Self::Cosignature { .. } => "log.cosignature.invalid",
            Self::WitnessKey { .. } => "log.witness.key",
            Self::Key { .. } => "log.key",
            Self::Inclusion { .. } => "log.inclusion",
            Self::Consistency { .. } => "log.consistency",
            Self::Frontier { .. } => "log.frontier",
            Self::Full => "log.full",
            Self::TilePath { .. } => "log.tile.path",
            Self::Tile { .. } => "log.tile.malformed",
            Self::EntryTooLong { .. } => "log.entry.too_long",
        }
    }
}
