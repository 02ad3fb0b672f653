//! Sections added to a PE file.
//!
//! # Layout
//! Little endian. Behind the PE header (offset at 0x3C) the COFF header: NumberOfSections u16 at 6, PointerToSymbolTable u32 at
//! 12, SizeOfOptionalHeader u16 at 20. The optional header (PE32+) begins at 24: SizeOfInitializedData u32 at 8, SectionAlignment
//! 32, FileAlignment 36, SizeOfImage 56, SizeOfHeaders 60, CheckSum 64, DllCharacteristics u16 70. Then 40 bytes for each section:
//! name 8, VirtualSize, VirtualAddress, SizeOfRawData, PointerToRawData, 12 bytes of zeros, Characteristics.

use hanzo_measured_boot::pe::Pe;

use crate::error::ImageError;

const SECTION_BYTES: usize = 40;
const OPTIONAL: usize = 24;
const PE32_PLUS: u16 = 0x20b;
/// DllCharacteristics: works where no memory is both writable and executable.
const NX_COMPATIBLE: u16 = 0x100;
const CODE: u32 = 0x20;
const INITIALIZED_DATA: u32 = 0x40;
const READABLE: u32 = 0x4000_0000;

/// A PE file in the making.
pub(super) struct Editor {
    bytes: Vec<u8>,
    /// Offset of the PE header.
    pe: usize,
    /// Offset of the first section header.
    table: usize,
    /// Sections of the stub itself.
    own: usize,
    sections: usize,
}

fn malformed(offset: usize, expected: &'static str, got: impl ToString) -> ImageError {
    ImageError::Malformed {
        file: "stub".into(),
        offset: offset as u64,
        expected,
        got: got.to_string(),
    }
}

fn up(value: u32, alignment: u32) -> Result<u32, ImageError> {
    let next = value.checked_next_multiple_of(alignment.max(1));
    next.ok_or_else(|| malformed(0, "a unified image of less than 4 GiB", "a larger one"))
}

fn size(bytes: &[u8]) -> Result<u32, ImageError> {
    u32::try_from(bytes.len()).map_err(|_| malformed(0, "a section of less than 4 GiB", bytes.len()))
}

impl Editor {
    /// Begins with a stub: an unsigned PE32+ file whose sections are aligned, without symbols.
    pub(super) fn new(stub: &[u8]) -> Result<Self, ImageError> {
        let parsed = Pe::parse(stub).map_err(|e| malformed(0, "a PE image", e))?;
        if parsed.is_signed() {
            return Err(malformed(
                0,
                "an unsigned stub: its signature would not hold",
                "a signed one",
            ));
        }
        let mut editor = Self {
            bytes: stub.to_vec(),
            pe: 0,
            table: 0,
            own: parsed.sections().len(),
            sections: parsed.sections().len(),
        };
        editor.pe = editor.u32(0x3c)? as usize;
        if editor.u16(editor.pe + OPTIONAL)? != PE32_PLUS {
            return Err(malformed(editor.pe + OPTIONAL, "a PE32+ image", "PE32"));
        }
        if editor.u32(editor.pe + 12)? != 0 {
            return Err(malformed(editor.pe + 12, "no symbol table", "one"));
        }
        editor.table = editor.pe + OPTIONAL + usize::from(editor.u16(editor.pe + 20)?);
        let alignment = editor.file_alignment()?;
        for section in 0..editor.own {
            let at = editor.header(section);
            let aligned = editor.u32(at + 16)? % alignment == 0 && editor.u32(at + 20)? % alignment == 0;
            if !aligned {
                return Err(malformed(at, "a section aligned in the file", "another"));
            }
        }
        let headers = up(editor.u32(editor.optional(60))?, alignment)?;
        editor.put(editor.optional(60), &headers.to_le_bytes())?;
        if editor.own == 0 {
            return Err(malformed(editor.table, "sections", "none"));
        }
        Ok(editor)
    }

    fn optional(&self, field: usize) -> usize {
        self.pe + OPTIONAL + field
    }

    fn header(&self, section: usize) -> usize {
        self.table + section * SECTION_BYTES
    }

    fn file_alignment(&self) -> Result<u32, ImageError> {
        let at = self.optional(36);
        let alignment = self.u32(at)?;
        match alignment.is_power_of_two() && (512..=65_536).contains(&alignment) {
            true => Ok(alignment),
            false => Err(malformed(
                at,
                "FileAlignment: a power of two from 512 to 65536",
                alignment,
            )),
        }
    }

    fn section_alignment(&self) -> Result<u32, ImageError> {
        let at = self.optional(32);
        let alignment = self.u32(at)?;
        match alignment.is_power_of_two() {
            true => Ok(alignment),
            false => Err(malformed(at, "SectionAlignment: a power of two", alignment)),
        }
    }

    fn u16(&self, at: usize) -> Result<u16, ImageError> {
        let bytes = self.bytes.get(at..).and_then(|rest| rest.first_chunk());
        bytes
            .map(|bytes| u16::from_le_bytes(*bytes))
            .ok_or_else(|| malformed(at, "2 bytes", "the end of the file"))
    }

    fn u32(&self, at: usize) -> Result<u32, ImageError> {
        let bytes = self.bytes.get(at..).and_then(|rest| rest.first_chunk());
        bytes
            .map(|bytes| u32::from_le_bytes(*bytes))
            .ok_or_else(|| malformed(at, "4 bytes", "the end of the file"))
    }

    fn put(&mut self, at: usize, value: &[u8]) -> Result<(), ImageError> {
        let place = self.bytes.get_mut(at..at + value.len());
        let place = place.ok_or_else(|| malformed(at, "a field within the file", "its end"))?;
        place.copy_from_slice(value);
        Ok(())
    }

    /// Where memory behind the last section begins.
    fn next_address(&self) -> Result<u32, ImageError> {
        let last = self.header(self.sections - 1);
        let end = self.u32(last + 12)?.checked_add(self.u32(last + 8)?);
        let end = end.ok_or_else(|| malformed(last, "a section below 4 GiB", "another"))?;
        up(end, self.section_alignment()?)
    }

    /// The kernel. The whole image claims to work without writable code only if the kernel does.
    pub(super) fn append_kernel(&mut self, kernel: &[u8]) -> Result<(), ImageError> {
        let inner = kernel.get(0x3c..).and_then(|rest| rest.first_chunk());
        let at = inner.map(|bytes| u32::from_le_bytes(*bytes) as usize + OPTIONAL + 70);
        let flags = at.and_then(|at| kernel.get(at..)?.first_chunk().copied());
        let flags = flags.map(u16::from_le_bytes).unwrap_or_default();
        if flags & NX_COMPATIBLE == 0 {
            let place = self.optional(70);
            let own = self.u16(place)? & !NX_COMPATIBLE;
            self.put(place, &own.to_le_bytes())?;
        }
        self.add(".linux", kernel, CODE)
    }

    /// Another section.
    pub(super) fn append(&mut self, name: &'static str, data: &[u8]) -> Result<(), ImageError> {
        self.add(name, data, INITIALIZED_DATA)
    }

    fn add(&mut self, name: &'static str, data: &[u8], kind: u32) -> Result<(), ImageError> {
        let at = self.header(self.sections);
        if at + SECTION_BYTES > self.u32(self.optional(60))? as usize {
            return Err(malformed(at, "room for another section header", "none"));
        }
        let alignment = self.file_alignment()?;
        let (virtual_bytes, raw_bytes) = (size(data)?, up(size(data)?, alignment)?);
        let address = self.next_address()?;
        let raw_at = up(size(&self.bytes)?, alignment)?;
        let mut header = [0; SECTION_BYTES];
        let fields: [&[u8]; 6] = [
            &virtual_bytes.to_le_bytes(),
            &address.to_le_bytes(),
            &raw_bytes.to_le_bytes(),
            &raw_at.to_le_bytes(),
            &[0; 12],
            &(READABLE | kind).to_le_bytes(),
        ];
        let padding = [0_u8; 8];
        let name_bytes = name.bytes().chain(padding).take(8);
        for (to, from) in header.iter_mut().zip(name_bytes.chain(fields.concat())) {
            *to = from;
        }
        self.bytes.resize(raw_at as usize, 0);
        self.bytes.extend(data);
        let end = (raw_at as usize).saturating_add(raw_bytes as usize);
        self.bytes.resize(end, 0);
        self.put(at, &header)?;
        self.sections += 1;
        let count = u16::try_from(self.sections).unwrap_or(u16::MAX);
        self.put(self.pe + 6, &count.to_le_bytes())?;
        let place = self.optional(8);
        let data_bytes = self.u32(place)?.wrapping_add(virtual_bytes);
        self.put(place, &data_bytes.to_le_bytes())
    }

    /// Other bytes for a section of the stub, in the room that it has in the file.
    pub(super) fn replace(&mut self, name: &'static str, data: &[u8]) -> Result<(), ImageError> {
        for section in 0..self.own {
            let at = self.header(section);
            let found = self.bytes.get(at..at + 8).unwrap_or_default();
            if found.iter().take_while(|b| **b != 0).ne(name.as_bytes()) {
                continue;
            }
            let (room, raw_at) = (self.u32(at + 16)?, self.u32(at + 20)? as usize);
            let wanted = size(data)?;
            if wanted > room {
                return Err(malformed(
                    at,
                    "room for the merged section .sbat",
                    format!("{room} bytes"),
                ));
            }
            self.put(raw_at, data)?;
            self.put(raw_at + data.len(), &vec![0; (room - wanted) as usize])?;
            return self.put(at + 8, &wanted.to_le_bytes());
        }
        Err(malformed(self.table, "a section .sbat", "none"))
    }

    /// The file.
    pub(super) fn finish(mut self) -> Result<Vec<u8>, ImageError> {
        let end = self.next_address()?;
        self.put(self.optional(56), &end.to_le_bytes())?;
        self.put(self.optional(64), &[0; 4])?;
        Ok(self.bytes)
    }
}
