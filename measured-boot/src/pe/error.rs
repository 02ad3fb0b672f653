//! Why an image was refused.

/// Why an image was refused. Offsets are in bytes from the start of the file.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PeError {
    /// Another kind of file.
    #[error("PE image: expected {expected} at offset {at:#x}: not a PE image")]
    Magic {
        /// What stands there in a PE image.
        expected: &'static str,
        /// Where.
        at: usize,
    },
    /// The file ends inside a header.
    #[error("PE image: {field} at offset {at:#x}: the file ends before it: fetch it again and compare its SHA-256")]
    Truncated {
        /// Which field.
        field: &'static str,
        /// Where.
        at: usize,
    },
    /// Neither PE32 nor PE32+.
    #[error("PE image: optional header: Magic: expected 0x10b or 0x20b, got {got:#x}")]
    OptionalMagic {
        /// What came.
        got: u16,
    },
    /// More data directories than there are, or than the optional header holds.
    #[error(
        "PE image: NumberOfRvaAndSizes: expected at most 16 and no more than SizeOfOptionalHeader holds, got {got}"
    )]
    Directories {
        /// What came.
        got: u32,
    },
    /// More sections than any loader takes.
    #[error("PE image: NumberOfSections: expected at most {}, got {got}", super::SECTIONS_MAX)]
    Sections {
        /// What came.
        got: usize,
    },
    /// The headers do not hold the section table, or are longer than the file.
    #[error("PE image: SizeOfHeaders: expected {least} to {most} bytes, got {got}")]
    Headers {
        /// What came.
        got: usize,
        /// End of the section table.
        least: usize,
        /// Length of the file.
        most: usize,
    },
    /// A section outside the file.
    #[error("PE image: section {number}: {size} bytes at offset {start:#x}: outside the file: truncated")]
    Section {
        /// Its place in the table.
        number: usize,
        /// PointerToRawData.
        start: usize,
        /// SizeOfRawData.
        size: usize,
    },
    /// Bytes that two parts claim would be measured twice.
    #[error("PE image: a section at offset {at:#x} begins before the part in front of it ends")]
    Overlap {
        /// PointerToRawData of the later one.
        at: usize,
    },
    /// The certificate table is not the end of the file.
    #[error("PE image: certificate table: {size} bytes at offset {start:#x}: expected it to be the end of the file")]
    Certificate {
        /// Its file offset.
        start: usize,
        /// Its size.
        size: usize,
    },
}

impl PeError {
    pub(super) fn truncated(field: &'static str, at: usize) -> Self {
        Self::Truncated { field, at }
    }

    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Magic { .. } => "pe.magic",
            Self::Truncated { .. } => "pe.truncated",
            Self::OptionalMagic { .. } => "pe.optional_magic",
            Self::Directories { .. } => "pe.directories",
            Self::Sections { .. } => "pe.sections",
            Self::Headers { .. } => "pe.headers",
            Self::Section { .. } => "pe.section",
            Self::Overlap { .. } => "pe.overlap",
            Self::Certificate { .. } => "pe.certificate",
        }
    }
}
