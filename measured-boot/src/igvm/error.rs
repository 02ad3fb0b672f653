//! Why an IGVM file was refused.

use super::IGVM_BYTES_MAX;

/// Why an IGVM file was refused, or has no digest. Offsets (`at`) are in the file.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum IgvmError {
    /// Empty or too long.
    #[error("igvm: {got} bytes: expected 24 to {IGVM_BYTES_MAX}")]
    Size {
        /// Bytes that came.
        got: usize,
    },
    /// The fixed header.
    #[error("igvm: offset {at:#x}: {what}: expected {expected:#x}, got {got:#x}")]
    Header {
        /// Which number.
        what: &'static str,
        /// Its offset.
        at: usize,
        /// What it should be, or the most that it may be.
        expected: u64,
        /// What it is.
        got: u64,
    },
    /// The variable headers end within one.
    #[error("igvm: offset {at:#x}: header of {got} bytes: expected at most {left}")]
    Truncated {
        /// Of the header.
        at: usize,
        /// What it says.
        got: u64,
        /// Bytes left.
        left: usize,
    },
    /// A header of another length than its type has.
    #[error("igvm: offset {at:#x}: header type {kind:#x}: expected {expected} bytes, got {got}")]
    Length {
        /// Of the header.
        at: usize,
        /// Its type.
        kind: u32,
        /// Bytes of that type.
        expected: usize,
        /// What it says.
        got: u64,
    },
    /// A header type that this version does not know, and that no loader may skip.
    #[error("igvm: offset {at:#x}: header type {kind:#x} is not known or not measurable here")]
    Kind {
        /// Of the header.
        at: usize,
        /// Its type.
        kind: u32,
    },
    /// Platform, initialization and directive headers come in that order.
    #[error("igvm: offset {at:#x}: header type {kind:#x} after headers of a later section")]
    Order {
        /// Of the header.
        at: usize,
        /// Its type.
        kind: u32,
    },
    /// A field of a header with a value that it cannot have.
    #[error("igvm: offset {at:#x}: {what}: {got:#x} is not accepted")]
    Value {
        /// Which field.
        what: &'static str,
        /// Of its header.
        at: usize,
        /// Its value.
        got: u64,
    },
    /// Contents that the file does not have.
    #[error("igvm: offset {at:#x}: contents {start:#x}+{bytes:#x} lie outside the file's data")]
    OutsideFile {
        /// Of the header.
        at: usize,
        /// Offset of the contents.
        start: u64,
        /// Their length.
        bytes: u64,
    },
    /// More memory than any image has measured.
    #[error("igvm: offset {at:#x}: pages of over {most} bytes")]
    Memory {
        /// Of the header that is too much.
        at: usize,
        /// Bound.
        most: u64,
    },
    /// The file has nothing for this platform.
    #[error("igvm: the file does not support {platform}")]
    Platform {
        /// Which.
        platform: &'static str,
    },
    /// QEMU and KVM would measure something else than the file says.
    #[error("igvm: offset {at:#x}: QEMU with KVM cannot launch this as written: {what}")]
    Kvm {
        /// Of the header.
        at: usize,
        /// Which rule.
        what: &'static str,
    },
}

impl IgvmError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Size { .. } => "igvm.size",
            Self::Header { .. } => "igvm.header",
            Self::Truncated { .. } => "igvm.truncated",
            Self::Length { .. } => "igvm.length",
            Self::Kind { .. } => "igvm.kind",
            Self::Order { .. } => "igvm.order",
            Self::Value { .. } => "igvm.value",
            Self::OutsideFile { .. } => "igvm.outside_file",
            Self::Memory { .. } => "igvm.memory",
            Self::Platform { .. } => "igvm.platform",
            Self::Kvm { .. } => "igvm.kvm",
        }
    }

    /// What to do about it.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Kind { .. } => "build the file without this header, or use a version that knows how it is measured",
            Self::Platform { .. } => "build the file for this platform, or ask for one that it has",
            Self::Kvm { .. } => {
                "give it one register page, for processor 0, last, at 0xfffffffff000 and with CR0 0x31; or measure as another loader"
            }
            _ => "the file is damaged or cut: build it again and compare its SHA-256",
        }
    }
}
