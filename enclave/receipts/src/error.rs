//! Why the log failed.

use hanzo_attestation::jcs::JcsError;
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
    /// The store holds usage of an account whose name is none.
    #[error("receipts: usage of an account whose name is none: the store was damaged; keep it for inspection")]
    Account,
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
            Self::Account | Self::Damaged { .. } => "receipts.damaged",
        }
    }
}

impl From<rusqlite::Error> for ReceiptLogError {
    fn from(e: rusqlite::Error) -> Self {
        Self::Store(StoreError::from(e))
    }
}
