//! Why a prediction was refused.

use hanzo_attestation::jcs::JcsError;

use super::{EVENTS_MAX, FORMAT_VERSION};
use crate::event::{Input, Platform};

/// Why a prediction was refused, or is no reference value.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PredictionError {
    /// Too long, not JSON, not of this format or not canonical.
    #[error("{0}")]
    Jcs(#[from] JcsError),
    /// Written by another version.
    #[error("prediction: version: expected {FORMAT_VERSION}, got {got}: write it again with this program")]
    Version {
        /// What came.
        got: u32,
    },
    /// More events than any boot has.
    #[error("prediction: events: expected at most {EVENTS_MAX}, got {got}")]
    Events {
        /// What came.
        got: usize,
    },
    /// Registers and events do not fit together.
    #[error("prediction: registers: {detail}")]
    Register {
        /// What is wrong.
        detail: &'static str,
    },
    /// An input too many or too few.
    #[error("prediction: inputs: {input:?}: {detail}")]
    Input {
        /// Which.
        input: Input,
        /// What is wrong.
        detail: &'static str,
    },
    /// No such machine.
    #[error("prediction: shape.{member}: expected at most {expected} (and at least 1 of RAM and vCPUs), got {got}")]
    Shape {
        /// Which member.
        member: &'static str,
        /// Most.
        expected: u64,
        /// What came.
        got: u64,
    },
    /// A reference value for a TPM out of a prediction for TDX, or the other way round.
    #[error("prediction: platform: expected {expected:?} for this kind of reference value, got {got:?}")]
    Platform {
        /// What the reference value is for.
        expected: Platform,
        /// What the prediction is for.
        got: Platform,
    },
    /// A register that was asked for and not predicted.
    #[error("prediction: register {register}: not predicted: leave it out of the reference value")]
    NotPredicted {
        /// Which.
        register: u32,
    },
    /// The command line that came along is not the one that was predicted.
    #[error("prediction: command line: its SHA-256 is not that of the prediction: give the text it was made with")]
    CommandLine,
    /// Nothing says which configuration these registers are for.
    #[error("prediction: command line: expected hanzo.config=<SHA-256 in lower-case hex> exactly once, got {got}")]
    Config {
        /// How many well-formed ones came.
        got: usize,
    },
}

impl PredictionError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Jcs(JcsError::TooLarge { .. }) => "prediction.size",
            Self::Jcs(JcsError::Shape { .. }) => "prediction.format",
            Self::Jcs(JcsError::NotCanonical { .. }) => "prediction.not_canonical",
            Self::Version { .. } => "prediction.version",
            Self::Events { .. } => "prediction.events",
            Self::Register { .. } => "prediction.registers",
            Self::Input { .. } => "prediction.inputs",
            Self::Shape { .. } => "prediction.shape",
            Self::Platform { .. } => "prediction.reference.platform",
            Self::NotPredicted { .. } => "prediction.reference.register",
            Self::CommandLine => "prediction.reference.command_line",
            Self::Config { .. } => "prediction.reference.config",
        }
    }
}
