//! TDX: Intel's collateral for the platform.

use hanzo_attestation::bundle::{Base64, CpuEvidence, TdxEvidence};
use hanzo_attestation::{UnixTime, jcs};

use super::Report;
use crate::check;
use crate::error::CollateralError;
use crate::fetcher::{Fetcher, Item, Origin};
use crate::key::Key;
use crate::needs;

/// A quote alone.
pub(super) fn bare(quote: &[u8]) -> CpuEvidence {
    CpuEvidence::Tdx(TdxEvidence {
        collateral: None,
        event_log: None,
        quote: Base64(quote.to_vec()),
    })
}

pub(super) async fn staple(
    evidence: &mut TdxEvidence,
    fetcher: &Fetcher,
    now: UnixTime,
    report: &mut Report,
) -> Result<(), CollateralError> {
    let (fmspc, ca) = needs::tdx_platform(evidence, fetcher.anchors(), now)?;
    let what = Key::Tdx { fmspc, ca }.describe();
    if let Some(collateral) = &evidence.collateral
        && let Ok(end) = check::tdx(collateral, fmspc, ca, fetcher.anchors(), now)
    {
        let item = Item {
            bytes: jcs::to_vec("TDX collateral", collateral)?,
            origin: Origin::Kept,
            next_update: Some(end),
        };
        report.note("cpu.collateral", what, Ok(item));
        return Ok(());
    }
    let (collateral, outcome) = match fetcher.tdx(fmspc, ca, now).await {
        Ok((collateral, item)) => (Some(collateral), Ok(item)),
        Err(e) => (None, Err(e)),
    };
    report.note("cpu.collateral", what, outcome);
    if collateral.is_some() {
        evidence.collateral = collateral;
    }
    Ok(())
}
