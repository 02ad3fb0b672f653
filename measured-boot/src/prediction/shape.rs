//! The machine that a prediction is for.

use hanzo_attestation::digest::Digest256;
use hanzo_attestation::name::Name;
use serde::{Deserialize, Serialize};

use super::PredictionError;

/// Most devices of one machine.
const DEVICES_MAX: usize = 256;
/// Most virtual processors of one machine.
const VCPUS_MAX: u32 = 4096;
/// Most RAM in bytes.
const MEMORY_MAX: u64 = 1 << 52;

/// The machine that a prediction is for: all that decides what its tables say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shape {
    /// QEMU's CPU model, in lower case.
    pub cpu_model: Name,
    /// Devices in the order of their slots, e.g. `virtio-net-pci`.
    pub devices: Vec<Name>,
    /// QEMU's machine type, e.g. `pc-q35-10.0`.
    pub machine: Name,
    /// RAM in bytes.
    pub memory_bytes: u64,
    /// QEMU's version, e.g. `10.0.2`.
    pub qemu: Name,
    /// SHA-256 of the QEMU program that the ACPI blobs were taken from.
    pub qemu_sha256: Digest256,
    /// Which TPM the guest sees.
    pub tpm: TpmModel,
    /// Virtual processors.
    pub vcpus: u32,
}

/// Which TPM a guest sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TpmModel {
    /// None.
    None,
    /// `tpm-crb`.
    Crb,
    /// `tpm-tis`.
    Tis,
}

impl Shape {
    pub(super) fn check(&self) -> Result<(), PredictionError> {
        let wrong = |member, expected, got| Err(PredictionError::Shape { member, expected, got });
        if !(1..=MEMORY_MAX).contains(&self.memory_bytes) {
            return wrong("memory_bytes", MEMORY_MAX, self.memory_bytes);
        }
        if !(1..=VCPUS_MAX).contains(&self.vcpus) {
            return wrong("vcpus", u64::from(VCPUS_MAX), u64::from(self.vcpus));
        }
        if self.devices.len() > DEVICES_MAX {
            let got = u64::try_from(self.devices.len()).unwrap_or(u64::MAX);
            return wrong("devices", u64::try_from(DEVICES_MAX).unwrap_or(u64::MAX), got);
        }
        Ok(())
    }
}
