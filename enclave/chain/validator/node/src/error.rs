//! Why a validator does not start, or stops.

use std::path::PathBuf;

/// Errors of the program. None of them carries a secret.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// A file of its folder.
    #[error("{path}: {what}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// Why not.
        source: std::io::Error,
    },
    /// A file that is not as it must be.
    #[error("{path}: {field}: expected {expected}, got {got}")]
    Value {
        /// Which.
        path: PathBuf,
        /// Which part of it.
        field: &'static str,
        /// What it may be.
        expected: String,
        /// What it is.
        got: String,
    },
    /// A part of the chain that has an error of its own.
    #[error("{what}: {text}")]
    Part {
        /// Which part.
        what: &'static str,
        /// Its code.
        code: &'static str,
        /// Its text.
        text: String,
    },
    /// It ran and cannot go on.
    #[error("the validator cannot go on: {text}")]
    Halted {
        /// Code of the reason.
        code: &'static str,
        /// The reason.
        text: String,
    },
}

impl NodeError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::File { .. } => "node.file",
            Self::Value { .. } => "node.value",
            Self::Part { code, .. } | Self::Halted { code, .. } => code,
        }
    }

    /// What the process ends with: 2 before it ran, 3 after.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Halted { .. } => 3,
            _ => 2,
        }
    }

    /// An error of a part that has a code of its own.
    pub fn part(what: &'static str, code: &'static str, text: impl ToString) -> Self {
        let text = text.to_string();
        Self::Part { what, code, text }
    }
}
