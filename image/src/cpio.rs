//! The archive that the kernel unpacks as its root: `newc` of `cpio(5)`, Linux `Documentation/driver-api/early-userspace`.
//!
//! # Layout
//! Per entry a 110-byte header: `070701`, then 13 numbers of 8 upper-case hex digits (inode, mode, uid, gid, links, time,
//! size, device major and minor, special major and minor, length of the name with its NUL, check 0), the name and a NUL,
//! padded to 4, the bytes, padded to 4. The last entry is `TRAILER!!!`. Here: sorted by path, parents before children,
//! inode by position from 1, owner 0:0, time 0, one link (two for a directory), device 0:0.

use std::collections::BTreeMap;

use crate::error::ImageError;

const MAGIC: &[u8] = b"070701";
const HEADER_BYTES: usize = 110;
const TRAILER: &str = "TRAILER!!!";
const DIRECTORY: u32 = 0o040_000;
const FILE: u32 = 0o100_000;

/// What an archive holds at one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A directory of mode 0755.
    Directory,
    /// A regular file.
    File {
        /// Its bytes.
        bytes: Vec<u8>,
        /// Mode 0755 instead of 0644.
        program: bool,
    },
}

/// An archive by path, without leading slashes. A map, so that the order of putting things in cannot matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Archive(BTreeMap<String, Entry>);

impl Archive {
    /// Puts a file there, and the directories it lies in.
    pub fn file(&mut self, path: &str, bytes: Vec<u8>, program: bool) {
        let mut parent = path;
        while let Some((above, _)) = parent.rsplit_once('/') {
            self.directory(above);
            parent = above;
        }
        self.0.insert(path.to_owned(), Entry::File { bytes, program });
    }

    /// Puts an empty directory there.
    pub fn directory(&mut self, path: &str) {
        self.0.entry(path.to_owned()).or_insert(Entry::Directory);
    }

    /// All entries in the order of the archive.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.0.iter().map(|(path, entry)| (path.as_str(), entry))
    }

    /// The archive's bytes: a function of what it holds and of nothing else.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (at, (path, entry)) in self.0.iter().enumerate() {
            let (mode, links, bytes) = match entry {
                Entry::Directory => (DIRECTORY | 0o755, 2, &[][..]),
                Entry::File { bytes, program: true } => (FILE | 0o755, 1, &bytes[..]),
                Entry::File { bytes, program: false } => (FILE | 0o644, 1, &bytes[..]),
            };
            append(&mut out, at as u32 + 1, mode, links, path, bytes);
        }
        append(&mut out, 0, 0, 1, TRAILER, &[]);
        out
    }
}

fn append(out: &mut Vec<u8>, inode: u32, mode: u32, links: u32, path: &str, bytes: &[u8]) {
    out.extend(MAGIC);
    let name_bytes = path.len() as u32 + 1;
    for number in [
        inode,
        mode,
        0,
        0,
        links,
        0,
        bytes.len() as u32,
        0,
        0,
        0,
        0,
        name_bytes,
        0,
    ] {
        out.extend(format!("{number:08X}").bytes());
    }
    out.extend(path.bytes());
    out.push(0);
    pad(out);
    out.extend(bytes);
    pad(out);
}

fn pad(out: &mut Vec<u8>) {
    while !out.len().is_multiple_of(4) {
        out.push(0);
    }
}

/// One entry as it lies in an archive, for comparing two of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawEntry<'a> {
    /// Where its header begins.
    pub offset: usize,
    /// Its path.
    pub path: &'a str,
    /// The 13 numbers of its header.
    pub numbers: [u32; 13],
    /// Where its bytes begin.
    pub bytes_offset: usize,
    /// Its bytes.
    pub bytes: &'a [u8],
}

/// Names of the 13 numbers.
pub const NUMBERS: [&str; 13] = [
    "inode",
    "mode",
    "uid",
    "gid",
    "links",
    "time",
    "size",
    "device major",
    "device minor",
    "special major",
    "special minor",
    "name length",
    "check",
];

/// Reads the entries of an archive, or of several one behind the other; trailers are left out.
///
/// # Errors
/// [`ImageError::Malformed`]: another format, a cut entry, no trailer, or bytes behind it.
pub fn read<'a>(file: &str, archive: &'a [u8]) -> Result<Vec<RawEntry<'a>>, ImageError> {
    let malformed = |offset: usize, expected, got: &str| ImageError::Malformed {
        file: file.to_owned(),
        offset: offset as u64,
        expected,
        got: got.to_owned(),
    };
    let mut entries = Vec::new();
    let mut at = 0;
    loop {
        let header = archive
            .get(at..at + HEADER_BYTES)
            .ok_or_else(|| malformed(at, "a 110-byte header", "the end of the archive"))?;
        let (magic, rest) = header.split_at(MAGIC.len());
        if magic != MAGIC {
            return Err(malformed(at, "070701 (newc)", "other bytes"));
        }
        let mut numbers = [0; 13];
        for (index, (number, digits)) in numbers.iter_mut().zip(rest.chunks_exact(8)).enumerate() {
            let plain = digits.iter().all(|b| b.is_ascii_digit() || (b'A'..=b'F').contains(b));
            let parsed = std::str::from_utf8(digits).ok().filter(|_| plain);
            *number = parsed
                .and_then(|text| u32::from_str_radix(text, 16).ok())
                .ok_or_else(|| malformed(at + 6 + 8 * index, "8 upper-case hex digits", "other bytes"))?;
        }
        let [_, _, _, _, _, _, size, _, _, _, _, name_bytes, _] = numbers;
        let name_at = at + HEADER_BYTES;
        let name = slice(archive, name_at, name_bytes).and_then(|name| name.strip_suffix(&[0]));
        let path = name
            .and_then(|name| std::str::from_utf8(name).ok())
            .ok_or_else(|| malformed(name_at, "a UTF-8 name and a NUL", "other bytes"))?;
        let bytes_offset = (name_at + name_bytes as usize).next_multiple_of(4);
        let bytes = slice(archive, bytes_offset, size)
            .ok_or_else(|| malformed(at + 54, "a size within the archive", &size.to_string()))?;
        let end = (bytes_offset + size as usize).next_multiple_of(4);
        if path == TRAILER {
            match archive.get(end..) {
                Some([]) => return Ok(entries),
                // Another archive, which the kernel unpacks over the first.
                Some(more) if more.starts_with(MAGIC) => {
                    at = end;
                    continue;
                }
                _ => return Err(malformed(end, "the end of the archive", "more bytes")),
            }
        }
        entries.push(RawEntry {
            offset: at,
            path,
            numbers,
            bytes_offset,
            bytes,
        });
        at = end;
    }
}

fn slice(archive: &[u8], at: usize, bytes: u32) -> Option<&[u8]> {
    archive.get(at..at.checked_add(bytes as usize)?)
}
