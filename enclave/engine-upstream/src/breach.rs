//! What the server behind this engine may not say. None of it repeats a byte of what was said.

use hanzo_engine_process::GenerateError;

/// Why what the server said is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Breach {
    /// No connection, or it broke, or it carried no HTTP/1.1.
    #[error("it does not answer, or not in HTTP/1.1")]
    Gone,
    /// A deadline passed.
    #[error("it did not {0} in time")]
    Slow(&'static str),
    /// Another status than 200.
    #[error("it refused the request, or failed: its status is not 200")]
    Status,
    /// A head that is no such answer's.
    #[error("the head of its answer is refused: {0}")]
    Head(&'static str),
    /// Longer than a bound.
    #[error("{0} is longer than its bound")]
    TooLong(&'static str),
    /// An event or document of another shape.
    #[error("what it sent is refused: {0}")]
    Shape(&'static str),
    /// Numbers that do not add up.
    #[error("its counts are refused: {0}")]
    Counts(&'static str),
    /// It said itself that it failed.
    #[error("it failed in the middle of the answer")]
    Failed,
    /// It stopped before the end.
    #[error("its answer broke off")]
    EndedEarly,
}

impl Breach {
    /// The code on the wire.
    pub fn code(self) -> &'static str {
        match self {
            Self::Gone => "upstream_gone",
            Self::Slow(_) => "upstream_slow",
            Self::Status => "upstream_status",
            Self::Head(_) => "upstream_head",
            Self::TooLong(_) => "upstream_too_long",
            Self::Shape(_) => "upstream_shape",
            Self::Counts(_) => "upstream_counts",
            Self::Failed => "upstream_failed",
            Self::EndedEarly => "upstream_ended_early",
        }
    }
}

impl From<Breach> for GenerateError {
    fn from(breach: Breach) -> Self {
        Self::Upstream {
            code: breach.code(),
            what: breach.to_string(),
        }
    }
}
