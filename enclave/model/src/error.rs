//! What can be wrong with the files of a model.

use std::path::{Path, PathBuf};

/// Why a model's files were not understood. Nothing of them was loaded.
#[derive(Debug, thiserror::Error)]
pub enum ModelFileError {
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
    /// Neither GGUF nor a safetensors directory.
    #[error(
        "{}: expected a GGUF file, or a directory with model.gguf or with config.json and *.safetensors; got {got}",
        path.display()
    )]
    NotAModel {
        /// What was given.
        path: PathBuf,
        /// What it is.
        got: String,
    },
    /// Of another version.
    #[error("{}: GGUF version {got}: expected 2 or 3; convert the model again with a current tool", path.display())]
    Version {
        /// Which file.
        path: PathBuf,
        /// What it says.
        got: u32,
    },
    /// Bytes are missing.
    #[error("{}: {what}: ends at byte {expected}, the file has {got}: truncated; fetch it again", path.display())]
    Truncated {
        /// Which file.
        path: PathBuf,
        /// Which part.
        what: String,
        /// Where it would end.
        expected: u64,
        /// The file's length.
        got: u64,
    },
    /// A value that the format does not have.
    #[error("{}: {what}: expected {expected}, got {got}; the file is damaged or was made to do harm", path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// Which field.
        what: String,
        /// What is accepted.
        expected: String,
        /// What came.
        got: String,
    },
}

impl ModelFileError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Io { .. } => "model.io",
            Self::NotAModel { .. } => "model.not_a_model",
            Self::Version { .. } => "model.gguf.version",
            Self::Truncated { .. } => "model.truncated",
            Self::Malformed { .. } => "model.malformed",
        }
    }

    pub(crate) fn io(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io {
            what,
            path: path.to_owned(),
            source,
        }
    }

    pub(crate) fn malformed(
        path: &Path,
        what: impl Into<String>,
        expected: impl Into<String>,
        got: impl ToString,
    ) -> Self {
        Self::Malformed {
            path: path.to_owned(),
            what: plain(&what.into()),
            expected: expected.into(),
            got: plain(&got.to_string()),
        }
    }

    pub(crate) fn truncated(path: &Path, what: impl Into<String>, expected: u64, got: u64) -> Self {
        Self::Truncated {
            path: path.to_owned(),
            what: plain(&what.into()),
            expected,
            got,
        }
    }
}

/// Longest text of a file that is shown, in characters.
const SHOWN_CHARS_MAX: usize = 128;

/// Text of a file, cut, with whatever could steer a terminal or turn the order of text replaced.
pub(crate) fn plain(text: &str) -> String {
    let steers = |c: char| {
        c.is_control()
            || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut out: String = text
        .chars()
        .take(SHOWN_CHARS_MAX)
        .map(|c| if steers(c) { '\u{fffd}' } else { c })
        .collect();
    if text.chars().nth(SHOWN_CHARS_MAX).is_some() {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_a_file_is_cut_and_steers_no_terminal() {
        assert_eq!(plain("a\u{1b}[31m\u{202e}b"), "a\u{fffd}[31m\u{fffd}b");
        assert_eq!(plain(&"x".repeat(500)).chars().count(), SHOWN_CHARS_MAX + 1);
    }
}
