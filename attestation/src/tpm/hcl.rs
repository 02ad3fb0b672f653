//! Reports of Azure's paravisor, the Host Compatibility Layer (HCL): the CPU's report and the JSON whose hash it signs.
//!
//! # Layout
//! Little endian. Header, 32 bytes: signature `HCLA`, version u32 (1 or 2), report size u32, request type u32 (2), status u32
//! (0), 12 zeros. Hardware report, 1184 bytes: an SNP report, or a TDREPORT of 1024 bytes and zeros. Runtime data: size u32,
//! version u32 (1), report type u32 (2 SNP, 4 TDX), hash type u32 (1 SHA-256), variable data size u32, variable data (JSON).
//! Then zeros up to the size of the NV index that holds it.

mod error;
mod td_report;
mod var_data;

use crate::snp::REPORT_BYTES;

pub use error::HclError;
pub(super) use td_report::TdReportStruct;
pub(super) use var_data::VarData;
pub use var_data::VmConfiguration;

/// Longest report in bytes. Azure's NV index holds 2600.
const HCL_BYTES_MAX: usize = 16 * 1024;
const HEADER_BYTES: usize = 32;
const RUNTIME_HEADER_BYTES: usize = 20;

/// What the hardware report is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HclKind {
    /// An SNP ATTESTATION_REPORT.
    Snp,
    /// A TDREPORT, which only the machine that made it can check: the quote stands for it.
    Tdx,
}

/// A report whose layout was checked. Nothing is known about who made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HclReport {
    /// Of the hardware report.
    pub kind: HclKind,
    /// 1184 bytes.
    pub hardware_report: Vec<u8>,
    /// The JSON, verbatim: what the CPU signs the SHA-256 of.
    pub var_data: Vec<u8>,
}

impl HclReport {
    /// Reads a report.
    ///
    /// # Does not establish
    /// Anything about who made it.
    ///
    /// # Errors
    /// [`HclError`] with class malformed.
    pub fn parse(bytes: &[u8]) -> Result<Self, HclError> {
        let wrong = |field, detail| HclError::Report { field, detail };
        if bytes.len() > HCL_BYTES_MAX {
            return Err(wrong("length", "expected at most 16384 bytes"));
        }
        let short = wrong("length", "the report ends before its runtime data do");
        let Some((header, rest)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
            return Err(short);
        };
        let Some((hardware_report, rest)) = rest.split_at_checked(REPORT_BYTES) else {
            return Err(short);
        };
        let Some((runtime, rest)) = rest.split_first_chunk::<RUNTIME_HEADER_BYTES>() else {
            return Err(short);
        };
        let [signature, version, report_size, request, status, reserved @ ..] = words::<8>(header);
        let [data_size, data_version, kind, hash, var_size] = words::<5>(runtime);
        if signature != u32::from_le_bytes(*b"HCLA") {
            return Err(wrong("signature", "expected HCLA"));
        }
        if !matches!(version, 1 | 2) || request != 2 || status != 0 || reserved != [0; 3] {
            return Err(wrong(
                "header",
                "expected version 1 or 2, request type 2, status 0, reserved zero",
            ));
        }
        if data_version != 1 || hash != 1 {
            return Err(wrong("runtime data", "expected version 1 and hash type 1 (SHA-256)"));
        }
        let kind = match kind {
            2 => HclKind::Snp,
            4 => HclKind::Tdx,
            _ => return Err(wrong("report type", "expected 2 (SNP) or 4 (TDX)")),
        };
        let var_bytes = usize::try_from(var_size).unwrap_or(usize::MAX);
        let Some((var_data, padding)) = rest.split_at_checked(var_bytes) else {
            return Err(short);
        };
        let declared = |n: usize| u32::try_from(n.saturating_add(var_bytes)).ok();
        let fixed = HEADER_BYTES + REPORT_BYTES + RUNTIME_HEADER_BYTES;
        if declared(RUNTIME_HEADER_BYTES) != Some(data_size) || declared(fixed) != Some(report_size) {
            return Err(wrong("sizes", "the three declared sizes contradict each other"));
        }
        if padding.iter().any(|b| *b != 0) {
            return Err(wrong("padding", "expected zeros after the variable data"));
        }
        Ok(Self {
            kind,
            hardware_report: hardware_report.to_vec(),
            var_data: var_data.to_vec(),
        })
    }
}

/// `N` numbers of 4 bytes.
fn words<const N: usize>(bytes: &[u8]) -> [u32; N] {
    let mut out = [0; N];
    for (to, chunk) in out.iter_mut().zip(bytes.chunks_exact(4)) {
        *to = chunk.first_chunk().map_or(0, |b| u32::from_le_bytes(*b));
    }
    out
}
