//! Why a receipt was refused.

use hanzo_attestation::jcs::JcsError;
use hanzo_attestation::{Digest384, UnixTime};
use hanzo_log::LogError;

/// Why a receipt was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ReceiptError {
    /// Too long, not JSON, not canonical, unknown or missing members.
    #[error("receipt: {0}")]
    Malformed(#[from] JcsError),
    /// A member out of its range.
    #[error("receipt: {field}: expected {expected}, got {got}")]
    Value {
        /// Which member.
        field: &'static str,
        /// What is accepted.
        expected: &'static str,
        /// What came.
        got: String,
    },
    /// Made under another keyset.
    #[error(
        "receipt: keyset_digest: expected {expected}, got {got}: it was signed by another boot; use the bundle that was saved with it"
    )]
    Keyset {
        /// Of the keyset at hand.
        expected: Digest384,
        /// In the receipt.
        got: Digest384,
    },
    /// The keyset's receipt keys cannot be read.
    #[error("keyset: receipt_keys: {0}")]
    Keys(&'static str),
    /// The ML-DSA signature does not verify.
    #[error(
        "receipt: signature.ml_dsa does not verify under the keyset's ML-DSA receipt key: changed, or signed by somebody else"
    )]
    MlDsa,
    /// The Ed25519 signature does not verify.
    #[error(
        "receipt: signature.ed25519 does not verify under the keyset's Ed25519 receipt key: changed, or signed by somebody else"
    )]
    Ed25519,
    /// Neither signature verifies.
    #[error("receipt: neither signature verifies under the keyset's receipt keys: changed, or signed by somebody else")]
    BothSignatures,
    /// It says something else than the keyset that signed it.
    #[error("receipt: {field}: the keyset says {expected}, the receipt says {got}")]
    Contradiction {
        /// Which member.
        field: &'static str,
        /// In the keyset.
        expected: String,
        /// In the receipt.
        got: String,
    },
    /// Signed outside the keyset's life.
    #[error("receipt: time {time:?} lies outside the keyset's life, {issued_at} to {not_after}")]
    Time {
        /// In the receipt.
        time: UnixTime,
        /// The keyset's first second.
        issued_at: u64,
        /// The keyset's last second.
        not_after: u64,
    },
    /// The bytes are not those that the receipt commits to.
    #[error("receipt: {which}_commitment: these bytes under this salt are not what the receipt commits to")]
    Commitment {
        /// `request` or `response`.
        which: &'static str,
    },
    /// The answer names other counts than were signed.
    #[error(
        "receipt: {field}: the answer says {told}, the receipt {signed}: they were not made by one guest, or it lies in one of them"
    )]
    Usage {
        /// `prompt_tokens` or `completion_tokens`.
        field: &'static str,
        /// In the answer.
        told: u64,
        /// In the receipt.
        signed: u64,
    },
    /// It is not shown to stand in the log.
    #[error("receipt: log: {0}")]
    Log(#[from] LogError),
    /// Not the successor.
    #[error(
        "receipt: {field}: expected {expected}, got {got}: a receipt is missing between the two, or they are of different boots"
    )]
    Chain {
        /// `seq` or `prev`.
        field: &'static str,
        /// What the successor must say.
        expected: String,
        /// What it says.
        got: String,
    },
}

impl ReceiptError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed(JcsError::TooLarge { .. }) => "receipt.too_large",
            Self::Malformed(_) | Self::Value { .. } => "receipt.malformed",
            Self::Keyset { .. } => "receipt.keyset",
            Self::Keys(_) => "receipt.keys",
            Self::MlDsa => "receipt.signature.ml_dsa",
            Self::Ed25519 => "receipt.signature.ed25519",
            Self::BothSignatures => "receipt.signature.both",
            Self::Contradiction { .. } => "receipt.contradiction",
            Self::Time { .. } => "receipt.time",
            Self::Commitment { which: "request" } => "receipt.commitment.request",
            Self::Commitment { .. } => "receipt.commitment.response",
            Self::Usage { .. } => "receipt.usage",
            Self::Log(e) => e.code(),
            Self::Chain { .. } => "receipt.chain",
        }
    }
}
