//! Runtime measurement registers, as files since Linux 6.16.
//!
//! # Layout
//! `/sys/devices/virtual/misc/tdx_guest/measurements/rtmr<n>:sha384`: 48 bytes; writing 48 bytes extends.

use std::path::PathBuf;

use hanzo_attestation::Digest384;

use crate::error::AttestError;
use crate::kernel::Machine;

const NEEDS: &str =
    "this is no TDX guest, or its kernel is older than Linux 6.16; registers can still be read from a TDREPORT";

impl Machine {
    fn rtmr_path(&self, index: u8) -> PathBuf {
        let folder = self.roots.sys.join("devices/virtual/misc/tdx_guest/measurements");
        folder.join(format!("rtmr{index}:sha384"))
    }

    /// RTMR0 to RTMR3.
    ///
    /// # Errors
    /// [`AttestError`].
    pub fn rtmr(&self, index: u8) -> Result<[u8; 48], AttestError> {
        let bytes = self.read(&self.rtmr_path(index), "rtmr", 48, NEEDS)?;
        bytes.try_into().map_err(|got: Vec<u8>| AttestError::Malformed {
            field: "rtmr",
            expected: "48 bytes",
            got: format!("{} bytes", got.len()),
        })
    }

    /// Extends RTMR2 or RTMR3: SHA-384(before || `digest`). Returns the register's new value, read back.
    ///
    /// # Errors
    /// [`AttestError::RtmrIndex`] for the firmware's registers; [`AttestError::RtmrReadback`] if somebody else extended
    /// it at the same time: then the order of the two is unknown.
    pub fn extend_rtmr(&self, index: u8, digest: &Digest384) -> Result<[u8; 48], AttestError> {
        if !matches!(index, 2 | 3) {
            return Err(AttestError::RtmrIndex { index });
        }
        let before = self.rtmr(index)?;
        let path = self.rtmr_path(index);
        self.kernel
            .write(&path, &digest.0)
            .map_err(AttestError::file(&path, NEEDS))?;
        let after = self.rtmr(index)?;
        let mut input = before.to_vec();
        input.extend_from_slice(&digest.0);
        if after != Digest384::of(&input).0 {
            return Err(AttestError::RtmrReadback { index });
        }
        Ok(after)
    }
}
