//! TDREPORTs straight from the TDX module, for kernels without configfs-tsm and for reading registers.
//!
//! # Layout
//! `TDX_CMD_GET_REPORT0` takes 64 bytes REPORTDATA followed by room for a TDREPORT of 1024 bytes: REPORTMACSTRUCT (256;
//! type byte 0x81 at 0, REPORTDATA at 128), TEE_TCB_INFO (239, padded to 256), TDINFO (512; MRTD at 16, RTMR0 to RTMR3
//! from 208, 48 bytes each).

use std::fs::{File, OpenOptions};
use std::io;

use crate::error::AttestError;
use crate::kernel::Machine;

/// `_IOWR('T', 1, struct tdx_report_req)`.
pub const TDX_CMD_GET_REPORT0: u32 = 0xc440_5401;
const REPORT_DATA_BYTES: usize = 64;
const TD_REPORT_BYTES: usize = 1024;
const REPORT_DATA_AT: usize = 128;
const TD_INFO_AT: usize = 512;
/// REPORTTYPE.TYPE of a TD.
const TYPE_TDX: u8 = 0x81;

/// The buffer of the system call: REPORTDATA, then the report.
pub type TdReportRequest = [u8; REPORT_DATA_BYTES + TD_REPORT_BYTES];

/// A report that only this very processor can check. **It is no quote**: its MAC key never leaves the processor, so it
/// proves nothing to anybody else until the host's quoting enclave signs it. No conversion to evidence exists.
#[derive(Clone, PartialEq, Eq)]
pub struct TdReport([u8; TD_REPORT_BYTES]);

impl std::fmt::Debug for TdReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TdReport(1024 bytes, no quote)")
    }
}

impl TdReport {
    /// The bytes.
    pub fn as_bytes(&self) -> &[u8; TD_REPORT_BYTES] {
        &self.0
    }

    /// MRTD.
    pub fn mr_td(&self) -> [u8; 48] {
        self.register(TD_INFO_AT + 16)
    }

    /// RTMR0 to RTMR3.
    pub fn rtmrs(&self) -> [[u8; 48]; 4] {
        [208, 256, 304, 352].map(|at| self.register(TD_INFO_AT + at))
    }

    fn register(&self, at: usize) -> [u8; 48] {
        let mut out = [0; 48];
        for (to, from) in out.iter_mut().zip(self.0.iter().skip(at)) {
            *to = *from;
        }
        out
    }
}

impl Machine {
    /// A TDREPORT over `report_data`. `get_report0` makes the system call [`TDX_CMD_GET_REPORT0`] on the open device with
    /// the buffer; it is an argument because no safe wrapper of it exists and this crate has no unsafe code.
    ///
    /// # Errors
    /// [`AttestError`]; [`AttestError::ReportData`] if the report carries other bytes.
    pub fn td_report(
        &self,
        report_data: &[u8; 64],
        get_report0: impl FnOnce(&File, &mut TdReportRequest) -> io::Result<()>,
    ) -> Result<TdReport, AttestError> {
        let path = self.roots.dev.join("tdx_guest");
        let needs = "this is no TDX guest, or its kernel lacks CONFIG_TDX_GUEST_DRIVER";
        let device = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .map_err(AttestError::file(&path, needs))?;
        let mut request = [0; REPORT_DATA_BYTES + TD_REPORT_BYTES];
        for (to, from) in request.iter_mut().zip(report_data) {
            *to = *from;
        }
        get_report0(&device, &mut request).map_err(AttestError::file(&path, needs))?;
        let Some((_, report)) = request.split_last_chunk::<TD_REPORT_BYTES>() else {
            return Err(AttestError::ReportData);
        };
        if report.first() != Some(&TYPE_TDX) {
            return Err(AttestError::Malformed {
                field: "REPORTTYPE",
                expected: "0x81 (TDX)",
                got: format!("{:#04x}", report.first().copied().unwrap_or(0)),
            });
        }
        if report.get(REPORT_DATA_AT..REPORT_DATA_AT + REPORT_DATA_BYTES) != Some(&report_data[..]) {
            return Err(AttestError::ReportData);
        }
        Ok(TdReport(*report))
    }
}
