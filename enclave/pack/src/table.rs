//! The sealed file table.
//!
//! # Layout
//! Integers big-endian, nothing before, between or after:
//! `file_count: u32`, then per file in byte order of names `name_len: u8, name, size: u64`, then one 32-byte leaf hash
//! per data chunk in order. A file of `size` bytes has `ceil(size / 1 MiB)` chunks; each but its last is full.

use std::fmt;

use hanzo_attestation::{Digest256, merkle};
use hanzo_device::sha256::{LANES, of_four};

use crate::error::PackError;
use crate::header::{CHUNK_BYTES, CHUNKS_MAX};

/// Most files in a pack.
pub const FILES_MAX: usize = 1024;
/// Longest file table in bytes: 128 MiB.
pub const TABLE_BYTES_MAX: u64 = 128 << 20;

/// The name of a file in a pack: 1 to 128 characters out of `A-Z a-z 0-9 . _ -`, not starting with a dot. Never a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileName(String);

impl FileName {
    /// Checks and takes `text`; `None` if it is no such name.
    pub fn new(text: &str) -> Option<Self> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        let good = !text.is_empty() && text.len() <= 128 && !text.starts_with('.') && text.bytes().all(plain);
        good.then(|| Self(text.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One file of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackedFile {
    /// Its name.
    pub name: FileName,
    /// Its size in bytes.
    pub size: u64,
}

impl PackedFile {
    pub(crate) fn chunks(&self) -> u64 {
        self.size.div_ceil(CHUNK_BYTES as u64)
    }
}

/// Where a data chunk lies in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DataChunk {
    /// Which file.
    pub(crate) file: usize,
    /// Where in it.
    pub(crate) offset: u64,
    /// How many bytes.
    pub(crate) len: usize,
    /// Plaintext bytes of all data chunks before it.
    pub(crate) before: u64,
}

/// All data chunks of `files`, in order.
pub(crate) fn data_chunks(files: &[PackedFile]) -> Vec<DataChunk> {
    let mut chunks = Vec::new();
    let mut before = 0;
    for (file, packed) in files.iter().enumerate() {
        let mut offset = 0;
        while offset < packed.size {
            let len = (packed.size - offset).min(CHUNK_BYTES as u64) as usize;
            chunks.push(DataChunk {
                file,
                offset,
                len,
                before,
            });
            offset += len as u64;
            before += len as u64;
        }
    }
    chunks
}

/// Bytes that the table of `files` will take.
pub(crate) fn table_bytes(files: &[PackedFile]) -> u64 {
    files
        .iter()
        .fold(4, |sum, f| sum + 1 + f.name.as_str().len() as u64 + 8 + 32 * f.chunks())
}

/// The leaves of chunks of one length, in their order: four at a time where there are four and the processor can.
pub(crate) fn chunk_leaves(chunks: &[&[u8]]) -> Vec<Digest256> {
    let together = <[&[u8]; LANES]>::try_from(chunks).ok().and_then(|four| {
        let [first, ..] = four;
        let [a, b, c, d] = (first.len() as u32).to_be_bytes();
        // What `chunk_leaf` hashes before the chunk: RFC 6962's mark of a leaf, the kind, the length.
        of_four(&[0, b'C', a, b, c, d], four)
    });
    match together {
        Some(leaves) => leaves.map(Digest256).to_vec(),
        None => chunks.iter().map(|chunk| chunk_leaf(chunk)).collect(),
    }
}

/// The leaf of one chunk of a file.
pub(crate) fn chunk_leaf(chunk: &[u8]) -> Digest256 {
    merkle::leaf_hash(&[b"C", &(chunk.len() as u32).to_be_bytes(), chunk])
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Table {
    pub(crate) files: Vec<PackedFile>,
    pub(crate) leaves: Vec<Digest256>,
}

impl Table {
    /// The weights root: RFC 6962 over the head leaf, then per file its own leaf and those of its chunks.
    pub(crate) fn weights_root(&self) -> Digest256 {
        let mut all = Vec::with_capacity(1 + self.files.len() + self.leaves.len());
        all.push(merkle::leaf_hash(&[
            b"hanzo/weights/v1",
            &(CHUNK_BYTES as u32).to_be_bytes(),
            &(self.files.len() as u32).to_be_bytes(),
        ]));
        let mut leaves = self.leaves.iter();
        for file in &self.files {
            let name = file.name.as_str().as_bytes();
            all.push(merkle::leaf_hash(&[
                b"F",
                &(name.len() as u32).to_be_bytes(),
                name,
                &file.size.to_be_bytes(),
            ]));
            all.extend(leaves.by_ref().take(file.chunks() as usize));
        }
        merkle::root(&all)
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(table_bytes(&self.files) as usize);
        out.extend((self.files.len() as u32).to_be_bytes());
        for file in &self.files {
            out.push(file.name.as_str().len() as u8);
            out.extend(file.name.as_str().as_bytes());
            out.extend(file.size.to_be_bytes());
        }
        for leaf in &self.leaves {
            out.extend(leaf.as_bytes());
        }
        out
    }

    pub(crate) fn decode(bytes: &[u8], data_chunks: u64) -> Result<Self, PackError> {
        let mut cursor = Cursor(bytes);
        let count = u32::from_be_bytes(cursor.take("file count")?) as usize;
        if count == 0 || count > FILES_MAX {
            return shape("file count", "1 to 1024", count.to_string());
        }
        let mut files: Vec<PackedFile> = Vec::with_capacity(count);
        let mut chunks: u64 = 0;
        for _ in 0..count {
            let [name_len] = cursor.take("name length")?;
            let name = std::str::from_utf8(cursor.slice("name", name_len.into())?)
                .ok()
                .and_then(FileName::new);
            let Some(name) = name else {
                return shape(
                    "name",
                    "a plain file name, never a path",
                    format!("{name_len} other bytes"),
                );
            };
            if files.last().is_some_and(|before| before.name >= name) {
                return shape("name", "byte order, each name once", format!("{name} after its place"));
            }
            let size = u64::from_be_bytes(cursor.take("size")?);
            let file = PackedFile { name, size };
            chunks = chunks.saturating_add(file.chunks());
            files.push(file);
        }
        if chunks != data_chunks || chunks > CHUNKS_MAX {
            return shape("size", "sizes that fill the header's data chunks", chunks.to_string());
        }
        let mut leaves = Vec::with_capacity(cursor.0.len() / 32);
        for _ in 0..chunks {
            leaves.push(Digest256(cursor.take("leaf")?));
        }
        if !cursor.0.is_empty() {
            return shape(
                "length",
                "no bytes after the last leaf",
                format!("{} bytes", cursor.0.len()),
            );
        }
        Ok(Self { files, leaves })
    }
}

fn shape<T>(field: &'static str, expected: &'static str, got: String) -> Result<T, PackError> {
    Err(PackError::TableShape { field, expected, got })
}

struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn slice(&mut self, field: &'static str, len: usize) -> Result<&'a [u8], PackError> {
        let Some((head, rest)) = self.0.split_at_checked(len) else {
            return shape(field, "more bytes", format!("{} bytes", self.0.len()));
        };
        self.0 = rest;
        Ok(head)
    }

    fn take<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], PackError> {
        let Some((head, rest)) = self.0.split_first_chunk::<N>() else {
            return shape(field, "more bytes", format!("{} bytes", self.0.len()));
        };
        self.0 = rest;
        Ok(*head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(names: &[&str]) -> Table {
        let files: Vec<_> = names
            .iter()
            .map(|n| PackedFile {
                name: FileName(n.to_string()),
                size: 5,
            })
            .collect();
        Table {
            leaves: files.iter().map(|_| chunk_leaf(b"abcde")).collect(),
            files,
        }
    }

    #[test]
    fn what_is_encoded_is_decoded_and_every_cut_and_extra_byte_is_refused() {
        let table = table(&["a.json", "b.gguf"]);
        let bytes = table.encode();
        assert_eq!(bytes.len() as u64, table_bytes(&table.files));
        assert_eq!(Table::decode(&bytes, 2).unwrap(), table);
        for cut in 0..bytes.len() {
            assert_eq!(
                Table::decode(&bytes[..cut], 2).unwrap_err().code(),
                "pack.table.malformed"
            );
        }
        let longer = [&bytes[..], &[0]].concat();
        assert!(matches!(
            Table::decode(&longer, 2),
            Err(PackError::TableShape { field: "length", .. })
        ));
        assert!(matches!(
            Table::decode(&bytes, 3),
            Err(PackError::TableShape { field: "size", .. })
        ));
    }

    #[test]
    fn paths_duplicates_and_wrong_order_are_refused() {
        for names in [
            &["../etc"][..],
            &["/etc"],
            &["a/b"],
            &[".hidden"],
            &[""],
            &["a\0b"],
            &["a", "a"],
            &["b", "a"],
        ] {
            let bytes = table(names).encode();
            assert!(
                matches!(
                    Table::decode(&bytes, names.len() as u64),
                    Err(PackError::TableShape { field: "name", .. })
                ),
                "{names:?}"
            );
        }
        let empty = 0_u32.to_be_bytes();
        assert!(matches!(
            Table::decode(&empty, 0),
            Err(PackError::TableShape {
                field: "file count",
                ..
            })
        ));
    }

    #[test]
    fn the_root_depends_on_names_sizes_and_chunks() {
        let base = table(&["a", "b"]);
        let mut roots = vec![base.weights_root(), table(&["a", "c"]).weights_root()];
        let mut other = base.clone();
        other.files[1].size = 6;
        roots.push(other.weights_root());
        let mut other = base.clone();
        other.leaves[0] = chunk_leaf(b"abcdf");
        roots.push(other.weights_root());
        roots.push(table(&["a"]).weights_root());
        let mut unique = roots.clone();
        unique.sort();
        unique.dedup();
        assert_eq!(unique.len(), roots.len());
    }
}
