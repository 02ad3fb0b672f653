//! What can go wrong, with a stable code each.

use std::io;

/// Why the proxy does not run.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// Not an address.
    #[error("address {text:?}: expected HOST_IP:PORT (e.g. 127.0.0.1:8443) or vsock:CID:PORT (e.g. vsock:3:8443)")]
    Address {
        /// What came.
        text: String,
    },
    /// The listening address cannot be used.
    #[error("cannot listen on {at}: {source}{hint}")]
    Listen {
        /// Where.
        at: String,
        /// The system's reason.
        source: io::Error,
        /// What to do.
        hint: &'static str,
    },
    /// Metrics are for the host alone.
    #[error("metrics address {at}: expected a loopback address or unix:/path; metrics are never served to the network")]
    MetricsNotLoopback {
        /// What came.
        at: String,
    },
    /// The configuration file cannot be read.
    #[error("configuration {path}: {source}")]
    ConfigRead {
        /// Which file.
        path: String,
        /// The system's reason.
        source: io::Error,
    },
    /// Not TOML, an unknown key, a missing one or one of another type.
    #[error("configuration: {text}")]
    ConfigSyntax {
        /// What and where, with the line.
        text: String,
    },
    /// A value that is not accepted.
    #[error("configuration, {key}: expected {expected}, got {got}")]
    ConfigValue {
        /// Which key.
        key: String,
        /// What is accepted.
        expected: String,
        /// What came.
        got: String,
    },
    /// The process that has the listening sockets did not give them.
    #[error("hand-over at {path}: {text}; stop the old process, or remove the socket if there is none")]
    Handover {
        /// The socket.
        path: String,
        /// What went wrong.
        text: String,
    },
    /// Threads or descriptors are short.
    #[error("cannot start: {source}")]
    Start {
        /// The system's reason.
        source: io::Error,
    },
    /// A bound that makes no sense.
    #[error("{field}: expected {expected}, got {got}")]
    Option {
        /// Which option.
        field: &'static str,
        /// What is accepted.
        expected: &'static str,
        /// What came.
        got: String,
    },
}

impl ProxyError {
    /// Stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Address { .. } => "proxy.address",
            Self::Listen { source, .. } if source.kind() == io::ErrorKind::AddrInUse => "proxy.port_in_use",
            Self::Listen { .. } => "proxy.listen",
            Self::MetricsNotLoopback { .. } => "proxy.metrics_not_loopback",
            Self::ConfigRead { .. } => "proxy.config.read",
            Self::ConfigSyntax { .. } => "proxy.config.syntax",
            Self::ConfigValue { .. } => "proxy.config.value",
            Self::Handover { .. } => "proxy.handover",
            Self::Start { .. } => "proxy.start",
            Self::Option { .. } => "proxy.option",
        }
    }

    pub(crate) fn value(key: impl ToString, expected: impl ToString, got: impl ToString) -> Self {
        Self::ConfigValue {
            key: key.to_string(),
            expected: expected.to_string(),
            got: got.to_string().chars().take(120).collect(),
        }
    }

    pub(crate) fn listen(at: impl ToString, source: io::Error) -> Self {
        let hint = match source.kind() {
            io::ErrorKind::AddrInUse => ": another process has it; stop that one or choose another port",
            io::ErrorKind::PermissionDenied => ": ports below 1024 need privileges; choose another port",
            io::ErrorKind::AddrNotAvailable => ": this machine has no such address",
            _ => "",
        };
        Self::Listen {
            at: at.to_string(),
            source,
            hint,
        }
    }
}
