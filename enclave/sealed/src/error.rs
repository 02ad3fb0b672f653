//! Why a message was refused.

use hanzo_pqc::PqcError;

/// Errors of this crate. None carries a byte of a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealedError {
    /// A key configuration is not in its format.
    #[error("key configuration: {what}: expected {expected}; take the keys from the guest's verified keyset")]
    Config {
        /// Which field.
        what: &'static str,
        /// What its format says.
        expected: &'static str,
    },
    /// A suite that is not on the closed list, or that the key does not offer.
    #[error("{what}: got {got:#06x}, which this key does not offer; use a suite of its key configuration")]
    Suite {
        /// Which number.
        what: &'static str,
        /// What came.
        got: u16,
    },
    /// A message for another key.
    #[error("key identifier: the message is sealed to another key; attest the guest again")]
    KeyId,
    /// The message ended before its format did.
    #[error("{what}: the message ends early; it was cut, so nothing of it counts as whole")]
    Truncated {
        /// What was being read.
        what: &'static str,
    },
    /// Longer than this side accepts.
    #[error("{what}: at most {limit} bytes are accepted; send less")]
    TooLong {
        /// What.
        what: &'static str,
        /// The bound.
        limit: usize,
    },
    /// A binary HTTP message is not in its format.
    #[error("binary HTTP: {what}: expected {expected}; the sender's encoder is at fault")]
    Bhttp {
        /// Which part.
        what: &'static str,
        /// What RFC 9292 says.
        expected: &'static str,
    },
    /// Bytes after the end.
    #[error("{what}: bytes follow its end; send exactly one message")]
    Trailing {
        /// After what.
        what: &'static str,
    },
    /// Nothing could be opened: another key, another order, or a changed byte.
    #[error("{what}: it does not open: the key is another, or a byte was changed, left out or moved")]
    Open {
        /// What.
        what: &'static str,
    },
    /// An EHBP header is not in its format.
    #[error("{header}: expected {expected}")]
    Header {
        /// Which.
        header: &'static str,
        /// What its format says.
        expected: &'static str,
    },
    /// The cryptographic backend failed.
    #[error(transparent)]
    Backend(PqcError),
}

impl SealedError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Config { .. } => "sealed.config",
            Self::Suite { .. } => "sealed.suite",
            Self::KeyId => "sealed.key_id",
            Self::Truncated { .. } => "sealed.truncated",
            Self::TooLong { .. } => "sealed.too_long",
            Self::Bhttp { .. } => "sealed.bhttp",
            Self::Trailing { .. } => "sealed.trailing",
            Self::Open { .. } => "sealed.open",
            Self::Header { .. } => "sealed.header",
            Self::Backend(_) => "sealed.backend",
        }
    }

    /// What opening `what` came to: whatever the peer's bytes caused is one error.
    pub(crate) fn opening(what: &'static str) -> impl Fn(PqcError) -> Self {
        move |error| match error {
            PqcError::Backend { .. } | PqcError::OutputTooLong { .. } => Self::Backend(error),
            _ => Self::Open { what },
        }
    }
}
