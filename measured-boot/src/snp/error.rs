//! Why there is no launch digest.

use super::VCPUS_MAX;
use crate::firmware::FirmwareError;

/// Why there is no launch digest for these inputs.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum SnpError {
    /// The firmware.
    #[error(transparent)]
    Firmware(#[from] FirmwareError),
    /// A kernel was given, but nothing in this firmware would check it.
    #[error("snp: a kernel was given, but the firmware has no {what}: it would start any kernel")]
    KernelUnchecked {
        /// What it lacks.
        what: &'static str,
    },
    /// The hash table does not fit the section that is measured.
    #[error("snp: kernel hash table at {table:#x}: expected {need} bytes within the section {section:#x}+{bytes:#x}")]
    TablePlace {
        /// Where the footer table puts it.
        table: u64,
        /// Its length.
        need: usize,
        /// The measured section.
        section: u64,
        /// Its length.
        bytes: u64,
    },
    /// A secrets or CPUID section that is not one page.
    #[error("snp: firmware offset {at:#x}: {what} section of {got} bytes: expected 4096")]
    SectionBytes {
        /// Which.
        what: &'static str,
        /// Of the section's record.
        at: usize,
        /// Its length.
        got: u64,
    },
    /// More than one section of a kind that there is one of.
    #[error("snp: firmware offset {at:#x}: second {what} section")]
    SectionTwice {
        /// Which.
        what: &'static str,
        /// Of the second record.
        at: usize,
    },
    /// A section where the firmware itself lies.
    #[error("snp: firmware offset {at:#x}: section {start:#x} overlaps the image at {image:#x}")]
    OverImage {
        /// Of the section's record.
        at: usize,
        /// Its address.
        start: u64,
        /// Address of the image's first byte.
        image: u64,
    },
    /// No processor, or too many.
    #[error("snp: {got} virtual processors: expected 1 to {VCPUS_MAX}")]
    Vcpus {
        /// What was asked for.
        got: u32,
    },
    /// SEV_FEATURES without SNP, or with bits that no version defines.
    #[error("snp: guest features {got:#x}: expected bit 0 (SNPActive) and no bits outside 0xd7ff")]
    Features {
        /// What was asked for.
        got: u64,
    },
    /// TSC fields without Secure TSC.
    #[error("snp: GUEST_TSC_SCALE or GUEST_TSC_OFFSET without guest feature bit 9 (SecureTSC)")]
    TscWithoutFeature,
    /// A processor model that this version has no signature for.
    #[error("snp: processor model {got:?} is unknown: expected one of EPYC, EPYC-v1 ... EPYC-Turin-v2")]
    CpuModel {
        /// What was asked for, cut to 32 characters.
        got: String,
    },
    /// A command line that cannot reach a kernel as written.
    #[error("snp: command line: {what} at byte {at}")]
    Cmdline {
        /// What is wrong.
        what: &'static str,
        /// Where.
        at: usize,
    },
    /// The SVSM's image is none, or does not fit under the firmware.
    #[error("snp: SVSM: {what}")]
    Svsm {
        /// What is wrong.
        what: &'static str,
    },
}

impl SnpError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Firmware(e) => e.code(),
            Self::KernelUnchecked { .. } => "snp.kernel_unchecked",
            Self::TablePlace { .. } => "snp.hash_table.place",
            Self::SectionBytes { .. } => "snp.section.bytes",
            Self::SectionTwice { .. } => "snp.section.twice",
            Self::OverImage { .. } => "snp.section.over_image",
            Self::Vcpus { .. } => "snp.vcpus",
            Self::Features { .. } => "snp.features",
            Self::TscWithoutFeature => "snp.tsc",
            Self::CpuModel { .. } => "snp.cpu_model",
            Self::Cmdline { .. } => "snp.cmdline",
            Self::Svsm { .. } => "snp.svsm",
        }
    }

    /// What to do about it.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Firmware(e) => e.help(),
            Self::KernelUnchecked { .. } => {
                "use firmware with a kernel hash section (edk2's OvmfPkg/AmdSev/AmdSevX64), or boot without a kernel on the VMM's command line"
            }
            Self::TablePlace { .. }
            | Self::SectionBytes { .. }
            | Self::SectionTwice { .. }
            | Self::OverImage { .. } => {
                "no VMM launches such firmware: compare the image with the one its builder published"
            }
            Self::Vcpus { .. } => "give the number of virtual processors that the guest is started with",
            Self::Features { .. } => "0x1 is SNP alone, 0x21 with DebugSwap, 0x201 with Secure TSC",
            Self::TscWithoutFeature => "set bit 9 of the guest features, or leave both fields zero",
            Self::CpuModel { .. } => "give QEMU's -cpu model, or family, model and stepping",
            Self::Cmdline { .. } => "a command line ends at its first NUL and has at most 65,535 bytes",
            Self::Svsm { .. } => {
                "give the SVSM's raw image and the size of the variable store that lies between it and the firmware"
            }
        }
    }
}
