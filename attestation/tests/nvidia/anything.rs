//! No input makes the parser panic, and nothing but the device's own bytes is authentic.

use std::sync::LazyLock;

use hanzo_attestation::Anchors;
use hanzo_attestation::bundle::{Base64, DeviceEvidence};
use hanzo_simulated_tee::{DeviceSpec, SimulatedDevice};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::{NOW, judge, simulator, verdict};

static DEVICES: LazyLock<(Vec<SimulatedDevice>, Anchors)> = LazyLock::new(|| {
    let (vendor, anchors) = simulator();
    let specs = [DeviceSpec::hopper(1), DeviceSpec::blackwell(1), DeviceSpec::ls10(1)];
    let single = specs.map(|spec| vendor.device(spec));
    (single.into_iter().chain(vendor.machine(0, 2, 1)).collect(), anchors)
});

static GOOD: LazyLock<(Vec<DeviceEvidence>, Anchors)> = LazyLock::new(|| {
    let (devices, anchors) = &*DEVICES;
    (
        devices.iter().map(|device| device.evidence(&[7; 32])).collect(),
        anchors.clone(),
    )
});

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn noise_is_refused_without_a_panic(
        arch in "[a-z0-9]{0,9}",
        certificates in vec(any::<u8>(), 0..400),
        report in vec(any::<u8>(), 0..600),
    ) {
        let evidence = DeviceEvidence {
            arch,
            certificates: Base64(certificates),
            kind: "nvidia".into(),
            report: Base64(report),
        };
        prop_assert!(judge(&evidence, &GOOD.1, NOW).is_err());
    }

    #[test]
    fn good_evidence_with_a_byte_overwritten_or_cut_is_refused_without_a_panic(
        which in 0..5_usize,
        at in any::<prop::sample::Index>(),
        value in any::<u8>(),
        cut in prop::option::weighted(0.2, any::<prop::sample::Index>()),
    ) {
        let mut evidence = GOOD.0[which].clone();
        let report = &mut evidence.report.0;
        let at = at.index(report.len());
        prop_assume!(report[at] != value || cut.is_some());
        report[at] = value;
        if let Some(cut) = cut {
            report.truncate(cut.index(report.len()));
        }
        prop_assert!(judge(&evidence, &GOOD.1, NOW).is_err());
    }

    #[test]
    fn opaque_data_of_any_bytes_signed_by_the_device_is_read_without_a_panic(
        which in 0..3_usize,
        opaque in vec((0..40_u16, vec(any::<u8>(), 0..20)), 0..12),
        tail in vec(any::<u8>(), 0..4),
    ) {
        let device = &DEVICES.0[which];
        let blocks = device.spec().measurements.len();
        let evidence = device.evidence_edited(&[7; 32], |report| {
            let at = 45 + blocks * 55 + 32;
            report.truncate(at);
            let mut data = Vec::new();
            for (id, value) in opaque {
                data.extend(id.to_le_bytes());
                data.extend((value.len() as u16).to_le_bytes());
                data.extend(value);
            }
            data.extend(tail);
            report.extend((data.len() as u16).to_le_bytes());
            report.extend(data);
        });
        let _ = judge(&evidence, &GOOD.1, NOW);
    }

    #[test]
    fn a_certificate_with_a_byte_overwritten_is_refused_without_a_panic(
        level in 0..5_usize,
        at in any::<prop::sample::Index>(),
        value in any::<u8>(),
    ) {
        let device = &DEVICES.0[0];
        let mut ders = device.certificates().to_vec();
        let at = at.index(ders[level].len());
        prop_assume!(ders[level][at] != value);
        ders[level][at] = value;
        let mut evidence = GOOD.0[0].clone();
        evidence.certificates = Base64(crate::pem(&ders).into_bytes());
        prop_assert!(judge(&evidence, &GOOD.1, NOW).is_err());
    }
}

#[test]
fn the_unchanged_evidence_of_these_tests_is_accepted() {
    for evidence in &GOOD.0 {
        assert_eq!(verdict(evidence, &GOOD.1, NOW), "accepted");
    }
}
