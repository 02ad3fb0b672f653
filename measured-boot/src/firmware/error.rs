//! Why firmware was refused, and the checks that both section lists share.

use super::{FIRMWARE_BYTES_MAX, Guid, PAGE_BYTES};
use crate::cursor::View;

/// Why a firmware image was refused. Offsets (`at`) are in the file.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum FirmwareError {
    /// Empty, no whole number of pages, or too long.
    #[error("firmware: {got} bytes: expected a multiple of {PAGE_BYTES} from {PAGE_BYTES} to {FIRMWARE_BYTES_MAX}")]
    Size {
        /// Bytes that came.
        got: usize,
    },
    /// It lacks what this needs.
    #[error("firmware: has no {what}")]
    Missing {
        /// The table.
        what: &'static str,
        /// What to do.
        help: &'static str,
    },
    /// An entry of the footer table is longer than what is left of the table, or shorter than its own header.
    #[error("firmware: offset {at:#x}: footer table entry of {got} bytes: expected 18 to {most}")]
    Entry {
        /// Of its length field.
        at: usize,
        /// Length that it states.
        got: usize,
        /// What is left of the table.
        most: usize,
    },
    /// The footer table names one GUID twice.
    #[error("firmware: offset {at:#x}: second footer table entry {guid}")]
    Duplicate {
        /// The GUID.
        guid: Guid,
        /// Of the second one read.
        at: usize,
    },
    /// A table or its contents has another length than its kind has.
    #[error("firmware: offset {at:#x}: {what}: expected {expected} bytes, got {got}")]
    Length {
        /// The table.
        what: &'static str,
        /// Its offset.
        at: usize,
        /// Bytes expected, or the most that are accepted.
        expected: u64,
        /// What it has.
        got: u64,
    },
    /// A table starts before the file does or ends after it.
    #[error("firmware: offset {at:#x}: {what}: needs {needs} bytes that the file does not have")]
    Truncated {
        /// The table.
        what: &'static str,
        /// Its offset.
        at: usize,
        /// Bytes it needs.
        needs: usize,
    },
    /// A table does not begin with its signature.
    #[error("firmware: offset {at:#x}: {what}: expected the signature {expected:?}, got {}", hex::encode(.got))]
    Signature {
        /// The table.
        what: &'static str,
        /// Its offset.
        at: usize,
        /// Four letters.
        expected: &'static str,
        /// What is there.
        got: [u8; 4],
    },
    /// A table of another version.
    #[error("firmware: offset {at:#x}: {what}: expected version 1, got {got}")]
    Version {
        /// The table.
        what: &'static str,
        /// Its offset.
        at: usize,
        /// What it says.
        got: u32,
    },
    /// More sections than any firmware has.
    #[error("firmware: offset {at:#x}: {what}: {got} sections, at most {most} are accepted")]
    Count {
        /// The table.
        what: &'static str,
        /// Its offset.
        at: usize,
        /// Bound.
        most: usize,
        /// What it says.
        got: u32,
    },
    /// A section of a kind that this version does not know how to measure.
    #[error("firmware: offset {at:#x}: {what}: unknown section type {got:#x}")]
    Kind {
        /// The table.
        what: &'static str,
        /// Of the section's record.
        at: usize,
        /// What it says.
        got: u32,
    },
    /// Attribute bits that this version does not know how to measure.
    #[error("firmware: offset {at:#x}: TDVF metadata: unknown attribute bits in {got:#x}: expected 0 to 3")]
    Attributes {
        /// Of the section's record.
        at: usize,
        /// What it says.
        got: u32,
    },
    /// An address or size that is no whole number of pages.
    #[error("firmware: offset {at:#x}: {what}: section {field} {got:#x} is no multiple of {PAGE_BYTES}")]
    Alignment {
        /// The table.
        what: &'static str,
        /// Of the section's record.
        at: usize,
        /// Which number.
        field: &'static str,
        /// Its value.
        got: u64,
    },
    /// A section takes bytes that the file does not have.
    #[error(
        "firmware: offset {at:#x}: {what}: section contents {start:#x}+{bytes:#x} lie outside the file of {file:#x} bytes"
    )]
    OutsideFile {
        /// The table.
        what: &'static str,
        /// Of the section's record.
        at: usize,
        /// Offset of the contents.
        start: u64,
        /// Their length.
        bytes: u64,
        /// Length of the file.
        file: u64,
    },
    /// A section lies where no memory can be.
    #[error("firmware: offset {at:#x}: {what}: section {start:#x}+{bytes:#x} lies outside guest memory")]
    OutsideMemory {
        /// The table.
        what: &'static str,
        /// Of the section's record.
        at: usize,
        /// Address.
        start: u64,
        /// Length.
        bytes: u64,
    },
    /// Two sections claim the same page.
    #[error("firmware: offset {at:#x}: {what}: section overlaps the one described at offset {other:#x}")]
    Overlap {
        /// The table.
        what: &'static str,
        /// Of the second record.
        at: usize,
        /// Of the first record.
        other: usize,
    },
    /// More memory than any firmware has measured.
    #[error("firmware: offset {at:#x}: {what}: sections cover {got} bytes, at most {most} are accepted")]
    Memory {
        /// The table.
        what: &'static str,
        /// Its offset.
        at: usize,
        /// Bound.
        most: u64,
        /// What they cover.
        got: u64,
    },
}

impl FirmwareError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Size { .. } => "firmware.size",
            Self::Missing { .. } => "firmware.missing",
            Self::Entry { .. } => "firmware.footer.entry",
            Self::Duplicate { .. } => "firmware.footer.duplicate",
            Self::Length { .. } => "firmware.length",
            Self::Truncated { .. } => "firmware.truncated",
            Self::Signature { .. } => "firmware.signature",
            Self::Version { .. } => "firmware.version",
            Self::Count { .. } => "firmware.section.count",
            Self::Kind { .. } => "firmware.section.kind",
            Self::Attributes { .. } => "firmware.section.attributes",
            Self::Alignment { .. } => "firmware.section.alignment",
            Self::OutsideFile { .. } => "firmware.section.outside_file",
            Self::OutsideMemory { .. } => "firmware.section.outside_memory",
            Self::Overlap { .. } => "firmware.section.overlap",
            Self::Memory { .. } => "firmware.section.memory",
        }
    }

    /// What to do about it.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Missing { help, .. } => help,
            Self::Size { .. } => {
                "give the raw image (OVMF.fd), neither compressed nor cut; qcow2 images must be converted to raw"
            }
            Self::OutsideFile { .. } | Self::Truncated { .. } => {
                "give the whole image (OVMF.fd), not its code part (OVMF_CODE.fd) nor a cut file: offsets count from its ends"
            }
            Self::Kind { .. } | Self::Attributes { .. } | Self::Version { .. } => {
                "this firmware is newer than this version knows: a digest would be a guess"
            }
            _ => {
                "the image is damaged or was not made by edk2's build: compare its SHA-256 with the one published for it"
            }
        }
    }
}

/// The list that begins `offset` bytes before the end, and where: signature, then a length, then version 1.
pub fn list<'a>(
    bytes: &'a [u8],
    what: &'static str,
    offset: u32,
    signature: &'static [u8; 4],
    header: usize,
) -> Result<(View<'a>, usize), FirmwareError> {
    let from_end = usize::try_from(offset).unwrap_or(usize::MAX);
    let truncated = |at| FirmwareError::Truncated {
        what,
        at,
        needs: header,
    };
    let at = bytes.len().checked_sub(from_end).ok_or(truncated(0))?;
    let list = View(bytes.get(at..).unwrap_or_default());
    let (Some(got), Some(_), Some(version), Some(_)) = (list.array(0), list.u32(4), list.u32(8), list.u32(12)) else {
        return Err(truncated(at));
    };
    if got != *signature {
        return Err(FirmwareError::Signature {
            what,
            at,
            expected: std::str::from_utf8(signature).unwrap_or_default(),
            got,
        });
    }
    if version != 1 {
        return Err(FirmwareError::Version { what, at, got: version });
    }
    Ok((list, at))
}

/// Number of sections, after comparing it with the list's own length and with what the file holds.
pub fn count(
    list: View<'_>,
    what: &'static str,
    at: usize,
    header: usize,
    section: usize,
    most: usize,
) -> Result<usize, FirmwareError> {
    let (length, number) = (list.u32(4).unwrap_or(0), list.u32(12).unwrap_or(0));
    let count = usize::try_from(number).unwrap_or(usize::MAX);
    if count > most {
        return Err(FirmwareError::Count {
            what,
            at,
            most,
            got: number,
        });
    }
    let needs = header.saturating_add(section.saturating_mul(count));
    if u64::from(length) != needs as u64 {
        return Err(FirmwareError::Length {
            what,
            at,
            expected: needs as u64,
            got: u64::from(length),
        });
    }
    if list.bytes(0, needs).is_none() {
        return Err(FirmwareError::Truncated { what, at, needs });
    }
    Ok(count)
}

/// No two sections share a page. A section without length shares none.
pub fn apart(what: &'static str, sections: impl Iterator<Item = (u64, u64, usize)>) -> Result<(), FirmwareError> {
    let mut sections: Vec<_> = sections.filter(|(_, bytes, _)| *bytes != 0).collect();
    sections.sort_unstable();
    let overlap = sections.iter().zip(sections.iter().skip(1)).find_map(|(a, b)| {
        let end = a.0.saturating_add(a.1);
        (end > b.0).then_some((a.2.max(b.2), a.2.min(b.2)))
    });
    match overlap {
        Some((at, other)) => Err(FirmwareError::Overlap { what, at, other }),
        None => Ok(()),
    }
}
