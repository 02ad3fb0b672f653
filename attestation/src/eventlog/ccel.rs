//! The ACPI table that tells where the log of a confidential guest lies (ACPI 6.5, table 5.75).

use super::error::EventLogError;

const TABLE_BYTES: usize = 56;

/// A CCEL table.
///
/// # Layout
/// 56 bytes, little endian: signature `CCEL`, length u32 (56), revision u8 (1), checksum u8, OEM fields (26 bytes), CC type
/// u8 at 36, CC subtype u8, reserved u16, log area minimum length u64 at 40, log area start address u64.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CcelTable {
    /// 1 is SEV, 2 is TDX.
    pub cc_type: u8,
    /// 0.
    pub cc_subtype: u8,
    /// LAML: least length of the log area in bytes.
    pub log_area_bytes_min: u64,
    /// LASA: physical address of the log area.
    pub log_area_start: u64,
}

impl CcelTable {
    /// Reads a table.
    ///
    /// # Errors
    /// [`EventLogError::Table`].
    pub fn parse(table: &[u8]) -> Result<Self, EventLogError> {
        let wrong = |detail| EventLogError::Table { detail };
        if table.len() != TABLE_BYTES {
            return Err(wrong("expected 56 bytes"));
        }
        if !table.starts_with(b"CCEL\x38\x00\x00\x00\x01") {
            return Err(wrong("expected signature CCEL, length 56, revision 1"));
        }
        if table.iter().fold(0_u8, |sum, b| sum.wrapping_add(*b)) != 0 {
            return Err(wrong("checksum: expected all bytes to add up to 0"));
        }
        let tail = table.split_at_checked(36).map(|(_, tail)| tail);
        let Some(&[cc_type, cc_subtype, 0, 0, ref places @ ..]) = tail else {
            return Err(wrong("reserved bytes at 38: expected 0"));
        };
        let number = |at: usize| {
            places
                .get(at..)
                .and_then(<[u8]>::first_chunk)
                .map(|b| u64::from_le_bytes(*b))
        };
        match (number(0), number(8)) {
            (Some(log_area_bytes_min), Some(log_area_start)) => Ok(Self {
                cc_type,
                cc_subtype,
                log_area_bytes_min,
                log_area_start,
            }),
            _ => Err(wrong("expected 56 bytes")),
        }
    }
}
