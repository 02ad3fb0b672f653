//! One pass over a GGUF header. Nothing is allocated before its length was held against the file's.

use std::fs::File;
use std::io::{BufReader, Read as _};
use std::path::Path;

use crate::error::ModelFileError;

/// Longest text value that is kept.
const TEXT_BYTES_MAX: u64 = 16 << 20;
const KEY_BYTES_MAX: u64 = 65_536;
const ELEMENTS_MAX: u64 = 16 << 20;
/// Arrays in arrays.
const DEPTH_MAX: u8 = 2;

/// A value, as far as it is of use.
pub(super) enum Value {
    Number(u64),
    Real(f32),
    Text(String),
    /// Number of elements.
    Array(u64),
    Other,
}

/// Where a key and its value stand in the file, and the value.
pub(super) struct Entry {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) value: Value,
}

pub(super) struct Walk<'a> {
    path: &'a Path,
    reader: BufReader<File>,
    at: u64,
    len: u64,
}

impl<'a> Walk<'a> {
    pub(super) fn open(path: &'a Path) -> Result<Self, ModelFileError> {
        let file = File::open(path).map_err(ModelFileError::io("opening", path))?;
        let len = file
            .metadata()
            .map_err(ModelFileError::io("reading the size of", path))?
            .len();
        Ok(Self {
            path,
            reader: BufReader::with_capacity(1 << 16, file),
            at: 0,
            len,
        })
    }

    pub(super) fn path(&self) -> &Path {
        self.path
    }

    pub(super) fn at(&self) -> u64 {
        self.at
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn malformed(
        &self,
        what: impl Into<String>,
        expected: impl Into<String>,
        got: impl ToString,
    ) -> ModelFileError {
        ModelFileError::malformed(self.path, what, expected, got)
    }

    pub(super) fn truncated(&self, what: impl Into<String>, expected: u64) -> ModelFileError {
        ModelFileError::truncated(self.path, what, expected, self.len)
    }

    fn need(&self, bytes: u64, what: &str) -> Result<(), ModelFileError> {
        let end = self.at.saturating_add(bytes);
        match end <= self.len {
            true => Ok(()),
            false => Err(self.truncated(what, end)),
        }
    }

    pub(super) fn bytes<const N: usize>(&mut self, what: &str) -> Result<[u8; N], ModelFileError> {
        self.need(N as u64, what)?;
        let mut out = [0; N];
        self.reader
            .read_exact(&mut out)
            .map_err(ModelFileError::io("reading", self.path))?;
        self.at += N as u64;
        Ok(out)
    }

    pub(super) fn u32(&mut self, what: &str) -> Result<u32, ModelFileError> {
        Ok(u32::from_le_bytes(self.bytes(what)?))
    }

    pub(super) fn u64(&mut self, what: &str) -> Result<u64, ModelFileError> {
        Ok(u64::from_le_bytes(self.bytes(what)?))
    }

    /// A number that may be at most `most`.
    pub(super) fn bounded(&mut self, what: &str, most: u64) -> Result<u64, ModelFileError> {
        let got = self.u64(what)?;
        match got <= most {
            true => Ok(got),
            false => Err(self.malformed(what, format!("at most {most}"), got)),
        }
    }

    pub(super) fn string(&mut self, what: &str, most: u64) -> Result<String, ModelFileError> {
        let len = self.u64(what)?;
        if len > most {
            return Err(self.malformed(what, format!("text of at most {most} bytes"), format!("{len} bytes")));
        }
        self.need(len, what)?;
        let mut out = vec![0; len as usize];
        self.reader
            .read_exact(&mut out)
            .map_err(ModelFileError::io("reading", self.path))?;
        self.at += len;
        String::from_utf8(out).map_err(|_| self.malformed(what, "UTF-8", "other bytes"))
    }

    fn skip(&mut self, bytes: u64, what: &str) -> Result<(), ModelFileError> {
        self.need(bytes, what)?;
        self.reader
            .seek_relative(bytes as i64)
            .map_err(ModelFileError::io("reading", self.path))?;
        self.at += bytes;
        Ok(())
    }

    /// A key with its value.
    pub(super) fn entry(&mut self) -> Result<(String, Entry), ModelFileError> {
        let start = self.at;
        let key = self.string("metadata key", KEY_BYTES_MAX)?;
        let kind = self.u32(&key)?;
        let value = self.value(&key, kind)?;
        let entry = Entry {
            start,
            end: self.at,
            value,
        };
        Ok((key, entry))
    }

    fn value(&mut self, key: &str, kind: u32) -> Result<Value, ModelFileError> {
        Ok(match kind {
            0 => Value::Number(self.bytes::<1>(key).map(|b| u8::from_le_bytes(b).into())?),
            2 => Value::Number(self.bytes::<2>(key).map(|b| u16::from_le_bytes(b).into())?),
            4 => Value::Number(self.u32(key)?.into()),
            10 => Value::Number(self.u64(key)?),
            // Signed numbers are counts too in files of some tools.
            5 => signed(i32::from_le_bytes(self.bytes(key)?).into()),
            11 => signed(i64::from_le_bytes(self.bytes(key)?)),
            6 => Value::Real(f32::from_le_bytes(self.bytes(key)?)),
            8 => Value::Text(self.string(key, TEXT_BYTES_MAX)?),
            9 => Value::Array(self.array(key, 1)?),
            other => {
                self.plain(key, other)?;
                Value::Other
            }
        })
    }

    /// Bytes of a value of fixed size.
    fn size_of(kind: u32) -> Option<u64> {
        match kind {
            0 | 1 | 7 => Some(1),
            2 | 3 => Some(2),
            4..=6 => Some(4),
            10..=12 => Some(8),
            _ => None,
        }
    }

    fn plain(&mut self, key: &str, kind: u32) -> Result<(), ModelFileError> {
        match Self::size_of(kind) {
            Some(bytes) => self.skip(bytes, key),
            None => Err(self.malformed(format!("type of `{key}`"), "0 to 12", kind)),
        }
    }

    /// Passes over an array and counts it.
    fn array(&mut self, key: &str, depth: u8) -> Result<u64, ModelFileError> {
        let kind = self.u32(key)?;
        let count = self.bounded(key, ELEMENTS_MAX)?;
        if let Some(bytes) = Self::size_of(kind) {
            self.skip(count * bytes, key)?;
            return Ok(count);
        }
        match kind {
            8 => {
                for _ in 0..count {
                    let len = self.u64(key)?;
                    self.skip(len, key)?;
                }
            }
            9 if depth < DEPTH_MAX => {
                for _ in 0..count {
                    self.array(key, depth + 1)?;
                }
            }
            other => return Err(self.malformed(format!("elements of `{key}`"), "0 to 12, two deep at most", other)),
        }
        Ok(count)
    }
}

fn signed(number: i64) -> Value {
    u64::try_from(number).map_or(Value::Other, Value::Number)
}
