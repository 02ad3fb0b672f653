//! Why a boot measured something else than was predicted: which event, and which input made it.
//!
//! With an event log each register's events are laid beside the expected ones, and every difference is named. Without one
//! there is only the final value, a hash over all events: then each single change that can be thought of is tried, and the
//! answer is an input only if one of them leads to exactly this value, or if no other input reaches this register.

mod hypotheses;
mod log;
mod words;

pub use hypotheses::{RegisterFinding, Verdict, explain_registers};
pub use log::{Difference, LogFinding, explain_log};

use hanzo_attestation::digest::{Digest256, Digest384};
use hanzo_attestation::eventlog::Algorithm;
use hanzo_attestation::name::Name;

use crate::digests::Digests;
use crate::event::{Platform, Step};

/// Something that could have been measured instead: another kernel, the command line of another profile, the same kernel
/// with its header patched. A difference that equals one of these is named after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Instead of what.
    pub step: Step,
    /// What it is, for people.
    pub name: Name,
    /// Its digest in the SHA-256 bank, if it has one.
    pub sha256: Option<Digest256>,
    /// Its digest in the SHA-384 bank.
    pub sha384: Digest384,
}

impl Known {
    /// Something with digests in both banks.
    pub fn new(step: Step, name: Name, digests: Digests) -> Self {
        Self {
            step,
            name,
            sha256: Some(digests.sha256),
            sha384: digests.sha384,
        }
    }

    fn digest(&self, bank: Algorithm) -> Option<&[u8]> {
        match bank {
            Algorithm::Sha256 => self.sha256.as_ref().map(|d| &d.0[..]),
            Algorithm::Sha384 => Some(&self.sha384.0),
            _ => None,
        }
    }
}

/// Most alternatives that are tried: each costs a replay for every event that it could stand for.
pub const KNOWN_MAX: usize = 64;

/// Why there is no explanation.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ExplainError {
    /// A log of PCRs beside a prediction of RTMRs, or the other way round.
    #[error("explain: the prediction is for {predicted:?}, the log is of {logged:?}: give the log of the same machine")]
    Platform {
        /// Of the prediction.
        predicted: Platform,
        /// Of the log.
        logged: Platform,
    },
    /// A bank that the prediction or the log does not have.
    #[error("explain: {bank}: expected a bank that both the prediction and the log have")]
    Bank {
        /// Which.
        bank: Algorithm,
    },
    /// A value of another length than the bank's digests.
    #[error("explain: register {register}: expected {expected} bytes for {bank}, got {got}")]
    Length {
        /// Which.
        register: u32,
        /// Bank that was asked for.
        bank: Algorithm,
        /// Its digest length.
        expected: usize,
        /// What came.
        got: usize,
    },
    /// More alternatives than are tried.
    #[error("explain: expected at most {KNOWN_MAX} known alternatives, got {got}")]
    Known {
        /// What came.
        got: usize,
    },
}

impl ExplainError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Platform { .. } => "explain.platform",
            Self::Bank { .. } => "explain.bank",
            Self::Length { .. } => "explain.length",
            Self::Known { .. } => "explain.known",
        }
    }
}

fn bounded(known: &[Known]) -> Result<(), ExplainError> {
    match known.len() {
        0..=KNOWN_MAX => Ok(()),
        got => Err(ExplainError::Known { got }),
    }
}
