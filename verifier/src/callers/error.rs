//! Why a table of callers was refused.

use hanzo_attestation::jcs::JcsError;
use hanzo_attestation::name::Name;
use hanzo_pqc::PqcError;

use super::RequestError;

/// Why a table of callers was refused.
#[derive(Debug, thiserror::Error)]
pub enum CallersError {
    /// Not canonical JSON of its shape.
    #[error(transparent)]
    Format(#[from] JcsError),
    /// A value out of its range.
    #[error("table of callers: {field}: expected {expected}, got {got}")]
    Value {
        /// The member at fault.
        field: &'static str,
        /// What is accepted.
        expected: &'static str,
        /// What came.
        got: String,
    },
    /// The pinned signer's suite is none.
    #[error("table of callers: the signer's suite: expected ml-dsa-65 or ml-dsa-87, got another")]
    Suite,
    /// Somebody else signed it, or it was changed afterwards.
    #[error(
        "table of callers: its signatures are not those of the signer that the configuration pins: sign it with that key"
    )]
    Signature,
    /// It is for other guests.
    #[error("table of callers: operator: expected {expected}, got {got}: it is for another operator's guests")]
    Operator {
        /// Of the configuration.
        expected: Name,
        /// Of the table.
        got: Name,
    },
    /// Its time is over.
    #[error("table of callers: not_after {not_after} has passed: sign a newer version")]
    Over {
        /// Its last second.
        not_after: u64,
    },
    /// A provider's set of keys from which nothing can be pinned.
    #[error("JWK set: {what}")]
    KeySet {
        /// What is wrong.
        what: &'static str,
    },
    /// Keys with which no request can be signed.
    #[error("table of callers: callers.credential.request_keys: {0}")]
    RequestKeys(RequestError),
    /// A key or a signature is none.
    #[error("table of callers: {0}")]
    Crypto(PqcError),
}

impl CallersError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Format(_) => "callers.format",
            Self::Value { .. } => "callers.value",
            Self::Suite => "callers.suite",
            Self::Signature => "callers.signature",
            Self::Operator { .. } => "callers.operator",
            Self::Over { .. } => "callers.over",
            Self::KeySet { .. } => "callers.key_set",
            Self::RequestKeys(_) => "callers.request_keys",
            Self::Crypto(_) => "callers.crypto",
        }
    }
}
