//! As much of ELF64 as two questions need: what a module says about itself, and whether a program is static.
//!
//! # Layout
//! System V ABI, AMD64: header of 64 bytes (machine u16 @18, program headers u64 @32, section headers u64 @40, sizes and
//! counts u16 @54..62, index of the name section u16 @62); little-endian.

use crate::error::ImageError;

const X86_64: u64 = 62;
const PT_DYNAMIC: u64 = 2;
const PT_INTERP: u64 = 3;
const DT_NULL: u64 = 0;
const DT_NEEDED: u64 = 1;

/// A file with a valid header for x86-64.
#[derive(Debug, Clone, Copy)]
pub struct Elf<'a> {
    name: &'a str,
    bytes: &'a [u8],
}

impl<'a> Elf<'a> {
    /// Checks the header; `name` stands in errors.
    ///
    /// # Errors
    /// [`ImageError::Malformed`], also for another architecture.
    pub fn new(name: &'a str, bytes: &'a [u8]) -> Result<Self, ImageError> {
        let elf = Self { name, bytes };
        // Magic, 64-bit, little-endian, version 1.
        if !bytes.starts_with(b"\x7fELF\x02\x01\x01") {
            return Err(elf.malformed(0, "a 64-bit little-endian ELF file", "other bytes"));
        }
        match elf.number(18, 2)? {
            X86_64 => Ok(elf),
            machine => Err(elf.malformed(18, "machine 62 (x86-64)", &machine.to_string())),
        }
    }

    /// The bytes of a section.
    ///
    /// # Errors
    /// [`ImageError::Malformed`], also if there is none of this name.
    pub fn section(&self, wanted: &str) -> Result<&'a [u8], ImageError> {
        let (table, size, count) = (self.number(40, 8)?, self.number(58, 2)?, self.number(60, 2)?);
        let names = self.section_bytes(header_at(table, size, self.number(62, 2)?))?;
        for index in 0..count {
            let at = header_at(table, size, index);
            let name = names.get(self.number(at, 4)? as usize..).unwrap_or_default();
            if name
                .strip_prefix(wanted.as_bytes())
                .is_some_and(|rest| rest.starts_with(&[0]))
            {
                return self.section_bytes(at);
            }
        }
        Err(self.malformed(table, "a section .modinfo", "none"))
    }

    fn section_bytes(&self, header: u64) -> Result<&'a [u8], ImageError> {
        self.slice(
            self.number(header.saturating_add(24), 8)?,
            self.number(header.saturating_add(32), 8)?,
        )
    }

    /// True if it asks neither for a dynamic linker nor for a library.
    ///
    /// # Errors
    /// [`ImageError::Malformed`].
    pub fn is_static(&self) -> Result<bool, ImageError> {
        let (table, size, count) = (self.number(32, 8)?, self.number(54, 2)?, self.number(56, 2)?);
        for index in 0..count {
            let at = header_at(table, size, index);
            match self.number(at, 4)? {
                PT_INTERP => return Ok(false),
                PT_DYNAMIC => {
                    let entries = self.slice(
                        self.number(at.saturating_add(8), 8)?,
                        self.number(at.saturating_add(32), 8)?,
                    )?;
                    let tags = entries.chunks_exact(16).filter_map(|entry| entry.first_chunk::<8>());
                    let mut tags = tags
                        .map(|tag| u64::from_le_bytes(*tag))
                        .take_while(|tag| *tag != DT_NULL);
                    if tags.any(|tag| tag == DT_NEEDED) {
                        return Ok(false);
                    }
                }
                _ => {}
            }
        }
        Ok(true)
    }

    fn number(&self, at: u64, width: u64) -> Result<u64, ImageError> {
        let bytes = self.slice(at, width)?;
        Ok(bytes
            .iter()
            .rev()
            .fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    fn slice(&self, at: u64, length: u64) -> Result<&'a [u8], ImageError> {
        let range = usize::try_from(at)
            .ok()
            .zip(at.checked_add(length).and_then(|end| usize::try_from(end).ok()));
        range
            .and_then(|(start, end)| self.bytes.get(start..end))
            .ok_or_else(|| self.malformed(at, "bytes within the file", &format!("{length} from there on")))
    }

    fn malformed(&self, offset: u64, expected: &'static str, got: &str) -> ImageError {
        ImageError::Malformed {
            file: self.name.to_owned(),
            offset,
            expected,
            got: got.to_owned(),
        }
    }
}

/// Never beyond what an offset can hold: a file's table lies wherever its header says.
fn header_at(table: u64, size: u64, index: u64) -> u64 {
    table.saturating_add(size.saturating_mul(index))
}
