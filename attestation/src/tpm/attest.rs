//! TPMS_ATTEST of a quote (TPM 2.0 Library, Part 2, sections 10.12.8 and 10.12.1).

use std::collections::BTreeSet;

use super::cursor::Cursor;
use super::error::TpmError;
use super::signature::{HashAlgorithm, TPM_ALG_SHA256, TPM_ALG_SHA384};

/// Longest TPMS_ATTEST in bytes: both names and the data at their longest make below 300.
const ATTEST_BYTES_MAX: usize = 512;
/// Longest qualifying data in bytes that is accepted: that of a SHA-512 digest.
const EXTRA_DATA_BYTES_MAX: usize = 64;
/// TPM2B_NAME: an algorithm and its digest.
const NAME_BYTES_MAX: usize = 66;

const TPM_GENERATED_VALUE: u32 = 0xff54_4347;
const TPM_ST_ATTEST_QUOTE: u16 = 0x8018;

/// A quote as it was marshalled. Nothing is known about who made it.
///
/// # Layout
/// Big endian: magic u32, type u16, qualifiedSigner TPM2B, extraData TPM2B, clock u64, resetCount u32, restartCount u32,
/// safe u8, firmwareVersion u64; then TPMS_QUOTE_INFO: pcrSelect (count u32, {hash u16, sizeofSelect u8, bitmap}), pcrDigest
/// TPM2B. One selection, of the SHA-256 bank, or a second behind it, of the SHA-384 bank; each with a bitmap of 3 bytes that
/// has a bit set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attest {
    /// extraData, whole.
    pub qualifying_data: Vec<u8>,
    /// resetCount, restartCount.
    pub resets: (u32, u32),
    /// clockInfo.safe.
    pub clock_safe: bool,
    /// firmwareVersion.
    pub firmware_version: u64,
    /// The selected registers of the SHA-256 bank.
    pub selected: BTreeSet<u8>,
    /// Those of the SHA-384 bank, if the quote selects any.
    pub selected_sha384: BTreeSet<u8>,
    /// pcrDigest.
    pub pcr_digest: Vec<u8>,
}

impl Attest {
    /// Reads a quote without authenticating it: for display, and for choosing which register values to send along.
    ///
    /// # Does not establish
    /// Anything about who made it.
    ///
    /// # Errors
    /// [`TpmError`].
    pub fn read_unauthenticated(message: &[u8]) -> Result<Self, TpmError> {
        let mut at = Cursor::new("TPMS_ATTEST", message);
        if message.len() > ATTEST_BYTES_MAX {
            return Err(at.wrong("length", "longer than any quote"));
        }
        match at.u32("magic")? {
            TPM_GENERATED_VALUE => {}
            got => return Err(TpmError::Magic { got }),
        }
        match at.u16("type")? {
            TPM_ST_ATTEST_QUOTE => {}
            got => return Err(TpmError::Type { got }),
        }
        at.sized("qualifiedSigner", NAME_BYTES_MAX)?;
        let qualifying_data = at.sized("extraData", EXTRA_DATA_BYTES_MAX)?.to_vec();
        at.u64("clockInfo.clock")?;
        let resets = (at.u32("clockInfo.resetCount")?, at.u32("clockInfo.restartCount")?);
        let clock_safe = match at.u8("clockInfo.safe")? {
            0 => false,
            1 => true,
            _ => return Err(at.wrong("clockInfo.safe", "expected 0 or 1")),
        };
        let firmware_version = at.u64("firmwareVersion")?;
        let (selected, selected_sha384) = selections(&mut at)?;
        let pcr_digest = at.sized("attested.quote.pcrDigest", 64)?.to_vec();
        at.finish()?;
        Ok(Self {
            qualifying_data,
            resets,
            clock_safe,
            firmware_version,
            selected,
            selected_sha384,
            pcr_digest,
        })
    }

    /// True if `values`, those of the selected registers, hash to pcrDigest: one bank after the other, ascending in each.
    pub(super) fn covers<'a>(&self, hash: HashAlgorithm, values: impl Iterator<Item = &'a [u8]>) -> bool {
        hash.digest(values) == self.pcr_digest
    }
}

/// Selected registers of the SHA-256 bank, and of the SHA-384 bank.
fn selections(at: &mut Cursor<'_>) -> Result<(BTreeSet<u8>, BTreeSet<u8>), TpmError> {
    let count = at.u32("attested.quote.pcrSelect.count")?;
    if !matches!(count, 1 | 2) {
        return Err(TpmError::Selection {
            detail: "expected one bank or two",
        });
    }
    let sha256 = selection(at, TPM_ALG_SHA256, "expected the SHA-256 bank (0x000b) first")?;
    let sha384 = match count {
        2 => selection(at, TPM_ALG_SHA384, "expected the SHA-384 bank (0x000c) second")?,
        _ => BTreeSet::new(),
    };
    Ok((sha256, sha384))
}

fn selection(at: &mut Cursor<'_>, bank: u16, detail: &'static str) -> Result<BTreeSet<u8>, TpmError> {
    let wrong = |detail| TpmError::Selection { detail };
    if at.u16("attested.quote.pcrSelect.hash")? != bank {
        return Err(wrong(detail));
    }
    if at.u8("attested.quote.pcrSelect.sizeofSelect")? != 3 {
        return Err(wrong("expected a bitmap of 3 bytes"));
    }
    let bitmap = at.take::<3>("attested.quote.pcrSelect.pcrSelect")?;
    let bits = u32::from_le_bytes([bitmap[0], bitmap[1], bitmap[2], 0]);
    let selected: BTreeSet<u8> = (0..24).filter(|i| bits >> i & 1 == 1).collect();
    if selected.is_empty() {
        return Err(wrong("expected at least one register of each bank"));
    }
    Ok(selected)
}
