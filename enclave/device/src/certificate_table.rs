//! The certificate table that the host hands over with an extended guest request.
//!
//! # Layout
//! Entries of 24 bytes: GUID (16 bytes, in the order it is written), offset (u32, little endian, from the start of the
//! table), length (u32, little endian); the entry whose GUID and numbers are all zero ends the list. Certificates are
//! DER; unknown GUIDs are skipped. The host wrote all of it: nothing here is believed before a verifier checked it.
//!
//! # Spec
//! AMD 56421 (GHCB standardization) section 4.1.8.1.

use crate::error::DeviceError;

/// Longest table accepted, in bytes.
pub const TABLE_BYTES_MAX: usize = 64 * 1024;
/// Most entries accepted.
pub const ENTRIES_MAX: usize = 32;
/// Longest certificate accepted, in bytes.
pub const CERTIFICATE_BYTES_MAX: usize = 16 * 1024;

const ENTRY_BYTES: usize = 24;
const ASK: [u8; 16] = guid(0x4ab7b379_bbac_4fe4_a02f_05aef327c782);
const VCEK: [u8; 16] = guid(0x63da758d_e664_4564_adc5_f4b93be8accd);
const VLEK: [u8; 16] = guid(0xa8074bc2_a25a_483e_aae6_39c045a0b8a1);
const CRL: [u8; 16] = guid(0x92f81bc3_5811_4d3d_97ff_d19f88dc67ea);

const fn guid(written: u128) -> [u8; 16] {
    written.to_be_bytes()
}

/// The certificates this crate has a use for.
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
    /// [`DeviceError::Malformed`]: over 64 KiB, no end entry, an entry that points outside, a certificate that is empty
    /// or over 16 KiB, a certificate given twice.
    pub fn parse(table: &[u8]) -> Result<Self, DeviceError> {
        let bad = |expected, got: String| DeviceError::Malformed {
            field: "certificate table",
            expected,
            got,
        };
        if table.len() > TABLE_BYTES_MAX {
            return Err(bad("at most 65536 bytes", format!("{} bytes", table.len())));
        }
        let mut out = Self::default();
        for (index, entry) in table.chunks_exact(ENTRY_BYTES).enumerate() {
            if index == ENTRIES_MAX {
                break;
            }
            let Some((id, offset, length)) = split_entry(entry) else {
                break;
            };
            if id == [0; 16] {
                if offset == 0 && length == 0 {
                    return Ok(out);
                }
                return Err(bad(
                    "zeros in the end entry",
                    format!("offset {offset}, length {length}"),
                ));
            }
            let data = usize::try_from(offset)
                .ok()
                .zip(usize::try_from(length).ok())
                .and_then(|(start, len)| table.get(start..start.checked_add(len)?))
                .ok_or_else(|| {
                    bad(
                        "entries that lie inside the table",
                        format!("entry {index}: offset {offset}, length {length} of {}", table.len()),
                    )
                })?;
            let slot = match id {
                ASK => &mut out.ask,
                VCEK => &mut out.vcek,
                VLEK => &mut out.vlek,
                CRL => &mut out.crl,
                _ => continue,
            };
            if data.is_empty() || data.len() > CERTIFICATE_BYTES_MAX {
                return Err(bad(
                    "certificates of 1 to 16384 bytes",
                    format!("entry {index}: {} bytes", data.len()),
                ));
            }
            if slot.replace(data.to_vec()).is_some() {
                return Err(bad("each certificate once", format!("entry {index} repeats one")));
            }
        }
        Err(bad(
            "an end entry within 32 entries",
            format!("none in {} bytes", table.len()),
        ))
    }
}

fn split_entry(entry: &[u8]) -> Option<([u8; 16], u32, u32)> {
    let (id, rest) = entry.split_first_chunk::<16>()?;
    let (offset, rest) = rest.split_first_chunk::<4>()?;
    let (length, _) = rest.split_first_chunk::<4>()?;
    Some((*id, u32::from_le_bytes(*offset), u32::from_le_bytes(*length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(entries: &[([u8; 16], &[u8])]) -> Vec<u8> {
        let mut head = Vec::new();
        let mut data = Vec::new();
        let start = (entries.len() + 1) * ENTRY_BYTES;
        for (id, bytes) in entries {
            head.extend_from_slice(id);
            head.extend_from_slice(&((start + data.len()) as u32).to_le_bytes());
            head.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
            data.extend_from_slice(bytes);
        }
        head.extend_from_slice(&[0; ENTRY_BYTES]);
        head.extend_from_slice(&data);
        head
    }

    #[test]
    fn known_entries_are_found_and_unknown_ones_skipped() {
        let bytes = table(&[
            (ASK, b"ask"),
            ([7; 16], b"?"),
            (VCEK, b"vcek"),
            (VLEK, b"vlek"),
            (CRL, b"crl"),
        ]);
        let parsed = CertificateTable::parse(&bytes).unwrap();
        assert_eq!(parsed.ask.as_deref(), Some(&b"ask"[..]));
        assert_eq!(parsed.vcek.as_deref(), Some(&b"vcek"[..]));
        assert_eq!(parsed.vlek.as_deref(), Some(&b"vlek"[..]));
        assert_eq!(parsed.crl.as_deref(), Some(&b"crl"[..]));
        // The GUID stands in the table in the order it is written.
        assert_eq!(&bytes[..4], &[0x4a, 0xb7, 0xb3, 0x79]);
    }

    #[test]
    fn entries_that_lie_are_refused() {
        let good = table(&[(VCEK, b"vcek")]);
        CertificateTable::parse(&good).unwrap();
        let refused = |bytes: &[u8], why: &str| {
            let error = CertificateTable::parse(bytes).unwrap_err();
            assert_eq!(error.code(), "device.malformed", "{why}");
            assert!(error.to_string().contains(why), "{why}: {error}");
        };
        let mut far = good.clone();
        far[16..20].copy_from_slice(&u32::MAX.to_le_bytes());
        refused(&far, "inside the table");
        let mut long = good.clone();
        long[20..24].copy_from_slice(&u32::MAX.to_le_bytes());
        refused(&long, "inside the table");
        let mut one_more = good.clone();
        one_more[20] = 5;
        refused(&one_more, "inside the table");
        let mut empty = good.clone();
        empty[20] = 0;
        refused(&empty, "1 to 16384 bytes");
        let mut dirty_end = good.clone();
        dirty_end[ENTRY_BYTES + 16] = 1;
        refused(&dirty_end, "zeros in the end entry");
        refused(&good[..ENTRY_BYTES + 4], "inside the table");
        refused(&table(&[(VCEK, b"a"), (VCEK, b"b")]), "each certificate once");
        refused(&[7; 24], "inside the table");
        refused(b"", "an end entry");
        refused(&vec![0; TABLE_BYTES_MAX + 1], "at most 65536");
        let many: Vec<_> = (0..40).map(|i| ([i + 1; 16], &b"x"[..])).collect();
        refused(&table(&many), "an end entry within 32");
    }
}
