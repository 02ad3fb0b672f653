//! Headers of an IGVM file.

use super::crc::crc32;
use super::{IGVM_BYTES_MAX, IgvmError};
use crate::cursor::View;
use crate::firmware::PAGE_BYTES;

const FIXED: usize = 24;
const FIXED_V2: usize = 32;
const MAGIC: u32 = u32::from_le_bytes(*b"IGVM");
/// A loader may skip a header of this kind that it does not know.
const OPTIONAL: u32 = 1 << 31;
/// Most memory that pages and parameters cover.
const MEMORY_MAX: u64 = 80 << 20;
const LARGE_PAGE: u64 = 2 << 20;

/// What a file's directives are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Platform {
    /// SEV-SNP.
    SevSnp = 2,
    /// TDX.
    Tdx = 3,
}

/// An IGVM file whose headers were read and checked.
#[derive(Debug, Clone)]
pub struct Igvm<'a> {
    /// `(platform type, compatibility mask)`.
    platforms: Vec<(u8, u32)>,
    directives: Vec<(u32, Directive<'a>)>,
}

/// A header that puts something into the guest's memory, or registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Directive<'a> {
    /// Pages with contents of their own.
    Pages {
        /// Offset of the header.
        at: usize,
        /// Guest physical address.
        gpa: u64,
        /// 4096 bytes, or 2 MiB.
        bytes: u64,
        /// How they are measured.
        flags: PageFlags,
        /// What they hold.
        contents: PageContents<'a>,
    },
    /// Pages that the host fills: never measured.
    Parameters {
        /// Offset of the header.
        at: usize,
        /// Guest physical address.
        gpa: u64,
        /// Length.
        bytes: u64,
    },
    /// Registers of a processor: 4096 bytes.
    Registers {
        /// Offset of the header.
        at: usize,
        /// Where the file wants the page measured.
        gpa: u64,
        /// Which processor.
        index: u16,
        /// The page.
        page: &'a [u8],
    },
}

/// How pages are measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageFlags {
    /// Address and contents.
    Measured,
    /// Address alone.
    Unmeasured,
    /// Visible to the host; not measured at all.
    Shared,
}

/// What pages hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageContents<'a> {
    /// These bytes, as many as the directive has.
    Bytes(&'a [u8]),
    /// Zeros.
    Zeros,
    /// SNP's secrets page.
    Secrets,
    /// SNP's CPUID page.
    Cpuid,
}

/// A parameter area: length, and whether it was inserted.
struct ParameterArea {
    index: u32,
    bytes: u64,
    is_inserted: bool,
}

struct Reader<'a> {
    file: &'a [u8],
    data_start: usize,
    /// Masks of the SNP platform: other platforms' registers have other forms.
    snp: u32,
    areas: Vec<ParameterArea>,
    memory: u64,
}

impl<'a> Igvm<'a> {
    /// Reads a file.
    ///
    /// # Errors
    /// [`IgvmError`], with the offset of the header at fault.
    pub fn parse(file: &'a [u8]) -> Result<Self, IgvmError> {
        let (start, end) = fixed_header(file)?;
        let mut reader = Reader {
            file,
            data_start: end,
            snp: 0,
            areas: Vec::new(),
            memory: 0,
        };
        let mut igvm = Self {
            platforms: Vec::new(),
            directives: Vec::new(),
        };
        let (mut at, mut section) = (start, 0);
        while at < end {
            let left = end.saturating_sub(at);
            let (kind, body) = header(file, at, left)?;
            let body_at = body.0.len();
            let this = match kind & !OPTIONAL {
                0x1..=0x100 => 1,
                0x101..=0x200 => 2,
                0x301..=0x400 => 3,
                _ => return Err(IgvmError::Kind { at, kind }),
            };
            if this < section {
                return Err(IgvmError::Order { at, kind });
            }
            section = this;
            match kind {
                0x1 => {
                    let (platform, mask) = platform(at, kind, body)?;
                    if igvm.platforms.iter().any(|(p, m)| *p == platform || *m == mask) {
                        return Err(value("second header of a platform or mask", at, u64::from(mask)));
                    }
                    if platform == Platform::SevSnp as u8 {
                        reader.snp = mask;
                    }
                    igvm.platforms.push((platform, mask));
                }
                // Policy, CoRIM, its signature, CCA's policy, version text: neither loaded nor measured.
                0x101 | 0x104..=0x107 => {}
                0x301..=0x304 => igvm.directives.extend(reader.directive(at, kind, body)?),
                // Required memory, ID block, VBS measurement, error ranges and what goes into parameter areas.
                0x305 | 0x307..=0x313 => {}
                _ if kind & OPTIONAL != 0 => {}
                // Relocation, too: a loader that moves pages measures other addresses.
                _ => return Err(IgvmError::Kind { at, kind }),
            }
            // A header of `length` bytes takes 8 and the next multiple of 8.
            at = at.saturating_add(8).saturating_add(body_at.next_multiple_of(8));
        }
        Ok(igvm)
    }

    /// The directives of one platform, in the file's order, which is the order of measurement.
    ///
    /// # Errors
    /// [`IgvmError::Platform`].
    pub fn directives(&self, platform: Platform) -> Result<impl Iterator<Item = Directive<'a>> + '_, IgvmError> {
        let mask = self
            .platforms
            .iter()
            .find(|(kind, _)| *kind == platform as u8)
            .map(|(_, mask)| *mask);
        let mask = mask.ok_or(IgvmError::Platform {
            platform: match platform {
                Platform::SevSnp => "SEV-SNP",
                Platform::Tdx => "TDX",
            },
        })?;
        Ok(self
            .directives
            .iter()
            .filter(move |(m, _)| m & mask != 0)
            .map(|(_, d)| *d))
    }
}

/// Where the variable headers begin and end.
fn fixed_header(file: &[u8]) -> Result<(usize, usize), IgvmError> {
    if !(FIXED..=IGVM_BYTES_MAX).contains(&file.len()) {
        return Err(IgvmError::Size { got: file.len() });
    }
    let view = View(file);
    let word = |at| view.u32(at).unwrap_or_default();
    let is = |what, at, expected: u32| match word(at) {
        got if got == expected => Ok(()),
        got => Err(IgvmError::Header {
            what,
            at,
            expected: u64::from(expected),
            got: u64::from(got),
        }),
    };
    is("magic", 0, MAGIC)?;
    let fixed = match word(4) {
        1 => FIXED,
        2 => FIXED_V2,
        _ => return is("format version", 4, 2).map(|()| (0, 0)),
    };
    is("file size", 16, u32::try_from(file.len()).unwrap_or(u32::MAX))?;
    if fixed == FIXED_V2 {
        is("architecture", 24, 0)?;
        is("page size", 28, PAGE_BYTES as u32)?;
    }
    let outside = |what, at, expected: usize| IgvmError::Header {
        what,
        at,
        expected: expected as u64,
        got: u64::from(word(at)),
    };
    let start = usize::try_from(word(8)).unwrap_or(usize::MAX);
    let size = usize::try_from(word(12)).unwrap_or(usize::MAX);
    if start != fixed {
        return Err(outside("offset of the variable headers", 8, fixed));
    }
    let most = file.len().saturating_sub(fixed);
    if !size.is_multiple_of(8) {
        return Err(outside("size of the variable headers", 12, size.next_multiple_of(8)));
    }
    let headers = view
        .bytes(start, size)
        .ok_or(outside("size of the variable headers", 12, most))?;
    let (before, after) = (view.bytes(0, 20), view.bytes(FIXED, fixed.saturating_sub(FIXED)));
    let checksum = crc32(&[before.unwrap_or_default(), &[0; 4], after.unwrap_or_default(), headers]);
    is("checksum", 20, checksum)?;
    Ok((start, start.saturating_add(size)))
}

/// Type and body of the header at `at`.
fn header(file: &[u8], at: usize, left: usize) -> Result<(u32, View<'_>), IgvmError> {
    let view = View(file);
    let truncated = |got| IgvmError::Truncated { at, got, left };
    let head = view.bytes(at, 8).filter(|_| left >= 8).ok_or(truncated(8))?;
    let (kind, length) = (
        View(head).u32(0).unwrap_or_default(),
        View(head).u32(4).unwrap_or_default(),
    );
    let bytes = usize::try_from(length).unwrap_or(usize::MAX);
    let body = view
        .bytes(at.saturating_add(8), bytes)
        .filter(|_| bytes <= left.saturating_sub(8))
        .ok_or(truncated(u64::from(length).saturating_add(8)))?;
    Ok((kind, View(body)))
}

fn exactly(at: usize, kind: u32, body: View<'_>, expected: usize) -> Result<(), IgvmError> {
    if body.0.len() == expected {
        return Ok(());
    }
    Err(IgvmError::Length {
        at,
        kind,
        expected,
        got: body.0.len() as u64,
    })
}

fn value(what: &'static str, at: usize, got: u64) -> IgvmError {
    IgvmError::Value { what, at, got }
}

fn platform(at: usize, kind: u32, body: View<'_>) -> Result<(u8, u32), IgvmError> {
    exactly(at, kind, body, 16)?;
    let (mask, platform) = (body.u32(0).unwrap_or_default(), body.u8(5).unwrap_or_default());
    if mask.count_ones() != 1 {
        return Err(value("compatibility mask of a platform", at, u64::from(mask)));
    }
    Ok((platform, mask))
}

impl<'a> Reader<'a> {
    fn directive(&mut self, at: usize, kind: u32, body: View<'_>) -> Result<Option<(u32, Directive<'a>)>, IgvmError> {
        match kind {
            0x301 => self.parameter_area(at, kind, body).map(|()| None),
            0x302 => self.pages(at, kind, body).map(Some),
            0x303 => self.parameters(at, kind, body).map(Some),
            _ => self.registers(at, kind, body),
        }
    }

    fn parameter_area(&mut self, at: usize, kind: u32, body: View<'_>) -> Result<(), IgvmError> {
        exactly(at, kind, body, 16)?;
        let (bytes, index) = (body.u64(0).unwrap_or_default(), body.u32(8).unwrap_or_default());
        if !bytes.is_multiple_of(PAGE_BYTES as u64) {
            return Err(value("size of a parameter area", at, bytes));
        }
        if self.areas.iter().any(|a| a.index == index) || self.areas.len() >= 256 {
            return Err(value("index of a parameter area", at, u64::from(index)));
        }
        self.areas.push(ParameterArea {
            index,
            bytes,
            is_inserted: false,
        });
        Ok(())
    }

    fn parameters(&mut self, at: usize, kind: u32, body: View<'_>) -> Result<(u32, Directive<'a>), IgvmError> {
        exactly(at, kind, body, 16)?;
        let gpa = address(at, body, PAGE_BYTES as u64)?;
        let (mask, index) = (body.u32(8).unwrap_or_default(), body.u32(12).unwrap_or_default());
        let area = self.areas.iter_mut().find(|a| a.index == index && !a.is_inserted);
        let area = area.ok_or(value("index of an inserted parameter area", at, u64::from(index)))?;
        area.is_inserted = true;
        let bytes = area.bytes;
        self.take(at, gpa, bytes)?;
        Ok((mask, Directive::Parameters { at, gpa, bytes }))
    }

    fn pages(&mut self, at: usize, kind: u32, body: View<'_>) -> Result<(u32, Directive<'a>), IgvmError> {
        exactly(at, kind, body, 24)?;
        let word = |n| body.u32(n).unwrap_or_default();
        let (mask, offset, bits) = (word(8), word(12), word(16));
        let (data_type, reserved) = (body.u16(20).unwrap_or_default(), body.u16(22).unwrap_or_default());
        if bits > 7 || bits & 6 == 6 {
            return Err(value("page flags", at, u64::from(bits)));
        }
        if reserved != 0 {
            return Err(value("reserved field of page data", at, u64::from(reserved)));
        }
        let bytes = if bits & 1 == 1 { LARGE_PAGE } else { PAGE_BYTES as u64 };
        let gpa = address(at, body, bytes)?;
        self.take(at, gpa, bytes)?;
        let contents = match data_type {
            0 if offset == 0 => PageContents::Zeros,
            0 => PageContents::Bytes(self.data(at, offset, bytes)?),
            1 => PageContents::Secrets,
            2 | 3 => PageContents::Cpuid,
            other => return Err(value("page data type", at, u64::from(other))),
        };
        if data_type != 0 && bytes != PAGE_BYTES as u64 {
            return Err(value("size of a secrets or CPUID page", at, bytes));
        }
        let flags = match bits & 6 {
            0 => PageFlags::Measured,
            2 => PageFlags::Unmeasured,
            _ => PageFlags::Shared,
        };
        Ok((
            mask,
            Directive::Pages {
                at,
                gpa,
                bytes,
                flags,
                contents,
            },
        ))
    }

    fn registers(&self, at: usize, kind: u32, body: View<'_>) -> Result<Option<(u32, Directive<'a>)>, IgvmError> {
        exactly(at, kind, body, 20)?;
        let gpa = address(at, body, PAGE_BYTES as u64)?;
        let (mask, offset) = (body.u32(8).unwrap_or_default(), body.u32(12).unwrap_or_default());
        let (index, reserved) = (body.u16(16).unwrap_or_default(), body.u16(18).unwrap_or_default());
        if reserved != 0 {
            return Err(value("reserved field of registers", at, u64::from(reserved)));
        }
        if mask & self.snp == 0 {
            return Ok(None);
        }
        let page = self.data(at, offset, PAGE_BYTES as u64)?;
        Ok(Some((mask, Directive::Registers { at, gpa, index, page })))
    }

    /// Contents lie behind the headers.
    fn data(&self, at: usize, offset: u32, bytes: u64) -> Result<&'a [u8], IgvmError> {
        let outside = IgvmError::OutsideFile {
            at,
            start: u64::from(offset),
            bytes,
        };
        let (Ok(from), Ok(length)) = (usize::try_from(offset), usize::try_from(bytes)) else {
            return Err(outside);
        };
        if from < self.data_start {
            return Err(outside);
        }
        View(self.file).bytes(from, length).ok_or(outside)
    }

    fn take(&mut self, at: usize, gpa: u64, bytes: u64) -> Result<(), IgvmError> {
        self.memory = self.memory.saturating_add(bytes);
        if self.memory > MEMORY_MAX {
            return Err(IgvmError::Memory { at, most: MEMORY_MAX });
        }
        if gpa.checked_add(bytes).is_none_or(|end| end > 1 << 52) {
            return Err(value("guest physical address", at, gpa));
        }
        Ok(())
    }
}

fn address(at: usize, body: View<'_>, multiple_of: u64) -> Result<u64, IgvmError> {
    let gpa = body.u64(0).unwrap_or_default();
    if !gpa.is_multiple_of(multiple_of) {
        return Err(value("guest physical address", at, gpa));
    }
    Ok(gpa)
}
