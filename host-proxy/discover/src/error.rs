//! What can go wrong, with a stable code each.

/// Why guests are not discovered.
#[derive(Debug, thiserror::Error)]
pub enum DiscoverError {
    /// An option that makes no sense.
    #[error("{field}: expected {expected}, got {got:?}")]
    Option {
        /// Which.
        field: &'static str,
        /// What is accepted.
        expected: &'static str,
        /// What came.
        got: String,
    },
    /// A file of the pod's credential cannot be used.
    #[error("{path}: {detail}; does the pod have a service account token mounted?")]
    File {
        /// Which.
        path: String,
        /// What is wrong.
        detail: String,
    },
    /// The Unix socket cannot be served.
    #[error("cannot listen on {path}: {source}")]
    Listen {
        /// Where.
        path: String,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The API server cannot be reached, or is another one.
    #[error("API server {at}: {what}: {detail}")]
    Connect {
        /// Where.
        at: String,
        /// Doing what.
        what: &'static str,
        /// What is wrong.
        detail: String,
    },
    /// It said no.
    #[error("API server: {what}: status {status}; may the service account list and watch endpointslices there?")]
    Status {
        /// Doing what.
        what: &'static str,
        /// HTTP status.
        status: u16,
    },
    /// What was read is older than what the server still has: everything is listed again.
    #[error("API server: the version read last is gone")]
    Gone,
    /// Nothing came in time.
    #[error("API server: {what}: nothing within {limit_s} s")]
    Timeout {
        /// Doing what.
        what: &'static str,
        /// The bound.
        limit_s: u64,
    },
    /// Not what the API describes.
    #[error("API server: {what}: {detail}")]
    Answer {
        /// Doing what.
        what: &'static str,
        /// What is wrong.
        detail: String,
    },
    /// More than is held.
    #[error("API server: {what}: more than {limit}")]
    TooLong {
        /// Doing what.
        what: &'static str,
        /// The bound.
        limit: String,
    },
}

impl DiscoverError {
    /// Stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Option { .. } => "discover.option",
            Self::File { .. } => "discover.file",
            Self::Listen { .. } => "discover.listen",
            Self::Connect { .. } => "discover.api.connect",
            Self::Status { .. } => "discover.api.status",
            Self::Gone => "discover.api.gone",
            Self::Timeout { .. } => "discover.api.timeout",
            Self::Answer { .. } => "discover.api.answer",
            Self::TooLong { .. } => "discover.api.too_long",
        }
    }
}
