//! Kernel and initrd: is it what this machine can start, and which bytes does QEMU hand to the firmware.
//!
//! # Spec
//! The Linux/x86 Boot Protocol (Documentation/arch/x86/boot.rst), 2.00 to 2.15.

mod error;
mod initrd;
mod patch;

use crate::cursor::View;
use crate::pe::{MACHINE_X86_64, Pe};

pub use error::KernelError;
pub use initrd::{Initrd, InitrdError};
pub use patch::{Handover, Patch, PatchError, handed_over};

/// An x86-64 bzImage with an EFI stub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kernel<'a> {
    bytes: &'a [u8],
    pe: Pe<'a>,
    /// Version of the boot protocol, 0x20F is 2.15.
    protocol: u16,
}

impl<'a> Kernel<'a> {
    /// Reads the headers of a kernel.
    ///
    /// # Layout
    /// Little endian. 0x1F1 setup_sects u8; 0x1FE boot_flag u16 (0xAA55); 0x202 `HdrS`; 0x206 version u16; 0x236 xloadflags
    /// u16, bit 0: a 64-bit kernel. The same file is a PE image.
    ///
    /// # Errors
    /// [`KernelError`]; another architecture's kernel is named.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, KernelError> {
        let view = View(bytes);
        if let Some(got) = foreign(view) {
            return Err(KernelError::Architecture { got });
        }
        let (Some(flag), Some(magic)) = (view.u16(0x1fe), view.bytes(0x202, 4)) else {
            return Err(KernelError::Truncated { got: bytes.len() });
        };
        if flag != 0xaa55 || magic != b"HdrS" {
            return Err(KernelError::Magic);
        }
        let truncated = KernelError::Truncated { got: bytes.len() };
        let (Some(protocol), Some(flags)) = (view.u16(0x206), view.u16(0x236)) else {
            return Err(truncated);
        };
        // xloadflags, which tells a 64-bit kernel, came with 2.12.
        if protocol < 0x20c {
            return Err(KernelError::Protocol { got: protocol });
        }
        if flags & 1 == 0 {
            return Err(KernelError::Architecture { got: "32-bit x86" });
        }
        if view.bytes(0, setup_bytes(view)).is_none() {
            return Err(truncated);
        }
        let pe = Pe::parse(bytes)?;
        if pe.machine() != MACHINE_X86_64 {
            return Err(KernelError::Machine { got: pe.machine() });
        }
        Ok(Self { bytes, pe, protocol })
    }

    /// The file.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The image that firmware starts.
    pub fn pe(&self) -> &Pe<'a> {
        &self.pe
    }

    /// Version of the boot protocol: 0x20F is 2.15.
    pub fn protocol(&self) -> u16 {
        self.protocol
    }
}

/// Length of the part in real mode, which QEMU hands over apart: boot sector and setup_sects sectors, 4 if it says 0.
fn setup_bytes(view: View<'_>) -> usize {
    let sectors = match view.u8(0x1f1) {
        None | Some(0) => 4,
        Some(n) => usize::from(n),
    };
    (sectors + 1) * 512
}

/// Kernels and programs of other architectures, by what stands at fixed places of their headers.
fn foreign(view: View<'_>) -> Option<&'static str> {
    if view.bytes(0, 4) == Some(b"\x7fELF") {
        return Some(match view.u16(0x12) {
            Some(ELF_X86_64) => "x86-64, but as ELF: give the bzImage (arch/x86/boot/bzImage, /boot/vmlinuz-*)",
            other => elf_machine(other),
        });
    }
    if view.bytes(0x38, 4) == Some(b"ARM\x64") {
        return Some("arm64");
    }
    if view.bytes(0x38, 4) == Some(b"RSC\x05") {
        return Some("riscv64");
    }
    if view.bytes(0, 2) == Some(b"\x1f\x8b") {
        return Some("unknown: it is compressed with gzip, as arm64 and riscv64 kernels are");
    }
    let pe = usize::try_from(view.u32(0x3c)?).ok()?;
    match (view.bytes(pe, 4), view.u16(pe.checked_add(4)?)) {
        (Some(b"PE\0\0"), Some(0xaa64)) => Some("arm64"),
        (Some(b"PE\0\0"), Some(0x5064)) => Some("riscv64"),
        (Some(b"PE\0\0"), Some(0x6264)) => Some("loongarch64"),
        _ => None,
    }
}

const ELF_X86_64: u16 = 62;

/// e_machine in words.
fn elf_machine(machine: Option<u16>) -> &'static str {
    match machine {
        Some(3) => "32-bit x86",
        Some(21) => "powerpc64",
        Some(22) => "s390x",
        Some(40) => "32-bit arm",
        Some(ELF_X86_64) => "x86-64",
        Some(183) => "arm64",
        Some(243) => "riscv64",
        Some(258) => "loongarch64",
        _ => "one that is not known here",
    }
}
