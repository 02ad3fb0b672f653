//! GPUs and switches: RIMs for what the authentic report says it runs, OCSP answers for the certificates.

use std::collections::BTreeSet;

use hanzo_attestation::bundle::{Base64, DeviceCollateral, DeviceEvidence};
use hanzo_attestation::evidence::{DeviceClaims, authenticate_devices};
use hanzo_attestation::nvidia::RimOutcome;
use hanzo_attestation::{Collateral, UnixTime};

use super::Report;
use crate::error::CollateralError;
use crate::fetcher::Fetcher;
use crate::key::Key;

pub(super) async fn staple(
    list: &[DeviceEvidence],
    collateral: &mut DeviceCollateral,
    fetcher: &Fetcher,
    now: UnixTime,
    report: &mut Report,
) -> Result<(), CollateralError> {
    let authentic = authenticate_devices(list, collateral, fetcher.anchors(), &Collateral::default(), now)?;
    let mut ids = BTreeSet::new();
    for device in authentic.devices() {
        let DeviceClaims::Nvidia(claims) = device.claims();
        if let RimOutcome::Missing { ids: missing } = &claims.rim {
            ids.extend(missing.iter().cloned());
        }
    }
    let rims = futures_util::future::join_all(ids.iter().map(|id| fetcher.rim(id, now))).await;
    for (id, outcome) in ids.iter().zip(rims) {
        let what = Key::Rim { id: id.clone() }.describe();
        if let Some(item) = report.note("collateral.rims", what, outcome) {
            collateral.rims.push(Base64(item.bytes));
        }
    }
    authenticate_devices(list, collateral, fetcher.anchors(), &Collateral::default(), now)?;
    Ok(())
}
