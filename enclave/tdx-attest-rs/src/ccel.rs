//! The confidential computing event log that firmware left in memory.
//!
//! # Layout
//! Table `CCEL`: ACPI header (36 bytes: signature, length u32 LE at 4), CC type (1 byte at 36, 2 = TDX), subtype, 2
//! reserved, LAML (log area length, u64 LE at 40), LASA (its address, u64 LE). The area itself is
//! `/sys/firmware/acpi/tables/data/CCEL`.
//!
//! # Spec
//! ACPI 6.5 section 5.2.34.

use crate::error::AttestError;
use crate::kernel::Machine;

/// Longest log area accepted, in bytes.
pub const CCEL_LOG_BYTES_MAX: usize = 256 * 1024;
const TABLE_BYTES: usize = 56;
const NEEDS: &str = "firmware left no confidential computing event log";

impl Machine {
    /// The log area, padding included; `None` if firmware left none. Nothing vouches for it but its replay.
    ///
    /// # Errors
    /// [`AttestError`]; [`AttestError::Malformed`] for a table that is no CCEL or an area of another length than it says.
    pub fn ccel(&self) -> Result<Option<Vec<u8>>, AttestError> {
        let tables = self.roots.sys.join("firmware/acpi/tables");
        let table = match self.read(&tables.join("CCEL"), "CCEL", TABLE_BYTES, NEEDS) {
            Err(AttestError::Absent { .. }) => return Ok(None),
            other => other?,
        };
        let bad = |expected, got: String| AttestError::Malformed {
            field: "CCEL",
            expected,
            got,
        };
        if table.len() != TABLE_BYTES || !table.starts_with(b"CCEL") {
            return Err(bad("56 bytes that begin with CCEL", format!("{} bytes", table.len())));
        }
        let number = |at: usize, bytes: usize| {
            let field = table.iter().skip(at).take(bytes).rev();
            field.fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte))
        };
        let (length, area) = (number(4, 4), number(40, 8));
        if length != TABLE_BYTES as u64 {
            return Err(bad("a length field of 56", length.to_string()));
        }
        let area = usize::try_from(area)
            .ok()
            .filter(|a| (1..=CCEL_LOG_BYTES_MAX).contains(a));
        let Some(area) = area else {
            return Err(bad("a log area of 1 to 262144 bytes", number(40, 8).to_string()));
        };
        let log = self.read(&tables.join("data/CCEL"), "CCEL log", CCEL_LOG_BYTES_MAX, NEEDS)?;
        if log.len() != area {
            return Err(bad(
                "a log area of the length that the table states",
                format!("{} bytes for {area}", log.len()),
            ));
        }
        Ok(Some(log))
    }
}
