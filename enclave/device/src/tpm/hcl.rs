//! The paravisor's report, which Azure's vTPM keeps in an NV index.
//!
//! # Layout
//! Header of 32 bytes (signature `HCLA`), hardware report area of 1184 bytes, then: data size, version, report type (2 =
//! SNP, 4 = TDX), hash type, variable data length (u32 LE each, from 1216), variable data. The index is longer than that.

use super::TpmError;

/// Where the report is.
pub const HCL_INDEX: u32 = 0x0140_0001;
const REPORT_TYPE_AT: usize = 1216 + 8;
const VARIABLE_LENGTH_AT: usize = 1216 + 16;
const VARIABLE_AT: usize = 1216 + 20;

/// What the paravisor's hardware is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HclKind {
    /// AMD SEV-SNP.
    Snp,
    /// Intel TDX.
    Tdx,
}

/// The report without what lies behind it in the index, and its kind.
pub(super) fn trim(index: &[u8]) -> Result<(&[u8], HclKind), TpmError> {
    let bad = |field, expected| TpmError::Malformed {
        command: "HCL report",
        field,
        expected,
    };
    if !index.starts_with(b"HCLA") {
        return Err(bad("signature", "HCLA"));
    }
    let number = |at: usize| {
        let bytes = index.get(at..)?.first_chunk::<4>()?;
        Some(u32::from_le_bytes(*bytes))
    };
    let kind = match number(REPORT_TYPE_AT) {
        Some(2) => HclKind::Snp,
        Some(4) => HclKind::Tdx,
        _ => return Err(bad("report type", "2 (SNP) or 4 (TDX)")),
    };
    let length = number(VARIABLE_LENGTH_AT).and_then(|l| usize::try_from(l).ok());
    let report = length
        .and_then(|l| VARIABLE_AT.checked_add(l))
        .and_then(|end| index.get(..end));
    report
        .map(|report| (report, kind))
        .ok_or(bad("variable data", "data that lies in the index"))
}
