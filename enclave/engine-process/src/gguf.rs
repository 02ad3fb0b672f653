//! A bounded walk over a GGUF header, before any library allocates what the header asks for.
//!
//! # Layout
//! Little endian: magic `GGUF`, u32 version, u64 tensor count, u64 key count; keys as (string, u32 type, value); tensors
//! as (string, u32 rank, u64 dims, u32 ggml type, u64 offset); padding to `general.alignment`; data.
//!
//! # Spec
//! ggml `docs/gguf.md`, versions 2 and 3.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use crate::error::GgufError;

const KEYS_MAX: u64 = 65_536;
const TENSORS_MAX: u64 = 65_536;
const ARRAY_MAX: u64 = 16 << 20;
const STRING_MAX: u64 = 16 << 20;
const RANK_MAX: u32 = 4;

/// One tensor as the header describes it.
#[derive(Debug, Clone)]
pub struct TensorEntry {
    /// Its name.
    pub name: String,
    /// Dimensions.
    pub rank: u32,
    /// Encoding, by ggml's number.
    pub ggml_type: u32,
    /// From the start of the data section.
    pub offset: u64,
    /// Length.
    pub bytes: u64,
}

/// What the walk found; every range lies inside the file.
#[derive(Debug)]
pub struct Header {
    /// In the order of the data section.
    pub tensors: Vec<TensorEntry>,
}

/// What an engine runs of all that GGUF can hold.
#[derive(Debug, Clone, Copy)]
pub struct Accepted {
    /// `general.architecture`.
    pub architectures: &'static [&'static str],
    /// ggml types of tensors, as (type, elements a block, bytes a block).
    pub types: &'static [(u32, u64, u64)],
}

struct Walk<'a> {
    path: &'a Path,
    reader: BufReader<File>,
    at: u64,
    len: u64,
}

impl Walk<'_> {
    fn need(&self, bytes: u64, what: &str) -> Result<(), GgufError> {
        match self.at.checked_add(bytes) {
            Some(end) if end <= self.len => Ok(()),
            end => Err(GgufError::Truncated {
                path: self.path.into(),
                what: what.to_owned(),
                expected: end.unwrap_or(u64::MAX),
                got: self.len,
            }),
        }
    }

    fn bytes<const N: usize>(&mut self, what: &str) -> Result<[u8; N], GgufError> {
        self.need(N as u64, what)?;
        let mut out = [0u8; N];
        self.reader.read_exact(&mut out).map_err(|source| self.io(source))?;
        self.at += N as u64;
        Ok(out)
    }

    fn u32(&mut self, what: &str) -> Result<u32, GgufError> {
        Ok(u32::from_le_bytes(self.bytes(what)?))
    }

    fn u64(&mut self, what: &str) -> Result<u64, GgufError> {
        Ok(u64::from_le_bytes(self.bytes(what)?))
    }

    fn string(&mut self, what: &str) -> Result<String, GgufError> {
        let len = self.u64(what)?;
        if len > STRING_MAX {
            return Err(self.malformed(
                what,
                format!("a string of {len} bytes"),
                format!("at most {STRING_MAX}"),
            ));
        }
        self.need(len, what)?;
        let mut out = vec![0u8; len as usize];
        self.reader.read_exact(&mut out).map_err(|source| self.io(source))?;
        self.at += len;
        Ok(String::from_utf8_lossy(&out).into_owned())
    }

    fn skip(&mut self, bytes: u64, what: &str) -> Result<(), GgufError> {
        self.need(bytes, what)?;
        self.reader
            .seek_relative(bytes as i64)
            .map_err(|source| self.io(source))?;
        self.at += bytes;
        Ok(())
    }

    fn value(&mut self, key: &str, value_type: u32, depth: u8) -> Result<Option<String>, GgufError> {
        match value_type {
            0 | 1 | 7 => self.skip(1, key)?,
            2 | 3 => self.skip(2, key)?,
            4..=6 => self.skip(4, key)?,
            10..=12 => self.skip(8, key)?,
            8 => return self.string(key).map(Some),
            9 if depth < 2 => {
                let element = self.u32(key)?;
                let count = self.u64(key)?;
                if count > ARRAY_MAX {
                    return Err(self.malformed(key, format!("{count} elements"), format!("at most {ARRAY_MAX}")));
                }
                self.need(count, key)?;
                for _ in 0..count {
                    self.value(key, element, depth + 1)?;
                }
            }
            other => {
                return Err(self.malformed(
                    key,
                    format!("value type {other}"),
                    "0 to 12, arrays at most 2 deep".into(),
                ));
            }
        }
        Ok(None)
    }

    fn io(&self, source: std::io::Error) -> GgufError {
        GgufError::Io {
            what: "reading",
            path: self.path.into(),
            source,
        }
    }

    fn malformed(&self, what: &str, got: String, expected: String) -> GgufError {
        GgufError::Malformed {
            path: self.path.into(),
            what: what.to_owned(),
            got,
            expected,
        }
    }
}

/// Walks the header of `path`.
///
/// # Errors
/// Not GGUF, wrong version, truncated, malformed, an architecture or tensor type the engine does not run.
///
/// # Establishes
/// Counts, lengths and tensor ranges are inside the file. Not that the numbers make a good model.
pub fn read(path: &Path, accepted: &Accepted) -> Result<Header, GgufError> {
    let file = File::open(path).map_err(|source| GgufError::Io {
        what: "opening",
        path: path.into(),
        source,
    })?;
    let len = file
        .metadata()
        .map_err(|source| GgufError::Io {
            what: "reading the size of",
            path: path.into(),
            source,
        })?
        .len();
    let mut walk = Walk {
        path,
        reader: BufReader::new(file),
        at: 0,
        len,
    };
    if len < 4 || walk.bytes::<4>("magic")? != *b"GGUF" {
        walk.reader.seek(SeekFrom::Start(0)).map_err(|source| walk.io(source))?;
        let mut head = Vec::new();
        walk.reader
            .by_ref()
            .take(8)
            .read_to_end(&mut head)
            .map_err(|source| walk.io(source))?;
        let got = if head.is_empty() {
            "an empty file".to_owned()
        } else {
            format!(
                "a file that begins with {}",
                head.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
            )
        };
        return Err(GgufError::NotGguf { path: path.into(), got });
    }
    let version = walk.u32("version")?;
    if !(2..=3).contains(&version) {
        return Err(GgufError::Version {
            path: path.into(),
            got: version,
        });
    }
    let tensor_count = walk.u64("tensor_count")?;
    let key_count = walk.u64("metadata_kv_count")?;
    for (what, got, max) in [
        ("tensor_count", tensor_count, TENSORS_MAX),
        ("metadata_kv_count", key_count, KEYS_MAX),
    ] {
        if got > max {
            return Err(walk.malformed(what, got.to_string(), format!("at most {max}")));
        }
    }
    let mut architecture = String::new();
    let mut keys = BTreeSet::new();
    let mut alignment = 32u64;
    for _ in 0..key_count {
        let key = walk.string("metadata key")?;
        let value_type = walk.u32(&key)?;
        if key == "general.alignment" && value_type == 4 {
            alignment = u64::from(walk.u32(&key)?);
        } else if let Some(text) = walk.value(&key, value_type, 0)?
            && key == "general.architecture"
        {
            architecture = text;
        }
        if !keys.insert(key.clone()) {
            return Err(walk.malformed("metadata", format!("key `{key}` twice"), "each key once".into()));
        }
    }
    if alignment == 0 || !alignment.is_multiple_of(8) || alignment > 1 << 20 {
        return Err(walk.malformed(
            "general.alignment",
            alignment.to_string(),
            "a multiple of 8, at most 1 MiB".into(),
        ));
    }
    if !accepted.architectures.contains(&architecture.as_str()) {
        return Err(GgufError::Architecture {
            path: path.into(),
            got: architecture,
            expected: accepted.architectures.join(", "),
        });
    }
    let mut tensors = Vec::with_capacity(tensor_count as usize);
    let mut names = BTreeSet::new();
    for _ in 0..tensor_count {
        let name = walk.string("tensor name")?;
        let rank = walk.u32("tensor rank")?;
        if rank > RANK_MAX {
            return Err(walk.malformed(
                &format!("rank of `{name}`"),
                rank.to_string(),
                format!("at most {RANK_MAX}"),
            ));
        }
        let mut elements = 1u64;
        for _ in 0..rank {
            let dim = walk.u64("tensor dimension")?;
            elements = match elements.checked_mul(dim) {
                Some(product) if product <= 1 << 40 => product,
                _ => {
                    return Err(walk.malformed(
                        &format!("dimensions of `{name}`"),
                        "more than 2^40 elements".into(),
                        "fewer".into(),
                    ));
                }
            };
        }
        let ggml_type = walk.u32("tensor type")?;
        let offset = walk.u64("tensor offset")?;
        let Some((_, block_elements, block_bytes)) = accepted.types.iter().find(|(known, ..)| *known == ggml_type)
        else {
            return Err(GgufError::TensorType {
                path: path.into(),
                tensor: name,
                got: ggml_type,
            });
        };
        if !elements.is_multiple_of(*block_elements) {
            return Err(walk.malformed(
                &format!("size of `{name}`"),
                format!("{elements} elements"),
                format!("a multiple of {block_elements}"),
            ));
        }
        let bytes = elements / block_elements * block_bytes;
        if !names.insert(name.clone()) {
            return Err(walk.malformed("tensors", format!("`{name}` twice"), "each tensor once".into()));
        }
        tensors.push(TensorEntry {
            name,
            rank,
            ggml_type,
            offset,
            bytes,
        });
    }
    let data = walk.at.div_ceil(alignment) * alignment;
    for tensor in &tensors {
        let end = data
            .checked_add(tensor.offset)
            .and_then(|start| start.checked_add(tensor.bytes))
            .unwrap_or(u64::MAX);
        if end > len {
            return Err(GgufError::Truncated {
                path: path.into(),
                what: format!("tensor `{}`", tensor.name),
                expected: end,
                got: len,
            });
        }
    }
    tensors.sort_by_key(|tensor| tensor.offset);
    Ok(Header { tensors })
}
