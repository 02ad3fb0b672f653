//! GPUs and switches, through the public API: real reports, reports of the simulator with one thing wrong, and noise.

mod real;
mod topology;
mod vectors;

use hanzo_attestation::bundle::{DeviceCollateral, DeviceEvidence};
use hanzo_attestation::evidence::{AuthenticDevices, authenticate_devices};
use hanzo_attestation::nvidia::NvidiaClaims;
use hanzo_attestation::{Anchors, AttestationError, Authentic, Collateral, DeviceClaims, ParsedDevice, UnixTime};

/// Parses and authenticates one device.
fn judge(
    evidence: &DeviceEvidence,
    anchors: &Anchors,
    now: UnixTime,
) -> Result<Authentic<DeviceClaims>, AttestationError> {
    ParsedDevice::parse(evidence)?.authenticate(anchors, &Collateral::default(), now)
}

/// The code by which evidence is refused, or `accepted`.
fn verdict(evidence: &DeviceEvidence, anchors: &Anchors, now: UnixTime) -> &'static str {
    judge(evidence, anchors, now).map_or_else(|e| e.code(), |_| "accepted")
}

/// A whole list.
fn judge_list(list: &[DeviceEvidence], anchors: &Anchors, now: UnixTime) -> Result<AuthenticDevices, AttestationError> {
    authenticate_devices(list, &DeviceCollateral::default(), anchors, &Collateral::default(), now)
}

fn claims(device: &Authentic<DeviceClaims>) -> &NvidiaClaims {
    let DeviceClaims::Nvidia(claims) = device.claims();
    claims
}
