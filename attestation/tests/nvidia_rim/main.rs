//! NVIDIA's reference measurements and OCSP answers, through the public API: real RIM files, a simulated issuer's with
//! one thing wrong, and noise.

mod anything;
mod comparison;
mod forged;
mod ocsp;
mod real;

use std::collections::BTreeMap;

use hanzo_attestation::nvidia::NvidiaArch;
use hanzo_attestation::nvidia::rim::{ReportFacts, check_rim};
use hanzo_attestation::{Anchors, UnixTime};
use hanzo_simulated_tee::{RimResource, RimSpec, SimulatedRimIssuer};

/// 2026-07-01T00:00:00Z.
const NOW: UnixTime = UnixTime(1_782_864_000);

fn anchors(issuer: &SimulatedRimIssuer) -> Anchors {
    Anchors::vendor().with_simulator_rim_root(issuer.root_der().to_vec())
}

/// Measurements as the report of a GPU has them: 1 to 64.
fn measured() -> BTreeMap<u8, Vec<u8>> {
    (1..=64).map(|number| (number, vec![number; 48])).collect()
}

/// Numbers of the measurements that are a GPU driver's and, besides, its VBIOS's: as on Hopper.
const DRIVER: [u8; 21] = [
    8, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41,
];
const VBIOS: [u8; 12] = [1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13];

fn driver_spec() -> RimSpec {
    RimSpec::of_measurements("GH100", "570.86.10", &measured(), DRIVER)
}

fn vbios_spec() -> RimSpec {
    RimSpec::of_measurements("GH100", "96.00.5E.00.04", &measured(), VBIOS)
}

fn gpu(measurements: &BTreeMap<u8, Vec<u8>>) -> ReportFacts<'_> {
    ReportFacts {
        arch: NvidiaArch::Hopper,
        product: "GH100",
        driver_version: Some("570.86.10"),
        vbios_version: "96.00.5e.00.04",
        driver_rim_id: Some("NV_GPU_DRIVER_GH100_570.86.10"),
        vbios_rim_id: "NV_GPU_VBIOS_1010_0205_862_96005E0004",
        measurements,
        nvdec0: Some(0x55),
    }
}

fn resource(spec: &mut RimSpec, index: u8) -> &mut RimResource {
    spec.resources.iter_mut().find(|r| r.index == index).unwrap()
}

/// `accepted` or the code of the refusal.
fn verdict(document: &[u8], anchors: &Anchors, now: UnixTime) -> &'static str {
    check_rim(document, anchors, now).map_or_else(|e| e.code(), |_| "accepted")
}
