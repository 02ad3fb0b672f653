//! PE/COFF images: headers with every offset checked, and the Authenticode hash that firmware measures before it starts one.
//!
//! # Layout
//! Little endian. `MZ` at 0, offset of the PE header u32 at 0x3C. There: `PE\0\0`, the COFF header (20 bytes), the optional
//! header (magic 0x10B PE32 or 0x20B PE32+), then one section header of 40 bytes for each section.
//!
//! # Spec
//! PE Format (Microsoft), "Certificate Table" and "Attribute Certificate Table"; Windows Authenticode Portable Executable
//! Signature Format 1.0, "Calculating the PE Image Hash". Firmware follows it with one difference, see [`Padding`].

mod error;

pub use error::PeError;

use hanzo_attestation::digest::{Digest256, Digest384};

use crate::cursor::View;
use crate::digests::Digests;

/// Most sections of one image, the limit of Windows' own loader.
pub const SECTIONS_MAX: usize = 96;
/// `Machine` of x86-64 images.
pub const MACHINE_X86_64: u16 = 0x8664;

const SECTION_BYTES: usize = 40;
/// Index of the certificate table among the data directories.
const CERTIFICATE_TABLE: u32 = 4;

/// A PE image whose headers and sections lie inside the file, in order and apart from each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pe<'a> {
    bytes: &'a [u8],
    machine: u16,
    checksum_at: usize,
    /// Where the certificate table's directory entry stands, if there is one.
    directory_at: Option<usize>,
    certificate_bytes: usize,
    headers_bytes: usize,
    sections: Vec<Section<'a>>,
}

/// One section, as it stands in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Section<'a> {
    /// Name, without the zeros that fill it up.
    pub name: &'a [u8],
    /// VirtualSize: bytes in memory.
    pub virtual_bytes: u32,
    /// The bytes in the file (SizeOfRawData from PointerToRawData).
    pub raw: &'a [u8],
    /// PointerToRawData.
    pub raw_at: usize,
}

/// What follows the last byte of an image whose hashed length is no multiple of 8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Padding {
    /// Nothing: EDK2 and what is built from it hash the file as it is. This is what a register holds.
    AsMeasured,
    /// Zeros up to a multiple of 8: signing tools pad the file before they append a signature. This is what a signature
    /// covers, and what becomes the measured value once the file is signed.
    AsSigned,
}

impl<'a> Pe<'a> {
    /// Reads the headers of an image.
    ///
    /// # Errors
    /// [`PeError`]: no PE image, truncated, a section outside the file, over another or over the headers, a certificate
    /// table that is not the end of the file.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, PeError> {
        let view = View(bytes);
        if view.bytes(0, 2) != Some(b"MZ") {
            return Err(PeError::Magic { expected: "MZ", at: 0 });
        }
        let pe = usize_of(view.u32(0x3c).ok_or(PeError::truncated("e_lfanew", 0x3c))?);
        if view.bytes(pe, 4) != Some(b"PE\0\0") {
            return Err(PeError::Magic {
                expected: "PE and two zeros",
                at: pe,
            });
        }
        let at = |offset: usize| pe.saturating_add(offset);
        let u16_at = |field, place: usize| view.u16(place).ok_or(PeError::truncated(field, place));
        let u32_at = |field, place: usize| view.u32(place).ok_or(PeError::truncated(field, place));
        let machine = u16_at("Machine", at(4))?;
        let count = usize::from(u16_at("NumberOfSections", at(6))?);
        let optional_bytes = usize::from(u16_at("SizeOfOptionalHeader", at(20))?);
        let directories_at = match u16_at("Magic", at(24))? {
            0x10b => at(24 + 96),
            0x20b => at(24 + 112),
            got => return Err(PeError::OptionalMagic { got }),
        };
        let headers_bytes = usize_of(u32_at("SizeOfHeaders", at(24 + 60))?);
        let directories = u32_at("NumberOfRvaAndSizes", directories_at.saturating_sub(4))?;
        let table_at = at(24).saturating_add(optional_bytes);
        let directories_end = directories_at.saturating_add(usize_of(directories).saturating_mul(8));
        if directories > 16 || directories_end > table_at {
            return Err(PeError::Directories { got: directories });
        }
        if count > SECTIONS_MAX {
            return Err(PeError::Sections { got: count });
        }
        let table_end = table_at.saturating_add(count.saturating_mul(SECTION_BYTES));
        if headers_bytes > bytes.len() || table_end > headers_bytes {
            return Err(PeError::Headers {
                got: headers_bytes,
                least: table_end,
                most: bytes.len(),
            });
        }
        let directory_at = (directories > CERTIFICATE_TABLE).then_some(directories_at.saturating_add(4 * 8));
        let certificate_bytes = match directory_at {
            Some(place) => {
                let start = usize_of(u32_at("certificate table", place)?);
                let size = usize_of(u32_at("certificate table", place.saturating_add(4))?);
                if size != 0 && start.checked_add(size) != Some(bytes.len()) {
                    return Err(PeError::Certificate { start, size });
                }
                size
            }
            None => 0,
        };
        let image = bytes
            .get(..bytes.len().saturating_sub(certificate_bytes))
            .unwrap_or_default();
        let sections = sections(View(image), table_at, count, headers_bytes)?;
        Ok(Self {
            bytes,
            machine,
            checksum_at: at(24 + 64),
            directory_at,
            certificate_bytes,
            headers_bytes,
            sections,
        })
    }

    /// `Machine` of the COFF header.
    pub fn machine(&self) -> u16 {
        self.machine
    }

    /// True if a certificate table is attached. Nothing is known of what it says.
    pub fn is_signed(&self) -> bool {
        self.certificate_bytes != 0
    }

    /// The sections in the order of their headers.
    pub fn sections(&self) -> &[Section<'a>] {
        &self.sections
    }

    /// What the Authenticode hash covers, in order: headers without checksum and certificate entry, the sections by their
    /// place in the file, and what follows them up to the certificate table.
    fn hashed(&self) -> Vec<&'a [u8]> {
        let view = View(self.bytes);
        let range = |from: usize, to: usize| view.bytes(from, to.saturating_sub(from)).unwrap_or_default();
        let after_checksum = self.checksum_at.saturating_add(4);
        let mut parts = vec![range(0, self.checksum_at)];
        match self.directory_at {
            Some(entry) => {
                parts.push(range(after_checksum, entry));
                parts.push(range(entry.saturating_add(8), self.headers_bytes));
            }
            None => parts.push(range(after_checksum, self.headers_bytes)),
        }
        let mut sections: Vec<_> = self.sections.iter().filter(|s| !s.raw.is_empty()).collect();
        sections.sort_by_key(|s| s.raw_at);
        // Where the rest begins is counted, not looked up: in a file with a gap the two differ, and firmware counts.
        let mut counted = self.headers_bytes;
        for section in sections {
            parts.push(section.raw);
            counted = counted.saturating_add(section.raw.len());
        }
        parts.push(range(counted, self.bytes.len().saturating_sub(self.certificate_bytes)));
        parts
    }

    /// The Authenticode hashes of the image.
    pub fn authenticode(&self, padding: Padding) -> Digests {
        let mut parts = self.hashed();
        let missing = self.bytes.len().saturating_sub(self.certificate_bytes).wrapping_neg() % 8;
        if padding == Padding::AsSigned {
            parts.push([0_u8; 8].get(..missing).unwrap_or_default());
        }
        let sha256: Digest256 = crate::sha256(&parts);
        let sha384: Digest384 = crate::sha384(&parts);
        Digests { sha256, sha384 }
    }
}

fn usize_of(value: u32) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

fn sections(image: View<'_>, table_at: usize, count: usize, headers_bytes: usize) -> Result<Vec<Section<'_>>, PeError> {
    let mut sections = Vec::with_capacity(count);
    for number in 0..count {
        let at = table_at.saturating_add(number.saturating_mul(SECTION_BYTES));
        let truncated = || PeError::truncated("section header", at);
        let name = image.bytes(at, 8).ok_or_else(truncated)?;
        let name = name.split(|b| *b == 0).next().unwrap_or_default();
        let field = |offset: usize| image.u32(at.saturating_add(offset)).ok_or_else(truncated);
        let (raw_bytes, raw_at) = (usize_of(field(16)?), usize_of(field(20)?));
        // A section without bytes in the file may point anywhere.
        let raw = match raw_bytes {
            0 => &[],
            _ => image.bytes(raw_at, raw_bytes).ok_or(PeError::Section {
                number,
                start: raw_at,
                size: raw_bytes,
            })?,
        };
        sections.push(Section {
            name,
            virtual_bytes: field(8)?,
            raw,
            raw_at,
        });
    }
    let mut places: Vec<_> = sections
        .iter()
        .filter(|s| !s.raw.is_empty())
        .map(|s| (s.raw_at, s.raw_at.saturating_add(s.raw.len())))
        .collect();
    places.sort_unstable();
    let mut end = headers_bytes;
    for (start, next) in places {
        if start < end {
            return Err(PeError::Overlap { at: start });
        }
        end = next;
    }
    Ok(sections)
}
