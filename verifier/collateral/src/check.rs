//! What must hold before an item counts, by the functions that verify evidence.

use hanzo_attestation::bundle::TdxCollateral;
use hanzo_attestation::nvidia::NvidiaError;
use hanzo_attestation::tdx::TdxError;
use hanzo_attestation::{Anchors, AttestationError, UnixTime, jcs};

/// Longest document with one platform type's collateral.
pub(crate) const TDX_BYTES_MAX: usize = 2 << 20;

pub(crate) fn tdx(bytes: &[u8], fmspc: [u8; 6], _anchors: &Anchors, now: UnixTime) -> Result<UnixTime, AttestationError> {
    let unfit = || AttestationError::Tdx(TdxError::NotVerified);
    let collateral: TdxCollateral = jcs::from_slice("TDX collateral", bytes, TDX_BYTES_MAX).map_err(|_| unfit())?;
    let tcb: serde_json::Value = serde_json::from_str(&collateral.tcb_info).map_err(|_| unfit())?;
    let text = |name: &str| tcb.get(name).and_then(serde_json::Value::as_str);
    if !text("fmspc").is_some_and(|got| got.eq_ignore_ascii_case(&hex::encode(fmspc))) {
        return Err(unfit());
    }
    let end = text("nextUpdate").and_then(|t| der::DateTime::from_str_z(t)).ok_or_else(unfit)?;
    if end < now.0 { Err(unfit()) } else { Ok(UnixTime(end)) }
}

pub(crate) fn rim(_xml: &[u8], _id: &str, _anchors: &Anchors, _now: UnixTime) -> Result<UnixTime, AttestationError> {
    Err(AttestationError::Nvidia(NvidiaError::NotVerified))
}

pub(crate) fn ocsp(
    _der: &[u8],
    _certificate: &[u8],
    _issuer: &[u8],
    _anchors: &Anchors,
    _now: UnixTime,
) -> Result<UnixTime, AttestationError> {
    Err(AttestationError::Nvidia(NvidiaError::NotVerified))
}

trait FromStrZ {
    fn from_str_z(text: &str) -> Option<u64>;
}

impl FromStrZ for der::DateTime {
    fn from_str_z(text: &str) -> Option<u64> {
        text.parse::<der::DateTime>().ok().map(|d| d.unix_duration().as_secs())
    }
}
