//! Which bytes of a kernel reach the firmware.
//!
//! QEMU writes a boot loader's fields into the header of a kernel that it loads for a guest. From version 10.0 on it offers
//! the file as it is besides (fw_cfg `etc/boot/kernel`), and OVMF from 2025.02 on takes that one. The measured digest is
//! that of the bytes which the firmware got, so a prediction must say which: it is a parameter, never a guess.

use super::{Kernel, setup_bytes};
use crate::cursor::View;

/// RAM that a q35 machine of at least [`BIG`] bytes has below 4 GiB; one with less has all of it there.
const LOW_OF_BIG: u64 = 0x8000_0000;
const BIG: u64 = 0xb000_0000;
/// What QEMU keeps free for ACPI tables below the end of low memory: 128 KiB and 32 KiB.
const ACPI_BYTES: u64 = 0x2_8000;
/// Where QEMU lets the real-mode part and the command line begin, for kernels of boot protocol 2.02 and newer.
const REAL_AT: u32 = 0x1_0000;
const CMDLINE_AT: u32 = 0x2_0000;
/// QEMU reads and writes back this much of the header.
const HEADER_BYTES: usize = 8192;
/// xloadflags: the initrd may lie above 4 GiB, for QEMU: anywhere below it.
const XLF_CAN_BE_LOADED_ABOVE_4G: u16 = 1 << 1;

/// How QEMU hands the kernel to the firmware.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handover {
    /// The file as it is: QEMU 10.0 and newer with OVMF 2025.02 or newer; and every QEMU that starts an SEV guest.
    Raw,
    /// With the header patched: older QEMU, or older firmware.
    Patched(Patch),
}

/// What decides the patched values on a q35 machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patch {
    /// RAM of the machine.
    pub memory_bytes: u64,
    /// Length of the initrd; `None` without one.
    pub initrd_bytes: Option<u64>,
}

impl Handover {
    /// What stock QEMU `major.minor` does with firmware that takes the raw file if it is offered
    /// ([`crate::crtm::Profile::Ovmf2025_02`]). Older firmware gets the patched one from any QEMU.
    ///
    /// # Errors
    /// [`PatchError::Version`] for 7.1 and 7.2, which append a random seed to the kernel: nothing can be predicted there.
    pub fn of_qemu(major: u16, minor: u16, patch: Patch) -> Result<Self, PatchError> {
        match (major, minor) {
            (7, 1 | 2) => Err(PatchError::Version { major, minor }),
            (10.., _) => Ok(Self::Raw),
            _ => Ok(Self::Patched(patch)),
        }
    }
}

/// The bytes of `kernel` that the firmware gets when it is started with `command_line`.
///
/// # Errors
/// [`PatchError`].
pub fn handed_over(kernel: &Kernel<'_>, command_line: &str, handover: Handover) -> Result<Vec<u8>, PatchError> {
    let mut out = kernel.bytes().to_vec();
    let Handover::Patched(patch) = handover else {
        return Ok(out);
    };
    if command_line.contains("vga=") {
        return Err(PatchError::Vga);
    }
    let view = View(kernel.bytes());
    let header_bytes = setup_bytes(view).min(HEADER_BYTES);
    let loadflags = view.u8(0x211).unwrap_or_default();
    if loadflags & 1 == 0 {
        return Err(PatchError::LowKernel);
    }
    // The kernel was read: its protocol is 2.12 or newer, so all of QEMU's cases for older ones are out.
    let mut write = |at: usize, bytes: &[u8]| {
        let place = at.checked_add(bytes.len()).filter(|end| *end <= header_bytes);
        // The header was read up to 0x238, so there always is a place.
        if let Some(place) = place.and_then(|end| out.get_mut(at..end)) {
            place.copy_from_slice(bytes);
        }
    };
    write(0x228, &CMDLINE_AT.to_le_bytes());
    write(0x210, &[0xb0]);
    write(0x211, &[loadflags | 0x80]);
    let heap_end = u16::try_from(CMDLINE_AT - REAL_AT - 0x200).unwrap_or_default();
    write(0x224, &heap_end.to_le_bytes());
    if let Some(initrd_bytes) = patch.initrd_bytes {
        let most = initrd_most(view, patch.memory_bytes)?;
        let at = most
            .checked_sub(initrd_bytes)
            .filter(|at| *at > 0)
            .ok_or(PatchError::Initrd {
                got: initrd_bytes,
                most,
            })?;
        let word = |value: u64| u32::try_from(value).unwrap_or(u32::MAX).to_le_bytes();
        write(0x218, &word(at & !4095));
        write(0x21c, &word(initrd_bytes));
    }
    Ok(out)
}

/// The address below which QEMU puts the initrd.
fn initrd_most(view: View<'_>, memory_bytes: u64) -> Result<u64, PatchError> {
    let low = match memory_bytes {
        BIG.. => LOW_OF_BIG,
        less => less,
    };
    let below_acpi = low.checked_sub(ACPI_BYTES + 1).ok_or(PatchError::Memory {
        got: memory_bytes,
        least: ACPI_BYTES + 1,
    })?;
    let flags = view.u16(0x236).unwrap_or_default();
    let kernel_most = match flags & XLF_CAN_BE_LOADED_ABOVE_4G {
        0 => view.u32(0x22c).unwrap_or_default(),
        _ => u32::MAX,
    };
    Ok(u64::from(kernel_most).min(below_acpi))
}

/// Why no patched kernel can be told.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PatchError {
    /// A QEMU that makes every boot another kernel.
    #[error(
        "QEMU {major}.{minor} appends a random seed to the kernel that it hands over: nothing can be predicted: use 8.0 or \
         newer, best 10.0 or newer"
    )]
    Version {
        /// Major version.
        major: u16,
        /// Minor version.
        minor: u16,
    },
    /// QEMU would write a video mode into the header as well.
    #[error("command line: vga=: QEMU would patch the kernel for it too: leave it out")]
    Vga,
    /// LOADED_HIGH is not set: no kernel since 1995.
    #[error("kernel: offset 0x211: loadflags: expected LOADED_HIGH (bit 0)")]
    LowKernel,
    /// Not enough memory for QEMU's ACPI area.
    #[error("virtual machine: RAM: expected at least {least} bytes, got {got}")]
    Memory {
        /// What came.
        got: u64,
        /// Least.
        least: u64,
    },
    /// QEMU would not start.
    #[error("initrd: expected less than {most} bytes for this kernel and RAM, got {got}")]
    Initrd {
        /// Its length.
        got: u64,
        /// QEMU's limit.
        most: u64,
    },
}

impl PatchError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Version { .. } => "kernel.patch.qemu_version",
            Self::Vga => "kernel.patch.vga",
            Self::LowKernel => "kernel.patch.low_kernel",
            Self::Memory { .. } => "kernel.patch.memory",
            Self::Initrd { .. } => "kernel.patch.initrd",
        }
    }
}
