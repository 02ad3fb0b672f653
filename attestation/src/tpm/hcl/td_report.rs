//! TDREPORT_STRUCT (Intel TDX Module ABI, "TDREPORT_STRUCT"): REPORTMACSTRUCT 256, TEE_TCB_INFO 239, 17 zeros, TDINFO 512.
//!
//! Its MAC can be checked by the machine that made it alone. It is read to be compared with the quote, field by field.

use aws_lc_rs::digest::{SHA384, digest};

use super::HclError;
use crate::tdx::TdReport;

const TD_REPORT_BYTES: usize = 1024;
const TEE_TCB_INFO: (usize, usize) = (256, 239);
const TDINFO: (usize, usize) = (512, 512);

/// A TDREPORT_STRUCT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::tpm) struct TdReportStruct(Vec<u8>);

impl TdReportStruct {
    /// Type, the two hashes inside and the zeros behind must be right.
    pub(in crate::tpm) fn parse(hardware_report: &[u8]) -> Result<Self, HclError> {
        let wrong = |field, detail| HclError::Report { field, detail };
        let split = hardware_report.split_at_checked(TD_REPORT_BYTES);
        let (report, padding) = split.ok_or(wrong("TDREPORT", "expected 1024 bytes"))?;
        if padding.iter().any(|b| *b != 0) {
            return Err(wrong("TDREPORT", "expected zeros behind its 1024 bytes"));
        }
        let report = Self(report.to_vec());
        if report.at(0, 2) != [0x81, 0] {
            return Err(wrong("TDREPORT.REPORTTYPE", "expected type 0x81 (TDX), subtype 0"));
        }
        for (field, hash, (offset, length)) in [
            ("TDREPORT.TEE_TCB_INFO_HASH", 32, TEE_TCB_INFO),
            ("TDREPORT.TEE_INFO_HASH", 80, TDINFO),
        ] {
            if report.at(hash, 48) != digest(&SHA384, report.at(offset, length)).as_ref() {
                return Err(wrong(field, "is not the hash of what it stands for"));
            }
        }
        Ok(report)
    }

    fn at(&self, offset: usize, length: usize) -> &[u8] {
        let end = offset.saturating_add(length);
        self.0.get(offset..end).unwrap_or_default()
    }

    /// Every field that the quote's body has too must be equal.
    pub(in crate::tpm) fn check_is_of(&self, quote: &TdReport) -> Result<(), HclError> {
        let (tcb, td) = (TEE_TCB_INFO.0, TDINFO.0);
        let fields: [(&'static str, usize, &[u8]); 11] = [
            ("REPORTDATA", 128, &quote.report_data),
            ("TEE_TCB_SVN", tcb.saturating_add(8), &quote.tee_tcb_svn),
            ("MRSEAM", tcb.saturating_add(24), &quote.mr_seam),
            ("MRSIGNERSEAM", tcb.saturating_add(72), &quote.mr_signer_seam),
            (
                "SEAMATTRIBUTES",
                tcb.saturating_add(120),
                &quote.seam_attributes.to_le_bytes(),
            ),
            ("ATTRIBUTES", td, &quote.td_attributes.to_le_bytes()),
            ("XFAM", td.saturating_add(8), &quote.xfam.to_le_bytes()),
            ("MRTD", td.saturating_add(16), &quote.mr_td),
            ("MRCONFIGID", td.saturating_add(64), &quote.mr_config_id),
            ("MROWNER", td.saturating_add(112), &quote.mr_owner),
            ("MROWNERCONFIG", td.saturating_add(160), &quote.mr_owner_config),
        ];
        let rtmrs = [("RTMR0", 208), ("RTMR1", 256), ("RTMR2", 304), ("RTMR3", 352)];
        let rtmrs = rtmrs.into_iter().zip(&quote.rtmr);
        let rtmrs = rtmrs.map(|((field, offset), value)| (field, td.saturating_add(offset), value.as_slice()));
        for (field, offset, expected) in fields.into_iter().chain(rtmrs) {
            if self.at(offset, expected.len()) != expected {
                return Err(HclError::TdReport { field });
            }
        }
        Ok(())
    }
}
