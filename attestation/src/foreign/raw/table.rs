//! The certificate table that the host hands over with an extended guest request.
//!
//! # Layout
//! Entries of 24 bytes: GUID (16 bytes, in the order it is written), offset (u32, little endian, from the start of the
//! table), length (u32, little endian); the entry that is all zero ends the list. Unknown GUIDs are skipped. The host
//! wrote all of it: nothing here is believed before a verifier checked it.
//!
//! # Spec
//! AMD 56421 (GHCB standardization) section 4.1.8.1.

use crate::foreign::{ForeignError, ForeignFormat};

/// Longest table accepted, in bytes.
pub const TABLE_BYTES_MAX: usize = 64 << 10;
const ENTRIES_MAX: usize = 32;
const CERTIFICATE_BYTES_MAX: usize = 16 << 10;
const ENTRY_BYTES: usize = 24;

const ASK: u128 = 0x4ab7b379_bbac_4fe4_a02f_05aef327c782;
const VCEK: u128 = 0x63da758d_e664_4564_adc5_f4b93be8accd;
const VLEK: u128 = 0xa8074bc2_a25a_483e_aae6_39c045a0b8a1;
const CRL: u128 = 0x92f81bc3_5811_4d3d_97ff_d19f88dc67ea;

/// The certificates that a verifier has a use for, DER.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateTable {
    /// AMD SEV key.
    pub ask: Option<Vec<u8>>,
    /// Versioned chip endorsement key.
    pub vcek: Option<Vec<u8>>,
    /// Versioned loaded endorsement key.
    pub vlek: Option<Vec<u8>>,
    /// Revocation list of the ARK.
    pub crl: Option<Vec<u8>>,
}

impl CertificateTable {
    /// Reads a table.
    ///
    /// # Errors
    /// [`ForeignError::Field`]: over 64 KiB, no end entry within 32, an entry that points outside, a certificate that is
    /// empty, over 16 KiB or given twice.
    pub fn parse(format: ForeignFormat, table: &[u8]) -> Result<Self, ForeignError> {
        let bad = |expected| ForeignError::Field {
            format,
            field: "certificate table",
            expected,
        };
        if table.len() > TABLE_BYTES_MAX {
            return Err(bad("at most 65536 bytes"));
        }
        let mut out = Self::default();
        for entry in table.chunks_exact(ENTRY_BYTES).take(ENTRIES_MAX) {
            let Some((id, offset, length)) = split(entry) else {
                break;
            };
            if (id, offset, length) == (0, 0, 0) {
                return Ok(out);
            }
            let data = usize::try_from(offset)
                .ok()
                .zip(usize::try_from(length).ok())
                .and_then(|(start, length)| table.get(start..start.checked_add(length)?))
                .ok_or_else(|| bad("entries that lie inside the table"))?;
            let slot = match id {
                0 => return Err(bad("zeros in the end entry")),
                ASK => &mut out.ask,
                VCEK => &mut out.vcek,
                VLEK => &mut out.vlek,
                CRL => &mut out.crl,
                _ => continue,
            };
            if data.is_empty() || data.len() > CERTIFICATE_BYTES_MAX {
                return Err(bad("certificates of 1 to 16384 bytes"));
            }
            if slot.replace(data.to_vec()).is_some() {
                return Err(bad("each certificate once"));
            }
        }
        Err(bad("an end entry within 32 entries"))
    }
}

fn split(entry: &[u8]) -> Option<(u128, u32, u32)> {
    let (id, rest) = entry.split_first_chunk::<16>()?;
    let (offset, rest) = rest.split_first_chunk::<4>()?;
    let (length, _) = rest.split_first_chunk::<4>()?;
    Some((
        u128::from_be_bytes(*id),
        u32::from_le_bytes(*offset),
        u32::from_le_bytes(*length),
    ))
}
