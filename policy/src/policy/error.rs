//! Why a policy was refused.

use hanzo_attestation::jcs::JcsError;

use super::POLICY_BYTES_MAX;

/// Why a policy was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PolicyError {
    /// Longer than 256 KiB; nothing was parsed.
    #[error("policy: {got} bytes, at most {POLICY_BYTES_MAX} are accepted")]
    TooLarge {
        /// What came.
        got: usize,
    },
    /// Not UTF-8, not TOML, an unknown, repeated or missing key, a value of the wrong type.
    #[error("policy: line {line}: {detail}")]
    Toml {
        /// From 1; 0 when the place is not known.
        line: usize,
        /// What is wrong.
        detail: String,
    },
    /// The canonical JSON form was refused.
    #[error(transparent)]
    Json(#[from] JcsError),
    /// Another version of the format.
    #[error("policy: version: expected 2, or 3 with a table [release], got {got}")]
    Version {
        /// What came.
        got: u32,
    },
    /// A value out of its range.
    #[error("policy: {field}: expected {expected}, got {got}")]
    Value {
        /// The key at fault.
        field: &'static str,
        /// What is accepted.
        expected: &'static str,
        /// What came.
        got: String,
    },
}

impl PolicyError {
    pub(super) fn from_toml(text: &str, e: &toml::de::Error) -> Self {
        let line = e.span().map_or(0, |span| {
            1 + text.bytes().take(span.start).filter(|b| *b == b'\n').count()
        });
        Self::Toml {
            line,
            detail: e.message().trim_end().replace('\n', "; "),
        }
    }

    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "policy.too_large",
            Self::Toml { .. } | Self::Json(_) => "policy.malformed",
            Self::Version { .. } => "policy.version",
            Self::Value { .. } => "policy.value",
        }
    }

    /// What to do about it.
    pub fn help(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "drop references and hardware ids that are no longer in use",
            Self::Toml { .. } | Self::Json(_) => {
                "write out every key of policy/SPEC.md exactly once and no other; none has a default"
            }
            Self::Version { .. } => {
                "write the policy in format 2 (policy/SPEC.md): version 1 had the keys of [snp] at the top"
            }
            Self::Value { .. } => "see the ranges in policy/SPEC.md",
        }
    }
}
