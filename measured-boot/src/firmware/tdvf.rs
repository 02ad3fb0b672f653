//! Memory sections of TDX: "TDVF".

use super::{Firmware, FirmwareError, PAGE_BYTES, guid};
use crate::cursor::View;

const WHAT: &str = "TDVF metadata";
const HEADER: usize = 16;
const SECTION: usize = 32;
/// OVMF has six.
const SECTIONS_MAX: usize = 64;
/// Most memory that the sections cover. OVMF's cover 4.2 MiB.
const MEMORY_MAX: u64 = 80 << 20;
/// A guest physical address has at most 52 bits, of which the highest is TDX's shared bit.
const MEMORY_END: u64 = 1 << 51;

/// One section: `{u32 offset, u32 raw bytes, u64 gpa, u64 bytes, u32 kind, u32 attributes}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TdvfSection {
    /// Offset of its contents in the file.
    pub offset: usize,
    /// Length of its contents in the file, at most `bytes`; the rest is zeros.
    pub raw_bytes: usize,
    /// Guest physical address, a multiple of 4096.
    pub gpa: u64,
    /// Length in memory, a multiple of 4096.
    pub bytes: u64,
    /// What it is for.
    pub kind: TdvfSectionKind,
    /// How it is added and measured.
    pub attributes: TdvfAttributes,
    /// Offset of this record in the file.
    pub at: usize,
}

/// What a section is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TdvfSectionKind {
    /// Boot firmware volume: code.
    Bfv,
    /// Configuration firmware volume: variables.
    Cfv,
    /// Where the VMM describes the memory.
    TdHob,
    /// Memory for the first steps.
    TempMem,
    /// Memory that stays.
    PermMem,
    /// A payload (td-shim).
    Payload,
    /// A payload's parameters (td-shim).
    PayloadParam,
}

/// How a section is added and measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TdvfAttributes {
    /// MR.EXTEND: contents are measured. Otherwise addresses alone.
    pub extended: bool,
    /// PAGE.AUG: pages come after the launch and are not measured.
    pub augmented: bool,
}

impl TdvfSectionKind {
    fn of(number: u32) -> Option<Self> {
        Some(match number {
            0 => Self::Bfv,
            1 => Self::Cfv,
            2 => Self::TdHob,
            3 => Self::TempMem,
            4 => Self::PermMem,
            5 => Self::Payload,
            6 => Self::PayloadParam,
            _ => return None,
        })
    }
}

pub fn read(firmware: &Firmware<'_>) -> Result<Vec<TdvfSection>, FirmwareError> {
    let offset = firmware
        .footer
        .u32(WHAT, guid::TDVF_METADATA)?
        .ok_or(FirmwareError::Missing {
            what: WHAT,
            help: "use firmware built with TDX support, such as edk2's OvmfPkg/IntelTdx/IntelTdxX64",
        })?;
    let (list, at) = super::error::list(firmware.bytes(), WHAT, offset, b"TDVF", HEADER)?;
    let count = super::error::count(list, WHAT, at, HEADER, SECTION, SECTIONS_MAX)?;
    let (mut sections, mut memory) = (Vec::with_capacity(count), 0_u64);
    for index in 0..count {
        let from = HEADER.saturating_add(index.saturating_mul(SECTION));
        let section = section(list, from, at.saturating_add(from), firmware.bytes().len())?;
        if !section.attributes.augmented {
            memory = memory.saturating_add(section.bytes);
        }
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

fn section(list: View<'_>, from: usize, at: usize, file_bytes: usize) -> Result<TdvfSection, FirmwareError> {
    let word = |n: usize| list.u32(from.checked_add(n)?);
    let long = |n: usize| list.u64(from.checked_add(n)?);
    let (Some(offset), Some(raw), Some(gpa), Some(bytes), Some(number), Some(bits)) =
        (word(0), word(4), long(8), long(16), word(24), word(28))
    else {
        return Err(FirmwareError::Truncated {
            what: WHAT,
            at,
            needs: SECTION,
        });
    };
    let kind = TdvfSectionKind::of(number).ok_or(FirmwareError::Kind {
        what: WHAT,
        at,
        got: number,
    })?;
    if bits > 3 {
        return Err(FirmwareError::Attributes { at, got: bits });
    }
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
    if gpa.checked_add(bytes).is_none_or(|end| end > MEMORY_END) {
        return Err(FirmwareError::OutsideMemory {
            what: WHAT,
            at,
            start: gpa,
            bytes,
        });
    }
    // 32-bit each: the sum cannot overflow 64 bits.
    let (offset, raw) = (u64::from(offset), u64::from(raw));
    if offset + raw > file_bytes as u64 {
        return Err(FirmwareError::OutsideFile {
            what: WHAT,
            at,
            start: offset,
            bytes: raw,
            file: file_bytes as u64,
        });
    }
    if raw > bytes {
        return Err(FirmwareError::Length {
            what: "contents of a TDVF section",
            at,
            expected: bytes,
            got: raw,
        });
    }
    Ok(TdvfSection {
        // Both are within the file.
        offset: offset as usize,
        raw_bytes: raw as usize,
        gpa,
        bytes,
        kind,
        attributes: TdvfAttributes {
            extended: bits & 1 != 0,
            augmented: bits & 2 != 0,
        },
        at,
    })
}
