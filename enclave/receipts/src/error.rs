//! Why the log failed.

use std::sync::Arc;

use hanzo_attestation::jcs::JcsError;
use hanzo_log::LogError;
use hanzo_pqc::PqcError;
use hanzo_store::StoreError;

/// Why the log could not do what it was asked. No receipt left in any of these cases.
#[derive(Debug, thiserror::Error)]
pub enum ReceiptLogError {
    /// The store failed.
    #[error("receipts: {0}")]
    Store(#[from] StoreError),
    /// A key, the cipher or the random source failed.
    #[error("receipts: {0}")]
    Crypto(#[from] PqcError),
    /// A document could not be written in canonical form.
    #[error("receipts: {0}")]
    Jcs(#[from] JcsError),
    /// The signing keys are not the keyset's.
    #[error("receipts: the signing keys are not the keyset's receipt_keys: build the keyset from these keys")]
    Keys,
    /// The model is not in the keyset.
    #[error("receipts: model {model} is not in the keyset: a guest signs only what it proved")]
    Model {
        /// Its name.
        model: String,
    },
    /// The transaction that this receipt shared with others was not kept: nothing of it is on the disk.
    #[error("{0} (nothing of the receipts that were to be stored with it was kept)")]
    Group(Arc<ReceiptLogError>),
    /// What the store says that an account used is not the sum of its receipts.
    #[error(
        "receipts: usage of {account}: the store says {held} tokens, its receipts add up to {sum}: an older page was put back, or the store was damaged; keep it for inspection and start with a new one"
    )]
    Usage {
        /// Whose.
        account: String,
        /// Tokens that the store says.
        held: u64,
        /// Tokens of its receipts.
        sum: u64,
    },
    /// The store holds usage of an account whose name is none.
    #[error("receipts: usage of an account whose name is none: the store was damaged; keep it for inspection")]
    Account,
    /// A leaf, a name or the log's key was refused.
    #[error("receipts: {0}")]
    Log(#[from] LogError),
    /// The store's log has another name than the configuration says.
    #[error(
        "receipts: log.origin: the store holds the log {held}, the configuration names {named}: name that one, or start with a new store"
    )]
    Origin {
        /// Of the log in the store.
        held: String,
        /// In the configuration.
        named: String,
    },
    /// The stored tree does not hold together.
    #[error(
        "receipts: stored log: {what}: the store was damaged, or an older page was put back; keep it for inspection and start with a new one"
    )]
    Tree {
        /// How.
        what: String,
    },
    /// The log shows no head yet.
    #[error(
        "receipts: the log shows no head yet: its head is on its way to the key broker; ask again in a few seconds"
    )]
    NotShown,
    /// What the store holds breaks the format or the chain.
    #[error(
        "receipts: stored receipt {seq}: {what}: the store was damaged; keep it for inspection and start with a new one"
    )]
    Damaged {
        /// Which.
        seq: i64,
        /// How.
        what: &'static str,
    },
}

impl ReceiptLogError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Store(e) => e.code(),
            Self::Crypto(e) => e.code(),
            Self::Jcs(_) => "receipts.format",
            Self::Keys => "receipts.keys",
            Self::Model { .. } => "receipts.model",
            Self::Log(e) => e.code(),
            Self::Origin { .. } => "receipts.origin",
            Self::NotShown => "receipts.not_shown",
            Self::Group(e) => e.code(),
            Self::Usage { .. } | Self::Account | Self::Damaged { .. } | Self::Tree { .. } => "receipts.damaged",
        }
    }
}

impl From<rusqlite::Error> for ReceiptLogError {
    fn from(e: rusqlite::Error) -> Self {
        Self::Store(StoreError::from(e))
    }
}
