//! The public header.
//!
//! # Layout
//! 64 bytes, integers big-endian:
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 8 | magic `HANZOPCK` |
//! | 8 | 4 | version: 1 |
//! | 12 | 4 | chunk size: 1,048,576 |
//! | 16 | 32 | salt, random |
//! | 48 | 8 | bytes of the file table |
//! | 56 | 8 | number of data chunks |

use crate::error::PackError;
use crate::table::TABLE_BYTES_MAX;

/// Bytes of a header.
pub const HEADER_BYTES: usize = 64;
/// Plaintext bytes of a full chunk, in the pack and under the weights root.
pub const CHUNK_BYTES: usize = 1 << 20;
/// Most data chunks: 2 TiB.
pub(crate) const CHUNKS_MAX: u64 = 1 << 21;

const MAGIC: [u8; 8] = *b"HANZOPCK";
const VERSION: u32 = 1;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) salt: [u8; 32],
    pub(crate) table_bytes: u64,
    pub(crate) data_chunks: u64,
}

impl Header {
    pub(crate) fn encode(&self) -> [u8; HEADER_BYTES] {
        let parts: [&[u8]; 6] = [
            &MAGIC,
            &VERSION.to_be_bytes(),
            &(CHUNK_BYTES as u32).to_be_bytes(),
            &self.salt,
            &self.table_bytes.to_be_bytes(),
            &self.data_chunks.to_be_bytes(),
        ];
        let mut out = [0; HEADER_BYTES];
        for (to, from) in out.iter_mut().zip(parts.concat()) {
            *to = from;
        }
        out
    }

    pub(crate) fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<Self, PackError> {
        let (magic, rest) = take::<8>(bytes)?;
        let (version, rest) = take::<4>(rest)?;
        let (chunk_bytes, rest) = take::<4>(rest)?;
        let (salt, rest) = take::<32>(rest)?;
        let (table_bytes, rest) = take::<8>(rest)?;
        let (data_chunks, _) = take::<8>(rest)?;
        let (version, chunk_bytes) = (u32::from_be_bytes(version), u32::from_be_bytes(chunk_bytes));
        let (table_bytes, data_chunks) = (u64::from_be_bytes(table_bytes), u64::from_be_bytes(data_chunks));
        let wrong = |field, expected, got| Err(PackError::Header { field, expected, got });
        if magic != MAGIC {
            return wrong("magic", "HANZOPCK", "other bytes".into());
        }
        if version != VERSION {
            return wrong("version", "1", version.to_string());
        }
        if chunk_bytes as usize != CHUNK_BYTES {
            return wrong("chunk size", "1048576", chunk_bytes.to_string());
        }
        if table_bytes == 0 || table_bytes > TABLE_BYTES_MAX {
            return wrong("table bytes", "1 to 134217728", table_bytes.to_string());
        }
        if data_chunks > CHUNKS_MAX {
            return wrong("data chunks", "at most 2097152", data_chunks.to_string());
        }
        Ok(Self {
            salt,
            table_bytes,
            data_chunks,
        })
    }

    /// Chunks that the table takes.
    pub(crate) fn table_chunks(&self) -> u64 {
        self.table_bytes.div_ceil(CHUNK_BYTES as u64)
    }
}

fn take<const N: usize>(bytes: &[u8]) -> Result<([u8; N], &[u8]), PackError> {
    bytes
        .split_first_chunk::<N>()
        .map(|(head, rest)| (*head, rest))
        .ok_or(PackError::Header {
            field: "length",
            expected: "64 bytes",
            got: "fewer".into(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_field_out_of_its_range_is_refused_by_name() {
        let header = Header {
            salt: [9; 32],
            table_bytes: 77,
            data_chunks: 3,
        };
        let good = header.encode();
        assert_eq!(Header::decode(&good).unwrap(), header);
        for (at, value, name) in [
            (0, b'X', "magic"),
            (11, 2, "version"),
            (15, 1, "chunk size"),
            (48, 1, "table bytes"),
            (56, 1, "data chunks"),
        ] {
            let mut bad = good;
            bad[at] = value;
            match Header::decode(&bad) {
                Err(PackError::Header { field, .. }) => assert_eq!(field, name),
                other => panic!("{name}: {other:?}"),
            }
        }
    }
}
