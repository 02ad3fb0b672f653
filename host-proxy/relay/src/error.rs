//! Why the relay does not run, with a stable code each.

use std::io;

/// Why the relay does not run.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// A file cannot be read.
    #[error("{path}: {source}")]
    Read {
        /// Which.
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
    /// A certificate, key or root that cannot be used.
    #[error("{path}: {detail}")]
    Certificate {
        /// The file.
        path: String,
        /// What is wrong.
        detail: String,
    },
    /// An address that cannot be listened on.
    #[error("cannot listen on {at}: {source}")]
    Listen {
        /// Where.
        at: String,
        /// The system's reason.
        source: io::Error,
    },
    /// The metrics endpoint.
    #[error(transparent)]
    Metrics(#[from] hanzo_proxy::ProxyError),
    /// Threads or descriptors are short.
    #[error("cannot start: {source}")]
    Start {
        /// The system's reason.
        source: io::Error,
    },
}

impl RelayError {
    /// Stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Read { .. } => "relay.config.read",
            Self::Syntax { .. } => "relay.config.syntax",
            Self::Value { .. } => "relay.config.value",
            Self::Certificate { .. } => "relay.config.certificate",
            Self::Listen { .. } => "relay.listen",
            Self::Metrics(error) => error.code(),
            Self::Start { .. } => "relay.start",
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
