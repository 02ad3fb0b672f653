//! Reports, RIMs and OCSP answers together, as a list of devices brings them. Each by itself: `tests/nvidia_rim`.

use hanzo_attestation::bundle::{Base64, DeviceCollateral};
use hanzo_attestation::evidence::authenticate_devices;
use hanzo_attestation::nvidia::{NvidiaClaims, OcspOutcome, RimOutcome};
use hanzo_attestation::{Anchors, AttestationError, Collateral, Revocation};
use hanzo_simulated_tee::{
    DeviceSpec, OcspSpec, OcspStatus, RimSpec, SimulatedDevice, SimulatedNvidia, SimulatedRimIssuer,
};

use crate::vectors::{CLOCK, Vectors};
use crate::{NOW, claims, judge, simulator};

/// Measurements of the driver's RIM; the VBIOS's has the others up to 20. Of a switch: all of the BIOS's.
const DRIVER: std::ops::RangeInclusive<u8> = 21..=30;
const VBIOS: std::ops::RangeInclusive<u8> = 1..=20;

struct World {
    vendor: SimulatedNvidia,
    issuer: SimulatedRimIssuer,
    anchors: Anchors,
}

fn world() -> World {
    let (vendor, anchors) = simulator();
    let issuer = SimulatedRimIssuer::for_tests();
    let anchors = anchors.with_simulator_rim_root(issuer.root_der().to_vec());
    World {
        vendor,
        issuer,
        anchors,
    }
}

impl World {
    fn rims(&self, spec: &DeviceSpec) -> Vec<Base64> {
        let product = if spec.arch.is_gpu() {
            spec.certified_chip.as_str()
        } else {
            "LS10"
        };
        let vbios = RimSpec::of_measurements(product, &spec.vbios_text(), &spec.measurements, VBIOS);
        let driver = spec
            .driver_version
            .as_ref()
            .map(|version| RimSpec::of_measurements(product, version, &spec.measurements, DRIVER));
        driver
            .iter()
            .chain([&vbios])
            .map(|rim| Base64(self.issuer.sign(rim)))
            .collect()
    }

    fn good_answers(&self, device: &SimulatedDevice) -> Vec<Base64> {
        let answer = |position| Base64(self.vendor.ocsp(device, position, &OcspSpec::good(NOW.0)));
        (1..=3).map(answer).collect()
    }

    fn judge(
        &self,
        device: &SimulatedDevice,
        rims: Vec<Base64>,
        ocsp: Vec<Base64>,
    ) -> Result<(NvidiaClaims, Revocation), AttestationError> {
        let list = [device.evidence(&[7; 32])];
        let stapled = DeviceCollateral { ocsp, rims };
        let list = authenticate_devices(&list, &stapled, &self.anchors, &Collateral::default(), NOW)?;
        let device = &list.devices()[0];
        assert!(device.is_simulated());
        Ok((claims(device).clone(), device.revocation()))
    }
}

#[test]
fn a_device_with_its_rims_and_answers_is_matched_and_good() {
    let world = world();
    for spec in [DeviceSpec::hopper(1), DeviceSpec::blackwell(1), DeviceSpec::ls10(1)] {
        let device = world.vendor.device(spec.clone());
        let (claims, revocation) = world
            .judge(&device, world.rims(&spec), world.good_answers(&device))
            .unwrap();
        let RimOutcome::Matched { ids, .. } = &claims.rim else {
            panic!("{:?}", claims.rim)
        };
        assert_eq!(*ids, claims.rim_ids().to_vec());
        assert!(matches!(claims.ocsp, OcspOutcome::Good { .. }));
        assert!(matches!(revocation, Revocation::Checked { next_update } if next_update > NOW));
    }
}

#[test]
fn another_measurement_is_a_mismatch_and_a_missing_rim_is_named() {
    let world = world();
    let healthy = DeviceSpec::hopper(1);
    let rims = world.rims(&healthy);
    let mut changed = healthy.clone();
    changed.measurements.insert(25, vec![0; 48]);
    let (claims, _) = world
        .judge(&world.vendor.device(changed), rims.clone(), vec![])
        .unwrap();
    assert!(
        matches!(&claims.rim, RimOutcome::Mismatch { indexes, .. } if *indexes == [25]),
        "{:?}",
        claims.rim
    );
    let mut unnamed = healthy.clone();
    unnamed.measurements.insert(60, vec![0; 48]);
    let (claims, _) = world
        .judge(&world.vendor.device(unnamed), rims.clone(), vec![])
        .unwrap();
    assert!(matches!(claims.rim, RimOutcome::Matched { .. }));
    let device = world.vendor.device(healthy);
    let (claims, _) = world.judge(&device, vec![rims[0].clone()], vec![]).unwrap();
    assert_eq!(
        claims.rim,
        RimOutcome::Missing {
            ids: vec!["NV_GPU_VBIOS_1010_0200_882_96009F0001".into()]
        }
    );
}

#[test]
fn rims_of_another_chip_or_version_are_for_other_devices() {
    let world = world();
    let blackwell = DeviceSpec::blackwell(1);
    // Hopper's values under Blackwell's versions.
    let mut as_hopper = blackwell.clone();
    as_hopper.certified_chip = "GH100".into();
    let rims = world.rims(&as_hopper);
    let (claims, _) = world.judge(&world.vendor.device(blackwell), rims, vec![]).unwrap();
    assert!(
        matches!(&claims.rim, RimOutcome::Missing { ids } if ids.len() == 2),
        "{:?}",
        claims.rim
    );
}

#[test]
fn on_hold_is_reported_revoked_is_refused_and_a_gap_is_no_answer() {
    let world = world();
    let device = world.vendor.device(DeviceSpec::hopper(1));
    let good = world.good_answers(&device);
    let with = |position: usize, reason| {
        let mut answers = good.clone();
        let status = OcspStatus::Revoked {
            at: NOW.0 - 9000,
            reason,
        };
        let spec = OcspSpec::good(NOW.0).with_status(status);
        answers[position - 1] = Base64(world.vendor.ocsp(&device, position, &spec));
        world.judge(&device, vec![], answers).map(|(claims, _)| claims.ocsp)
    };
    assert_eq!(with(1, Some(6)), Ok(OcspOutcome::OnHold));
    for position in 1..=3 {
        assert_eq!(with(position, Some(1)).unwrap_err().code(), "nvidia.ocsp.revoked");
        assert_eq!(with(position, None).unwrap_err().code(), "nvidia.ocsp.revoked");
    }
    let (claims, revocation) = world.judge(&device, vec![], good[..2].to_vec()).unwrap();
    assert_eq!((claims.ocsp, revocation), (OcspOutcome::NoAnswer, Revocation::NoList));
    // Answers about another device say nothing of this one.
    let other = world.vendor.device(DeviceSpec::hopper(2));
    let (claims, _) = world.judge(&device, vec![], world.good_answers(&other)).unwrap();
    assert_eq!(claims.ocsp, OcspOutcome::NoAnswer);
}

/// The public report whose driver RIM is over: authentic, but not with that RIM.
#[test]
fn a_real_device_with_an_expired_rim_is_refused() {
    let Some(vectors) = Vectors::load() else { return };
    let evidence = vectors.evidence("hopper_570_124_expiredrim.report.bin");
    assert!(judge(&evidence, &Anchors::vendor(), CLOCK).is_ok());
    let collateral = Collateral {
        rims: vec![vectors.read("rim/NV_GPU_DRIVER_GH100_570.124.03_expired.xml")],
        ..Collateral::default()
    };
    let list = [evidence];
    let stapled = DeviceCollateral::default();
    let refused = authenticate_devices(&list, &stapled, &Anchors::vendor(), &collateral, CLOCK);
    assert_eq!(refused.unwrap_err().code(), "nvidia.rim.expired");
}

/// The public switch with the public RIM of its BIOS.
#[test]
fn the_real_switch_with_its_real_rim() {
    let Some(vectors) = Vectors::load() else { return };
    let collateral = Collateral {
        rims: vec![vectors.read("rim/switchVBIOSRim_NV_SWITCH_BIOS_5612_0002_890_9610550001.xml")],
        ..Collateral::default()
    };
    let list = [vectors.evidence("switch_ls10.report.bin")];
    let stapled = DeviceCollateral::default();
    let outcome = authenticate_devices(&list, &stapled, &Anchors::vendor(), &collateral, CLOCK);
    let list = outcome.unwrap();
    assert!(!list.devices()[0].is_simulated());
    let claims = claims(&list.devices()[0]);
    assert!(matches!(claims.rim, RimOutcome::Matched { .. }), "{:?}", claims.rim);
}
