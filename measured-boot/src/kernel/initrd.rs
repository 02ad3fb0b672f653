//! What an initrd is packed with, and whether its first program is for this machine.

use super::{ELF_X86_64, elf_machine};
use crate::cursor::View;

/// Most entries of an archive that are looked at for `/init`.
const ENTRIES_MAX: usize = 65_536;
/// Length of a newc header.
const HEADER_BYTES: usize = 110;

/// What an initrd is packed with. Linux tells them by the same bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Initrd {
    /// Not at all: a cpio archive (newc, with or without checksums).
    Cpio,
    /// gzip.
    Gzip,
    /// xz.
    Xz,
    /// zstd.
    Zstd,
    /// bzip2.
    Bzip2,
    /// LZ4 as the kernel's legacy frames.
    Lz4,
}

impl Initrd {
    /// Tells what an initrd is packed with. Of an archive that is not packed `/init` is looked at too: a program of
    /// another architecture would not start.
    ///
    /// # Does not establish
    /// What is in a packed one.
    ///
    /// # Errors
    /// [`InitrdError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, InitrdError> {
        let kind = match bytes {
            [] => return Err(InitrdError::Empty),
            [b'0', b'7', b'0', b'7', b'0', b'1' | b'2', ..] => Self::Cpio,
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            [b'B', b'Z', b'h', ..] => Self::Bzip2,
            [0x02, 0x21, 0x4c, 0x18, ..] => Self::Lz4,
            _ => return Err(InitrdError::Magic),
        };
        if kind == Self::Cpio
            && let Some(got) = foreign_init(View(bytes))?
        {
            return Err(InitrdError::Architecture { got });
        }
        Ok(kind)
    }
}

/// The architecture of `/init` if it is an ELF program of another one.
fn foreign_init(archive: View<'_>) -> Result<Option<&'static str>, InitrdError> {
    let mut at = 0_usize;
    for _ in 0..ENTRIES_MAX {
        let truncated = InitrdError::Truncated { at };
        let Some(header) = archive.bytes(at, HEADER_BYTES) else {
            return Err(truncated);
        };
        if !matches!(header, [b'0', b'7', b'0', b'7', b'0', b'1' | b'2', ..]) {
            return Err(InitrdError::Entry { at });
        }
        let (Some(size), Some(name_bytes)) = (hex_field(header, 54), hex_field(header, 94)) else {
            return Err(InitrdError::Entry { at });
        };
        let name_at = at.saturating_add(HEADER_BYTES);
        let data_at = name_at.saturating_add(name_bytes).saturating_add(3) & !3;
        let (Some(name), Some(data)) = (archive.bytes(name_at, name_bytes), archive.bytes(data_at, size)) else {
            return Err(truncated);
        };
        let name = name.split(|b| *b == 0).next().unwrap_or_default();
        if name == b"TRAILER!!!" {
            break;
        }
        let name = name.strip_prefix(b"./").or(name.strip_prefix(b"/")).unwrap_or(name);
        if name == b"init" && data.starts_with(b"\x7fELF") {
            let machine = View(data).u16(0x12);
            return Ok((machine != Some(ELF_X86_64)).then(|| elf_machine(machine)));
        }
        at = data_at.saturating_add(size).saturating_add(3) & !3;
    }
    Ok(None)
}

/// Eight hexadecimal digits.
fn hex_field(header: &[u8], at: usize) -> Option<usize> {
    let digits = std::str::from_utf8(View(header).bytes(at, 8)?).ok()?;
    let number = digits.bytes().all(|b| b.is_ascii_hexdigit());
    number.then(|| usize::from_str_radix(digits, 16).ok()).flatten()
}

/// Why an initrd was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InitrdError {
    /// No bytes: leave it out instead.
    #[error("initrd: empty: leave it out, a guest without one measures something else")]
    Empty,
    /// Nothing that Linux unpacks.
    #[error("initrd: expected cpio (newc), gzip, xz, zstd, bzip2 or LZ4 at offset 0, got something else")]
    Magic,
    /// The archive ends inside an entry.
    #[error("initrd: cpio entry at offset {at:#x}: the archive ends inside it or without TRAILER!!!")]
    Truncated {
        /// Offset of the entry.
        at: usize,
    },
    /// Not a newc header.
    #[error("initrd: cpio entry at offset {at:#x}: expected a newc header")]
    Entry {
        /// Offset of the entry.
        at: usize,
    },
    /// `/init` cannot start here.
    #[error("initrd: /init: expected an x86-64 program, got one for another architecture: {got}")]
    Architecture {
        /// Which.
        got: &'static str,
    },
}

impl InitrdError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Empty => "initrd.empty",
            Self::Magic => "initrd.magic",
            Self::Truncated { .. } => "initrd.truncated",
            Self::Entry { .. } => "initrd.entry",
            Self::Architecture { .. } => "initrd.architecture",
        }
    }
}
