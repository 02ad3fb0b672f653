//! Why a kernel was refused.

use crate::pe::PeError;

/// Why a kernel was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum KernelError {
    /// Too short for its own header.
    #[error("kernel: {got} bytes: ends inside its setup header: fetch it again and compare its SHA-256")]
    Truncated {
        /// Its length.
        got: usize,
    },
    /// No Linux kernel.
    #[error("kernel: expected 0xaa55 at offset 0x1fe and HdrS at 0x202: not an x86 bzImage")]
    Magic,
    /// A kernel for another machine.
    #[error("kernel: expected an x86-64 bzImage, got one for another architecture: {got}")]
    Architecture {
        /// Which, as far as its header says.
        got: &'static str,
    },
    /// A PE machine that no rule above names.
    #[error("kernel: PE header: Machine: expected 0x8664 (x86-64), got {got:#x}")]
    Machine {
        /// What came.
        got: u16,
    },
    /// Too old to say whether it is a 64-bit kernel.
    #[error("kernel: offset 0x206: boot protocol: expected 0x020c (Linux 3.8) or newer, got {got:#06x}")]
    Protocol {
        /// What came.
        got: u16,
    },
    /// No EFI stub, or a broken one.
    #[error("kernel: built without CONFIG_EFI_STUB, or damaged: {0}")]
    Pe(#[from] PeError),
}

impl KernelError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Truncated { .. } => "kernel.truncated",
            Self::Magic => "kernel.magic",
            Self::Architecture { .. } | Self::Machine { .. } => "kernel.architecture",
            Self::Protocol { .. } => "kernel.protocol",
            Self::Pe(e) => e.code(),
        }
    }
}
