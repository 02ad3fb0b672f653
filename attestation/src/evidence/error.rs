//! Why evidence was not accepted as authentic.

use crate::eventlog::EventLogError;
use crate::nvidia::NvidiaError;
use crate::snp::SnpError;
use crate::tdx::TdxError;
use crate::tpm::TpmError;

/// Whose fault: decides exit codes and HTTP statuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// The bytes are not of the format (exit code 10).
    Malformed,
    /// Signature, chain, root, revocation (exit code 20).
    NotAuthentic,
    /// Nonce, keyset or channel do not belong together, or too old (exit code 30).
    Unbound,
    /// Authentic and fresh, and not good enough (exit code 40).
    Refused,
}

/// Why evidence was not accepted as authentic.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum AttestationError {
    /// SEV-SNP.
    #[error(transparent)]
    Snp(#[from] SnpError),
    /// TDX.
    #[error(transparent)]
    Tdx(#[from] TdxError),
    /// TPM and paravisor.
    #[error(transparent)]
    Tpm(#[from] TpmError),
    /// Event logs.
    #[error(transparent)]
    EventLog(#[from] EventLogError),
    /// GPUs and switches.
    #[error(transparent)]
    Nvidia(#[from] NvidiaError),
    /// A device of another make.
    #[error("device evidence: kind: expected nvidia, got another word")]
    DeviceKind,
    /// A longer list than any machine has.
    #[error("bundle: {what}: expected at most {most}, got {got}")]
    TooManyDevices {
        /// Which list.
        what: &'static str,
        /// Its length.
        got: usize,
        /// The bound.
        most: usize,
    },
    /// One device stands in the list twice.
    #[error("devices: expected distinct devices, got {identity} twice: one device cannot stand for two")]
    DuplicateDevice {
        /// Its identity.
        identity: String,
    },
}

impl AttestationError {
    /// Stable dotted code, e.g. `snp.signature.invalid`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Snp(e) => e.code(),
            Self::Tdx(e) => e.code(),
            Self::Tpm(e) => e.code(),
            Self::EventLog(e) => e.code(),
            Self::Nvidia(e) => e.code(),
            Self::DeviceKind => "device.kind",
            Self::TooManyDevices { .. } => "device.too_many",
            Self::DuplicateDevice { .. } => "device.duplicate",
        }
    }

    /// Whose fault.
    pub fn class(&self) -> Class {
        match self {
            Self::Snp(e) => e.class(),
            Self::Tdx(e) => e.class(),
            Self::Tpm(e) => e.class(),
            Self::EventLog(e) => e.class(),
            Self::Nvidia(e) => e.class(),
            Self::DeviceKind | Self::TooManyDevices { .. } => Class::Malformed,
            Self::DuplicateDevice { .. } => Class::NotAuthentic,
        }
    }
}
