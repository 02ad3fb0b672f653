//! What a boot is expected to measure, event by event, and what that makes of the registers.

use std::collections::BTreeMap;

use hanzo_attestation::digest::{Digest256, Digest384};
use hanzo_attestation::eventlog::Algorithm;
use serde::{Deserialize, Serialize};

use crate::digests::Digests;

/// What decides the digest of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Input {
    /// The firmware file.
    Firmware,
    /// The variables of Secure Boot, in the firmware's variable store.
    SecureBoot,
    /// RAM of the machine, as the firmware is told at launch (TDX's hand-off block).
    Shape,
    /// `etc/table-loader`.
    AcpiLoader,
    /// `etc/acpi/rsdp`.
    AcpiRsdp,
    /// `etc/tpm/log`.
    AcpiTpmLog,
    /// `etc/acpi/tables`.
    AcpiTables,
    /// BootOrder and Boot####.
    BootVariables,
    /// The kernel, or the unified kernel image.
    Kernel,
    /// The command line.
    CommandLine,
    /// The initrd.
    Initrd,
    /// Nothing: every boot measures it alike.
    Constant,
}

/// What one event measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// The firmware's version string.
    CrtmVersion,
    /// A firmware volume.
    FirmwareVolume,
    /// TDX's hand-off block: the memory map of the launch.
    TdHob,
    /// TDX: the volume with the variables.
    ConfigurationVolume,
    /// A variable of Secure Boot.
    SecureBootVariable,
    /// `etc/table-loader`.
    AcpiLoader,
    /// `etc/acpi/rsdp`.
    AcpiRsdp,
    /// `etc/tpm/log`.
    AcpiTpmLog,
    /// `etc/acpi/tables`.
    AcpiTables,
    /// Authenticode hash of the kernel or of the unified kernel image.
    Image,
    /// Authenticode hash of the kernel inside a unified kernel image.
    InnerKernel,
    /// BootOrder.
    BootOrder,
    /// A Boot#### variable.
    BootOption,
    /// `Calling EFI Application from Boot Option`.
    CallingApplication,
    /// End of the firmware's part.
    Separator,
    /// The command line as the kernel got it.
    LoadOptions,
    /// The initrd as the kernel got it.
    Initrd,
    /// `Exit Boot Services Invocation`.
    ExitInvocation,
    /// `Exit Boot Services Returned with Success`.
    ExitSuccess,
    /// Name of a section of a unified kernel image.
    SectionName,
    /// Bytes of a section of a unified kernel image.
    SectionData,
}

impl Step {
    /// What decides the digest.
    pub fn input(self) -> Input {
        match self {
            Self::CrtmVersion | Self::FirmwareVolume => Input::Firmware,
            Self::TdHob => Input::Shape,
            Self::ConfigurationVolume | Self::SecureBootVariable => Input::SecureBoot,
            Self::AcpiLoader => Input::AcpiLoader,
            Self::AcpiRsdp => Input::AcpiRsdp,
            Self::AcpiTpmLog => Input::AcpiTpmLog,
            Self::AcpiTables => Input::AcpiTables,
            Self::Image | Self::InnerKernel | Self::SectionName | Self::SectionData => Input::Kernel,
            Self::BootOrder | Self::BootOption => Input::BootVariables,
            Self::LoadOptions => Input::CommandLine,
            Self::Initrd => Input::Initrd,
            Self::CallingApplication | Self::Separator | Self::ExitInvocation | Self::ExitSuccess => Input::Constant,
        }
    }
}

/// Which registers an event log speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Platform {
    /// A TPM's PCRs, by their index, in the SHA-256 and the SHA-384 bank.
    Tpm,
    /// TDX's run-time registers, by their index in a CC event log: 1 is RTMR0. SHA-384 alone.
    Tdx,
}

/// An event that the boot will log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpectedEvent {
    /// EV_* number.
    pub kind: u32,
    /// PCR index, or CC measurement register index.
    pub register: u32,
    /// Its digest in the SHA-256 bank; a TD has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Digest256>,
    /// Its digest in the SHA-384 bank.
    pub sha384: Digest384,
    /// What is measured.
    pub step: Step,
}

/// The value of one register after the boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegisterValue {
    /// PCR index, or CC measurement register index.
    pub register: u32,
    /// In the SHA-256 bank; a TD has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Digest256>,
    /// In the SHA-384 bank.
    pub sha384: Digest384,
}

impl ExpectedEvent {
    /// Its digest in a bank.
    pub fn digest(&self, bank: Algorithm) -> Option<&[u8]> {
        match bank {
            Algorithm::Sha256 => self.sha256.as_ref().map(|d| &d.0[..]),
            Algorithm::Sha384 => Some(&self.sha384.0),
            _ => None,
        }
    }
}

impl RegisterValue {
    /// Its value in a bank.
    pub fn value(&self, bank: Algorithm) -> Option<&[u8]> {
        match bank {
            Algorithm::Sha256 => self.sha256.as_ref().map(|d| &d.0[..]),
            Algorithm::Sha384 => Some(&self.sha384.0),
            _ => None,
        }
    }
}

/// The index in a CC event log of the register that stands for a PCR; 0 is MRTD, which no event extends.
///
/// # Spec
/// UEFI 2.10 section 38.4.1, table "TD Event Log".
pub fn mr_index(pcr: u8) -> Option<u32> {
    match pcr {
        0 => Some(0),
        1 | 7 => Some(1),
        2..=6 => Some(2),
        8..=15 => Some(3),
        _ => None,
    }
}

/// What the events make of registers that begin with zero. `registers` names those that get a value even without events.
pub fn registers_of(platform: Platform, registers: &[u32], events: &[ExpectedEvent]) -> Vec<RegisterValue> {
    let mut values: BTreeMap<u32, ([u8; 32], [u8; 48])> = BTreeMap::new();
    for register in registers {
        values.insert(*register, ([0; 32], [0; 48]));
    }
    for event in events {
        let (sha256, sha384) = values.entry(event.register).or_insert(([0; 32], [0; 48]));
        if let Some(digest) = event.sha256 {
            *sha256 = crate::sha256(&[&sha256[..], &digest.0]).0;
        }
        *sha384 = crate::sha384(&[&sha384[..], &event.sha384.0]).0;
    }
    values
        .into_iter()
        .map(|(register, (sha256, sha384))| RegisterValue {
            register,
            sha256: (platform == Platform::Tpm).then_some(Digest256(sha256)),
            sha384: Digest384(sha384),
        })
        .collect()
}

/// Events in the order of the boot.
pub(crate) struct Sequence(Vec<ExpectedEvent>);

impl Sequence {
    pub(crate) fn new() -> Self {
        Self(Vec::new())
    }

    /// An event that a TPM's log has in both banks.
    pub(crate) fn tpm(&mut self, register: u32, kind: u32, step: Step, digests: Digests) {
        self.push(register, kind, step, Some(digests.sha256), digests.sha384);
    }

    /// An event of a TD.
    pub(crate) fn tdx(&mut self, register: u32, kind: u32, step: Step, sha384: Digest384) {
        self.push(register, kind, step, None, sha384);
    }

    fn push(&mut self, register: u32, kind: u32, step: Step, sha256: Option<Digest256>, sha384: Digest384) {
        self.0.push(ExpectedEvent {
            kind,
            register,
            sha256,
            sha384,
            step,
        });
    }

    pub(crate) fn finish(self) -> Vec<ExpectedEvent> {
        self.0
    }
}
