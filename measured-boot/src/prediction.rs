//! The prediction file: what will be measured, written before the boot and compared with it afterwards.
//!
//! # Layout
//! JCS (RFC 8785) of at most 256 KiB: `events` in the order of the log, `inputs` (name, length, SHA-256), `platform`,
//! `registers`, `shape` of the machine, `version` 1. Unknown and repeated members are refused. A file is refused too if its
//! registers are not what its events lead to: no file says two things.

mod error;
mod reference;
mod shape;

pub use error::PredictionError;
pub use shape::{Shape, TpmModel};

use hanzo_attestation::digest::Digest256;
use hanzo_attestation::jcs;
use serde::{Deserialize, Serialize};

use crate::event::{ExpectedEvent, Input, Platform, RegisterValue, registers_of};

/// Longest file in bytes.
pub const PREDICTION_BYTES_MAX: usize = 256 << 10;
/// The version of the format that this crate reads and writes.
pub const FORMAT_VERSION: u32 = 1;
/// Most events of one boot. Recorded ones have up to 41.
pub const EVENTS_MAX: usize = 128;
/// What the errors call it.
const WHAT: &str = "prediction";

/// What a boot will measure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prediction(Body);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    events: Vec<ExpectedEvent>,
    inputs: Vec<InputFile>,
    platform: Platform,
    registers: Vec<RegisterValue>,
    shape: Shape,
    version: u32,
}

/// A file, or bytes, that the prediction was computed from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputFile {
    /// Its length.
    pub bytes: u64,
    /// Which.
    pub input: Input,
    /// Of its bytes; of the command line's text without end.
    pub sha256: Digest256,
}

impl InputFile {
    /// Of `bytes`.
    pub fn of(input: Input, bytes: &[u8]) -> Self {
        Self {
            bytes: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
            input,
            sha256: Digest256::of(bytes),
        }
    }
}

/// Inputs that are bytes; the others are parts of the machine or of the firmware's variables.
const FILES: [Input; 8] = [
    Input::Firmware,
    Input::AcpiLoader,
    Input::AcpiRsdp,
    Input::AcpiTpmLog,
    Input::AcpiTables,
    Input::Kernel,
    Input::CommandLine,
    Input::Initrd,
];

impl Prediction {
    /// Computes the registers of these events. `registers` names those that are predicted, with events or without.
    ///
    /// # Errors
    /// [`PredictionError`]: an event of another register or without its bank, an input that an event needs missing, named
    /// twice or not in order.
    pub fn new(
        platform: Platform,
        registers: &[u32],
        events: Vec<ExpectedEvent>,
        mut inputs: Vec<InputFile>,
        shape: Shape,
    ) -> Result<Self, PredictionError> {
        inputs.sort_by_key(|i| i.input);
        let body = Body {
            registers: registers_of(platform, registers, &events),
            events,
            inputs,
            platform,
            shape,
            version: FORMAT_VERSION,
        };
        if body.registers.len() != registers.len() {
            return Err(PredictionError::Register {
                detail: "an event of a register that is not predicted, or a register named twice",
            });
        }
        body.check()?;
        Ok(Self(body))
    }

    /// Reads a file.
    ///
    /// # Errors
    /// [`PredictionError`].
    pub fn from_slice(bytes: &[u8]) -> Result<Self, PredictionError> {
        let body: Body = jcs::from_slice_bounded(WHAT, bytes, PREDICTION_BYTES_MAX).map_err(|e| {
            // Another version has other members; say that, and not that the first of them is unknown.
            match serde_json::from_slice(bytes) {
                Ok(AnyVersion { version: got }) if got != FORMAT_VERSION => PredictionError::Version { got },
                _ => PredictionError::Jcs(e),
            }
        })?;
        body.check()?;
        let indexes: Vec<_> = body.registers.iter().map(|r| r.register).collect();
        if registers_of(body.platform, &indexes, &body.events) != body.registers {
            return Err(PredictionError::Register {
                detail: "the registers are not what the events lead to: the file was changed",
            });
        }
        Ok(Self(body))
    }

    /// Writes the file.
    ///
    /// # Errors
    /// [`PredictionError::Jcs`] if it is longer than a reader accepts.
    pub fn to_vec(&self) -> Result<Vec<u8>, PredictionError> {
        let bytes = jcs::to_vec(WHAT, &self.0)?;
        if bytes.len() > PREDICTION_BYTES_MAX {
            return Err(PredictionError::Jcs(jcs::JcsError::TooLarge {
                what: WHAT,
                limit: PREDICTION_BYTES_MAX,
                got: bytes.len(),
            }));
        }
        Ok(bytes)
    }

    /// The events in the order of the log.
    pub fn events(&self) -> &[ExpectedEvent] {
        &self.0.events
    }

    /// What it was computed from.
    pub fn inputs(&self) -> &[InputFile] {
        &self.0.inputs
    }

    /// The file of one input.
    pub fn input(&self, input: Input) -> Option<&InputFile> {
        self.0.inputs.iter().find(|i| i.input == input)
    }

    /// Which registers it speaks of.
    pub fn platform(&self) -> Platform {
        self.0.platform
    }

    /// The registers after the boot, by ascending index.
    pub fn registers(&self) -> &[RegisterValue] {
        &self.0.registers
    }

    /// The value of one register.
    pub fn register(&self, index: u32) -> Option<&RegisterValue> {
        self.0.registers.iter().find(|r| r.register == index)
    }

    /// The machine.
    pub fn shape(&self) -> &Shape {
        &self.0.shape
    }
}

/// Whatever else the file says.
#[derive(Deserialize)]
struct AnyVersion {
    version: u32,
}

impl Body {
    fn check(&self) -> Result<(), PredictionError> {
        if self.version != FORMAT_VERSION {
            return Err(PredictionError::Version { got: self.version });
        }
        if self.events.len() > EVENTS_MAX {
            return Err(PredictionError::Events { got: self.events.len() });
        }
        let existing = match self.platform {
            Platform::Tpm => 0..=23,
            Platform::Tdx => 1..=4,
        };
        let wrong = |detail| Err(PredictionError::Register { detail });
        let ascending = |(a, b): (&RegisterValue, &RegisterValue)| a.register < b.register;
        if !self.registers.iter().zip(self.registers.iter().skip(1)).all(ascending) {
            return wrong("expected each register once, in ascending order");
        }
        if self.registers.is_empty() || !self.registers.iter().all(|r| existing.contains(&r.register)) {
            return wrong("expected at least one, out of PCR 0 to 23 or of CC measurement register 1 to 4");
        }
        let banked = |sha256: Option<Digest256>| sha256.is_some() == (self.platform == Platform::Tpm);
        if !self.registers.iter().all(|r| banked(r.sha256)) || !self.events.iter().all(|e| banked(e.sha256)) {
            return wrong("expected SHA-256 and SHA-384 for a TPM, SHA-384 alone for TDX");
        }
        if !self
            .events
            .iter()
            .all(|e| self.registers.iter().any(|r| r.register == e.register))
        {
            return wrong("an event of a register that is not predicted");
        }
        for (a, b) in self.inputs.iter().zip(self.inputs.iter().skip(1)) {
            if a.input >= b.input {
                return Err(PredictionError::Input {
                    input: b.input,
                    detail: "expected each once, in the order of the format",
                });
            }
        }
        for input in self.inputs.iter().map(|i| i.input) {
            if !FILES.contains(&input) {
                return Err(PredictionError::Input {
                    input,
                    detail: "is no file: expected none",
                });
            }
        }
        for input in self.events.iter().map(|e| e.step.input()) {
            if FILES.contains(&input) && !self.inputs.iter().any(|i| i.input == input) {
                return Err(PredictionError::Input {
                    input,
                    detail: "an event is made from it: expected its length and SHA-256, got none",
                });
            }
        }
        self.shape.check()
    }
}
