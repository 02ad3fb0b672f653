//! GPUs and switches, through the public API: real reports, reports of the simulator with one thing wrong, and noise.

mod anything;
mod collateral;
mod mutants;
mod past;
mod real;
mod topology;
mod vectors;

use base64::Engine as _;
use hanzo_attestation::bundle::{DeviceCollateral, DeviceEvidence};
use hanzo_attestation::evidence::{AuthenticDevices, authenticate_devices};
use hanzo_attestation::nvidia::NvidiaClaims;
use hanzo_attestation::{Anchors, AttestationError, Authentic, Collateral, DeviceClaims, ParsedDevice, UnixTime};
use hanzo_simulated_tee::SimulatedNvidia;

/// 2025-09-01T00:00:00Z.
const NOW: UnixTime = UnixTime(1_756_684_800);

fn simulator() -> (SimulatedNvidia, Anchors) {
    let vendor = SimulatedNvidia::for_tests();
    let anchors = Anchors::vendor().with_simulator_nvidia_root(vendor.device_root_der().to_vec());
    (vendor, anchors)
}

/// Certificates as device evidence carries them.
fn pem(ders: &[Vec<u8>]) -> String {
    let block = |der: &Vec<u8>| {
        let text = base64::engine::general_purpose::STANDARD.encode(der);
        format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
    };
    ders.iter().map(block).collect()
}

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
