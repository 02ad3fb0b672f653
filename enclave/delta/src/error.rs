//! What can be wrong with a delta.

use std::path::{Path, PathBuf};

use hanzo_model::ModelFileError;

/// Why a delta was not made or not applied.
#[derive(Debug, thiserror::Error)]
pub enum DeltaError {
    /// The operating system refused.
    #[error("{what} {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// What it said.
        source: std::io::Error,
    },
    /// One of the files is no model, or damaged.
    #[error(transparent)]
    Files(#[from] ModelFileError),
    /// The delta names what the base does not have.
    #[error("delta: tensor {name:?}: expected {expected}, found none: it was made for another base model")]
    Unknown {
        /// Which tensor.
        name: String,
        /// What there should be.
        expected: &'static str,
    },
    /// An encoding that takes no delta.
    #[error("delta: tensor {name:?}: expected {expected}, got {got}")]
    Encoding {
        /// Which tensor.
        name: String,
        /// What takes a delta.
        expected: &'static str,
        /// The encoding.
        got: &'static str,
    },
    /// Another number of elements.
    #[error("delta: tensor {name:?}: expected {expected} bytes of signs, got {got}")]
    Shape {
        /// Which tensor.
        name: String,
        /// One bit an element.
        expected: u64,
        /// What came.
        got: u64,
    },
    /// A scale that is none.
    #[error("delta: tensor {name:?}: scale: expected one finite number of 0 or more, got {got}")]
    Scale {
        /// Which tensor.
        name: String,
        /// What came.
        got: String,
    },
    /// Bits past the last element.
    #[error("delta: tensor {name:?}: bits past the last element: expected 0")]
    Padding {
        /// Which tensor.
        name: String,
    },
    /// Two models that are not of one shape.
    #[error("models differ: tensor {name:?}: {what}: a delta is between two models of one shape")]
    Differ {
        /// Which tensor.
        name: String,
        /// In what.
        what: &'static str,
    },
}

impl DeltaError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Io { .. } => "delta.io",
            Self::Files(e) => e.code(),
            Self::Unknown { .. } => "delta.unknown_tensor",
            Self::Encoding { .. } => "delta.encoding",
            Self::Shape { .. } => "delta.shape",
            Self::Scale { .. } => "delta.scale",
            Self::Padding { .. } => "delta.padding",
            Self::Differ { .. } => "delta.models_differ",
        }
    }

    pub(crate) fn io(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { what, path, source }
    }
}
