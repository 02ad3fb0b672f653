//! Why a foreign document was refused before anything in it was authenticated.

use super::ForeignFormat;
use crate::evidence::Class;

/// Why a foreign document could not be taken apart.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ForeignError {
    /// Longer than any document.
    #[error("{format}: {got} bytes, at most {most} are accepted")]
    TooLarge {
        /// The format.
        format: ForeignFormat,
        /// Its length.
        got: usize,
        /// The bound.
        most: usize,
    },
    /// Not JSON, not of the format's shape, or a member named twice.
    #[error("{format}: {detail}")]
    Shape {
        /// The format.
        format: ForeignFormat,
        /// Which member; never input bytes.
        detail: String,
    },
    /// A field of another form.
    #[error("{format}: {field}: expected {expected}, got something else")]
    Field {
        /// The format.
        format: ForeignFormat,
        /// Its name in the format.
        field: &'static str,
        /// What is accepted.
        expected: &'static str,
    },
    /// Something that the verifier needs and nobody gave.
    #[error("{format}: missing: {what}")]
    Missing {
        /// The format.
        format: ForeignFormat,
        /// What is missing.
        what: &'static str,
    },
    /// Recognised, and not read.
    #[error("{format}: {what} is not read: {help}")]
    Unsupported {
        /// The format.
        format: ForeignFormat,
        /// Which form of it.
        what: &'static str,
        /// What to do.
        help: &'static str,
    },
    /// What the document says of itself is not what its parts give.
    #[error(
        "{format}: {field}: expected what the document's own parts give, got another value: parts were mixed or changed"
    )]
    Recomputed {
        /// The format.
        format: ForeignFormat,
        /// The field.
        field: &'static str,
    },
}

impl ForeignError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "foreign.too_large",
            Self::Shape { .. } => "foreign.shape",
            Self::Field { .. } => "foreign.field",
            Self::Missing { .. } => "foreign.missing",
            Self::Unsupported { .. } => "foreign.unsupported",
            Self::Recomputed { .. } => "foreign.recomputed",
        }
    }

    /// Whose fault.
    pub fn class(&self) -> Class {
        match self {
            Self::Recomputed { .. } => Class::Unbound,
            _ => Class::Malformed,
        }
    }
}
