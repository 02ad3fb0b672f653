//! Why the broker does not run, and why it opens nothing for a guest.

use std::io;

/// Why the broker does not run.
#[derive(Debug, thiserror::Error)]
pub enum EgressError {
    /// The configuration cannot be read.
    #[error("configuration {path}: {source}")]
    Read {
        /// Which file.
        path: String,
        /// The system's reason.
        source: io::Error,
    },
    /// Not TOML, an unknown key, a missing one or one of another type.
    #[error("configuration: {text}")]
    Syntax {
        /// What and where, with the line.
        text: String,
    },
    /// A value that is not accepted.
    #[error("configuration, {key}: expected {expected}, got {got}")]
    Value {
        /// Which key.
        key: &'static str,
        /// What is accepted.
        expected: String,
        /// What came.
        got: String,
    },
    /// An address that cannot be listened on.
    #[error("cannot listen on {at}: {source}")]
    Listen {
        /// Where.
        at: String,
        /// The system's reason.
        source: io::Error,
    },
    /// An address, or the metrics endpoint.
    #[error(transparent)]
    Proxy(#[from] hanzo_proxy::ProxyError),
    /// Threads or descriptors are short.
    #[error("cannot start: {source}")]
    Start {
        /// The system's reason.
        source: io::Error,
    },
}

impl EgressError {
    /// Stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Read { .. } => "egress.config.read",
            Self::Syntax { .. } => "egress.config.syntax",
            Self::Value { .. } => "egress.config.value",
            Self::Listen { .. } => "egress.listen",
            Self::Proxy(error) => error.code(),
            Self::Start { .. } => "egress.start",
        }
    }

    pub(crate) fn value(key: &'static str, expected: impl ToString, got: impl ToString) -> Self {
        Self::Value {
            key,
            expected: expected.to_string(),
            got: got.to_string().chars().take(120).collect(),
        }
    }
}

/// Why nothing is opened for a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Refusal {
    NotListed,
    Unresolved,
    Unreachable,
    Busy,
    Timeout,
    Malformed,
}

impl Refusal {
    pub(crate) const ALL: [Self; 6] = [
        Self::NotListed,
        Self::Unresolved,
        Self::Unreachable,
        Self::Busy,
        Self::Timeout,
        Self::Malformed,
    ];

    /// As the guest is told.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::NotListed => "not-listed",
            Self::Unresolved => "unresolved",
            Self::Unreachable => "unreachable",
            Self::Busy => "busy",
            Self::Timeout => "timeout",
            Self::Malformed => "malformed",
        }
    }
}
