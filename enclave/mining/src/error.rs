//! Why a store of a ledger, or a block, was refused.

use hanzo_attestation::Digest256;
use hanzo_ledger::{BlockReject, DecodeError, GenesisError, RestoreError};
use hanzo_store::StoreError;

/// Why a store of a ledger, or a block, was refused. Nothing was changed in any of these cases.
#[derive(Debug, thiserror::Error)]
pub enum MiningError {
    /// The store failed.
    #[error("ledger: {0}")]
    Store(#[from] StoreError),
    /// The genesis is none.
    #[error(transparent)]
    Genesis(#[from] GenesisError),
    /// The store is of another chain.
    #[error(
        "ledger: genesis: expected {expected}, the store holds the chain of {got}: open it with its own genesis, or start with a new store"
    )]
    ForeignGenesis {
        /// Of the genesis that was given.
        expected: Digest256,
        /// Of the store's.
        got: Digest256,
    },
    /// What the store holds does not fit together.
    #[error(
        "ledger: {what}: the store was damaged, or an older page was put back; keep it for inspection and sync a new one"
    )]
    Damaged {
        /// How.
        what: String,
    },
    /// The block does not apply.
    #[error(transparent)]
    Block(#[from] BlockReject),
    /// Another block stands at this height.
    #[error(
        "ledger: block {height}: the store holds {held}, got {got}: two finalized blocks of one height are a fork; stop and compare with other validators"
    )]
    Fork {
        /// Where.
        height: u64,
        /// Its id.
        held: Digest256,
        /// The other's.
        got: Digest256,
    },
    /// Blocks before it are missing.
    #[error("ledger: block {got}: the next is {expected}: fetch the blocks before it first")]
    Gap {
        /// The next.
        expected: u64,
        /// This.
        got: u64,
    },
    /// Blocks up to a snapshot's were never here.
    #[error(
        "ledger: block {height}: this store went on from a snapshot after block {base} and does not have it: ask a node that was there"
    )]
    Pruned {
        /// Which.
        height: u64,
        /// The snapshot's block.
        base: u64,
    },
    /// A state that is too long to be handed out.
    #[error(
        "ledger: snapshot: expected a state of at most {max} bytes, got a longer one: who comes late applies every block"
    )]
    Large {
        /// The bound.
        max: u64,
    },
    /// A snapshot that is not ahead.
    #[error(
        "ledger: snapshot: expected one after block {newest}, got one after block {got}: blocks bring this store on"
    )]
    Behind {
        /// The newest here.
        newest: u64,
        /// The snapshot's.
        got: u64,
    },
}

impl MiningError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Store(e) => e.code(),
            Self::Genesis(e) => e.code(),
            Self::ForeignGenesis { .. } => "mining.genesis.foreign",
            Self::Damaged { .. } => "mining.damaged",
            Self::Block(e) => e.code(),
            Self::Fork { .. } => "mining.fork",
            Self::Gap { .. } => "mining.gap",
            Self::Pruned { .. } => "mining.pruned",
            Self::Large { .. } => "mining.snapshot.large",
            Self::Behind { .. } => "mining.snapshot.behind",
        }
    }
}

impl From<RestoreError> for MiningError {
    fn from(e: RestoreError) -> Self {
        Self::Damaged { what: e.to_string() }
    }
}

impl From<DecodeError> for MiningError {
    fn from(e: DecodeError) -> Self {
        Self::Damaged { what: e.to_string() }
    }
}

impl From<rusqlite::Error> for MiningError {
    fn from(e: rusqlite::Error) -> Self {
        Self::Store(StoreError::from(e))
    }
}
