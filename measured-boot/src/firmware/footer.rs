//! The GUID table at the end of the image.

use std::collections::BTreeMap;

use super::{Area, FirmwareError, Guid, guid};
use crate::cursor::View;

/// Bytes between the end of the table and the end of the file: the reset vector's.
const AFTER_TABLE: usize = 32;
/// `{u16 length, GUID}`.
const HEADER: usize = 18;

/// Each entry's data and its offset in the file.
#[derive(Debug, Clone)]
pub struct Footer(BTreeMap<Guid, Entry>);

#[derive(Debug, Clone)]
struct Entry {
    at: usize,
    data: Vec<u8>,
}

impl Footer {
    pub fn read(bytes: &[u8]) -> Result<Self, FirmwareError> {
        let mut entries = BTreeMap::new();
        let view = View(bytes);
        let table_end = bytes.len().saturating_sub(AFTER_TABLE);
        let Some((length, found)) = header(view, table_end) else {
            return Ok(Self(entries));
        };
        if found != guid::FOOTER {
            return Ok(Self(entries));
        }
        let malformed = |at: usize, got: usize, most: usize| FirmwareError::Entry { at, got, most };
        let start = table_end
            .checked_sub(length)
            .filter(|_| length >= HEADER)
            .ok_or_else(|| malformed(table_end.saturating_sub(HEADER), length, table_end))?;
        let mut end = table_end.saturating_sub(HEADER);
        while end > start {
            let left = end.saturating_sub(start);
            let at = end.saturating_sub(HEADER);
            let Some((length, guid)) = header(view, end).filter(|_| left >= HEADER) else {
                return Err(malformed(at, left, left));
            };
            if length < HEADER || length > left {
                return Err(malformed(at, length, left));
            }
            let from = end.saturating_sub(length);
            let data = view
                .bytes(from, length.saturating_sub(HEADER))
                .unwrap_or_default()
                .to_vec();
            if entries.insert(guid, Entry { at: from, data }).is_some() {
                return Err(FirmwareError::Duplicate { guid, at });
            }
            end = from;
        }
        Ok(Self(entries))
    }

    pub fn guids(&self) -> impl Iterator<Item = Guid> + '_ {
        self.0.keys().copied()
    }

    /// The one number of an entry.
    pub fn u32(&self, what: &'static str, guid: Guid) -> Result<Option<u32>, FirmwareError> {
        let Some(entry) = self.0.get(&guid) else {
            return Ok(None);
        };
        let data: [u8; 4] = entry.exactly(what)?;
        Ok(Some(u32::from_le_bytes(data)))
    }

    /// Address and size; a zero address says "none".
    pub fn area(&self, what: &'static str, guid: Guid) -> Result<Option<Area>, FirmwareError> {
        let Some(entry) = self.0.get(&guid) else {
            return Ok(None);
        };
        let [g0, g1, g2, g3, s0, s1, s2, s3] = entry.exactly(what)?;
        let area = Area {
            gpa: u32::from_le_bytes([g0, g1, g2, g3]),
            bytes: u32::from_le_bytes([s0, s1, s2, s3]),
        };
        Ok((area.gpa != 0).then_some(area))
    }
}

impl Entry {
    fn exactly<const N: usize>(&self, what: &'static str) -> Result<[u8; N], FirmwareError> {
        self.data.as_slice().try_into().map_err(|_| FirmwareError::Length {
            what,
            at: self.at,
            expected: N as u64,
            got: self.data.len() as u64,
        })
    }
}

/// Length and GUID of the entry that ends at `end`.
fn header(view: View<'_>, end: usize) -> Option<(usize, Guid)> {
    let at = end.checked_sub(HEADER)?;
    Some((usize::from(view.u16(at)?), Guid(view.array(at.checked_add(2)?)?)))
}
