//! TDX evidence through configfs-tsm: the quote is `outblob`; the CCEL event log comes from ACPI.

use std::io;
use std::os::fd::AsRawFd as _;
use std::sync::Mutex;

use hanzo_attestation::Digest256;
use hanzo_attestation::bundle::{Base64, CpuEvidence, TdxEvidence};
use hanzo_attestation::statement::EvidenceRequest;
use tdx_attest_rs::{AttestError, Machine, Provider, Request, TDX_CMD_GET_REPORT0, TdReport};

use crate::attester::{Attester, TimeSource};
use crate::cmdline;
use crate::endorsements::Endorsements;
use crate::error::DeviceError;
use crate::files::read_bounded;

const HEADER_BYTES: usize = 48;
/// REPORTDATA in the body.
const REPORT_DATA_AT: usize = 520;
/// Version 5 puts body type and size before the body.
const DESCRIPTOR_BYTES: usize = 6;

/// The attester of a TDX guest.
pub struct TdxConfigfs {
    machine: Machine,
    endorsements: Endorsements,
    one_at_a_time: Mutex<()>,
}

impl TdxConfigfs {
    /// Asks this kernel; collateral among the `endorsements` travels with the quotes.
    pub fn new(machine: Machine, endorsements: Endorsements) -> Self {
        Self {
            machine,
            endorsements,
            one_at_a_time: Mutex::new(()),
        }
    }
}

impl Attester for TdxConfigfs {
    fn kind(&self) -> &'static str {
        "tdx"
    }

    fn evidence(&self, request: &EvidenceRequest) -> Result<CpuEvidence, DeviceError> {
        // The module has one quote buffer.
        let _turn = self
            .one_at_a_time
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let asked = request.report_data();
        let quote = self.machine.report(&Request::new(Provider::TdxGuest, asked))?.outblob;
        check_quote(&quote, asked)?;
        Ok(CpuEvidence::Tdx(TdxEvidence {
            collateral: self.endorsements.tdx.clone(),
            event_log: self.machine.ccel()?.map(Base64),
            quote: Base64(quote),
        }))
    }

    fn measured_config_digest(&self) -> Result<Digest256, DeviceError> {
        cmdline::config_digest_of(&self.machine.roots().proc.join("cmdline"))
    }

    /// The TDX module virtualises the TSC so that the host cannot bend it; the kernel must also use it.
    fn time_source(&self) -> TimeSource {
        let clocks = self.machine.roots().sys.join("devices/system/clocksource/clocksource0");
        match read_bounded(&clocks.join("current_clocksource"), "current_clocksource", 64) {
            Ok(name) if name.trim_ascii() == b"tsc" => TimeSource::SecureTsc,
            _ => TimeSource::Host,
        }
    }
}

/// The quote must answer the question; who signed it is the verifier's affair.
fn check_quote(quote: &[u8], asked: &[u8; 64]) -> Result<(), DeviceError> {
    let version = match quote {
        [low, high, ..] => u16::from_le_bytes([*low, *high]),
        _ => 0,
    };
    let at = match version {
        4 => HEADER_BYTES + REPORT_DATA_AT,
        5 => HEADER_BYTES + DESCRIPTOR_BYTES + REPORT_DATA_AT,
        other => {
            return Err(DeviceError::Malformed {
                field: "outblob",
                expected: "a TD quote of version 4 or 5",
                got: format!("version {other} in {} bytes", quote.len()),
            });
        }
    };
    match quote.get(at..at + 64) {
        None => Err(DeviceError::Malformed {
            field: "outblob",
            expected: "a whole TD quote",
            got: format!("{} bytes", quote.len()),
        }),
        Some(carried) if carried != asked => Err(DeviceError::ReportData),
        Some(_) => Ok(()),
    }
}

/// A TDREPORT by `TDX_CMD_GET_REPORT0`, which works without configfs-tsm and without the host. It is **no quote**.
///
/// # Errors
/// [`AttestError`].
pub fn td_report(machine: &Machine, report_data: &[u8; 64]) -> Result<TdReport, AttestError> {
    machine.td_report(report_data, |device, request| {
        #[allow(unsafe_code, reason = "no safe wrapper of this system call exists")]
        // SAFETY: the command reads 64 bytes from `request` and writes at most 1024 behind them; both ends lie in the
        // 1088 bytes that are borrowed mutably for the whole call. `device` is open for the whole call. Another kind of
        // file answers ENOTTY: the number encodes direction and size, and no other driver uses it.
        let outcome = unsafe {
            libc::ioctl(
                device.as_raw_fd(),
                libc::c_ulong::from(TDX_CMD_GET_REPORT0) as libc::Ioctl,
                request.as_mut_ptr(),
            )
        };
        if outcome == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    })
}
