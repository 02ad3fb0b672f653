//! Memory sections of SNP: "ASEV".

use super::{Firmware, FirmwareError, IMAGE_END, PAGE_BYTES, guid};
use crate::cursor::View;

const WHAT: &str = "SEV metadata";
const HEADER: usize = 16;
const SECTION: usize = 12;
/// OVMF has six or seven.
const SECTIONS_MAX: usize = 64;
/// Most memory that the sections cover. OVMF's cover 132 KiB.
const MEMORY_MAX: u64 = 80 << 20;

/// One section: `{u32 gpa, u32 bytes, u32 kind}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SevSection {
    /// Guest physical address, a multiple of 4096.
    pub gpa: u64,
    /// Length, a multiple of 4096; 0 in firmware that only carries the list's form (IntelTdxX64).
    pub bytes: u64,
    /// What is put there.
    pub kind: SevSectionKind,
    /// Offset of this record in the file.
    pub at: usize,
}

/// What a launch puts into a section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SevSectionKind {
    /// Zeros.
    Memory,
    /// The secrets page, which the processor fills.
    Secrets,
    /// The CPUID page, which the processor checks.
    Cpuid,
    /// The calling area of an SVSM: zeros.
    SvsmCaa,
    /// The page with the hashes of kernel, initrd and command line; zeros without a kernel.
    KernelHashes,
}

impl SevSectionKind {
    fn of(number: u32) -> Option<Self> {
        Some(match number {
            1 => Self::Memory,
            2 => Self::Secrets,
            3 => Self::Cpuid,
            4 => Self::SvsmCaa,
            0x10 => Self::KernelHashes,
            _ => return None,
        })
    }
}

pub fn read(firmware: &Firmware<'_>) -> Result<Vec<SevSection>, FirmwareError> {
    let offset = firmware
        .footer
        .u32(WHAT, guid::SEV_METADATA)?
        .ok_or(FirmwareError::Missing {
            what: WHAT,
            help: "use firmware built with SNP support, such as edk2's OvmfPkg/AmdSev/AmdSevX64",
        })?;
    let (list, at) = super::error::list(firmware.bytes(), WHAT, offset, b"ASEV", HEADER)?;
    let count = super::error::count(list, WHAT, at, HEADER, SECTION, SECTIONS_MAX)?;
    let (mut sections, mut memory) = (Vec::with_capacity(count), 0_u64);
    for index in 0..count {
        let from = HEADER.saturating_add(index.saturating_mul(SECTION));
        let section = section(list, from, at.saturating_add(from))?;
        memory = memory.saturating_add(section.bytes);
        sections.push(section);
    }
    if memory > MEMORY_MAX {
        return Err(FirmwareError::Memory {
            what: WHAT,
            at,
            most: MEMORY_MAX,
            got: memory,
        });
    }
    super::error::apart(WHAT, sections.iter().map(|s| (s.gpa, s.bytes, s.at)))?;
    Ok(sections)
}

fn section(list: View<'_>, from: usize, at: usize) -> Result<SevSection, FirmwareError> {
    let truncated = FirmwareError::Truncated {
        what: WHAT,
        at,
        needs: SECTION,
    };
    let field = |n: usize| list.u32(from.checked_add(n)?);
    let (Some(gpa), Some(bytes), Some(number)) = (field(0), field(4), field(8)) else {
        return Err(truncated);
    };
    let kind = SevSectionKind::of(number).ok_or(FirmwareError::Kind {
        what: WHAT,
        at,
        got: number,
    })?;
    let (gpa, bytes) = (u64::from(gpa), u64::from(bytes));
    for (field, got) in [("address", gpa), ("size", bytes)] {
        if got % PAGE_BYTES as u64 != 0 {
            return Err(FirmwareError::Alignment {
                what: WHAT,
                at,
                field,
                got,
            });
        }
    }
    if gpa.saturating_add(bytes) > IMAGE_END {
        return Err(FirmwareError::OutsideMemory {
            what: WHAT,
            at,
            start: gpa,
            bytes,
        });
    }
    Ok(SevSection { gpa, bytes, kind, at })
}
