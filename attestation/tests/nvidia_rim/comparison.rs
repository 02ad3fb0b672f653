//! Which RIMs a report is compared with, and how.

use hanzo_attestation::nvidia::rim::compare;
use hanzo_attestation::nvidia::{NvidiaArch, RimOutcome};
use hanzo_attestation::{Anchors, UnixTime};
use hanzo_simulated_tee::{OcspSpec, OcspStatus, RimSpec, SimulatedRimIssuer};

use crate::{NOW, anchors, driver_spec, gpu, measured, resource, vbios_spec};

type Outcome = Result<RimOutcome, &'static str>;

fn outcome(facts: &hanzo_attestation::nvidia::rim::ReportFacts<'_>, rims: &[Vec<u8>], anchors: &Anchors) -> Outcome {
    compare(facts, rims, &[], anchors, NOW)
        .map(|(outcome, _)| outcome)
        .map_err(|e| e.code())
}

/// Compares the healthy GPU with RIMs of these two specs.
fn against(driver: &RimSpec, vbios: &RimSpec) -> Outcome {
    let issuer = SimulatedRimIssuer::for_tests();
    let rims = [issuer.sign(driver), issuer.sign(vbios)];
    outcome(&gpu(&measured()), &rims, &anchors(&issuer))
}

fn mismatch(found: Outcome) -> Vec<u8> {
    match found {
        Ok(RimOutcome::Mismatch { indexes, .. }) => indexes,
        other => panic!("expected a mismatch, got {other:?}"),
    }
}

#[test]
fn a_gpu_matches_its_driver_and_vbios_rim_and_says_so_as_simulated() {
    let issuer = SimulatedRimIssuer::for_tests();
    let rims = [issuer.sign(&driver_spec()), issuer.sign(&vbios_spec())];
    let measured = measured();
    let (found, simulated) = compare(&gpu(&measured), &rims, &[], &anchors(&issuer), NOW).unwrap();
    assert!(simulated);
    let ids = ["NV_GPU_DRIVER_GH100_570.86.10", "NV_GPU_VBIOS_1010_0205_862_96005E0004"];
    let ids: Vec<String> = ids.map(str::to_owned).to_vec();
    assert_eq!(
        found,
        RimOutcome::Matched {
            ids,
            expires: UnixTime(2_524_607_999)
        }
    );
    // Their order does not matter.
    let turned = [rims[1].clone(), rims[0].clone()];
    assert!(matches!(
        outcome(&gpu(&measured), &turned, &anchors(&issuer)),
        Ok(RimOutcome::Matched { .. })
    ));
}

#[test]
fn a_missing_rim_is_missing_by_the_name_it_is_fetched_by() {
    let issuer = SimulatedRimIssuer::for_tests();
    let (driver, vbios) = (issuer.sign(&driver_spec()), issuer.sign(&vbios_spec()));
    let (driver_id, vbios_id) = ("NV_GPU_DRIVER_GH100_570.86.10", "NV_GPU_VBIOS_1010_0205_862_96005E0004");
    let other = |change: &dyn Fn(&mut RimSpec)| {
        let mut spec = driver_spec();
        change(&mut spec);
        issuer.sign(&spec)
    };
    for (rims, expected) in [
        (vec![], vec![driver_id, vbios_id]),
        (vec![driver.clone()], vec![vbios_id]),
        (vec![vbios.clone()], vec![driver_id]),
        // Another driver's, and another chip's of the same version.
        (
            vec![other(&|s| s.version = "570.86.1".into()), vbios.clone()],
            vec![driver_id],
        ),
        (
            vec![other(&|s| s.product = "GB100".into()), vbios.clone()],
            vec![driver_id],
        ),
        (vec![other(&|s| s.product = "gh100".into()), vbios], vec![driver_id]),
    ] {
        let ids = expected.into_iter().map(str::to_owned).collect();
        assert_eq!(
            outcome(&gpu(&measured()), &rims, &anchors(&issuer)),
            Ok(RimOutcome::Missing { ids })
        );
    }
}

#[test]
fn every_active_value_must_be_one_of_its_alternatives() {
    let (driver, vbios) = (driver_spec(), vbios_spec());
    assert!(matches!(against(&driver, &vbios), Ok(RimOutcome::Matched { .. })));

    let mut wrong = driver.clone();
    resource(&mut wrong, 7).alternatives = vec![[0; 48]];
    resource(&mut wrong, 40).alternatives = vec![[0; 48]];
    let mut wrong_too = vbios.clone();
    resource(&mut wrong_too, 0).alternatives = vec![[0; 48]];
    // Numbers are the report's.
    assert_eq!(mismatch(against(&wrong, &wrong_too)), [1, 8, 41]);

    // Inactive ones do not count, alternatives do, in any place.
    resource(&mut wrong, 7).active = false;
    resource(&mut wrong, 40).alternatives = vec![[0; 48], [41; 48]];
    assert!(matches!(against(&wrong, &vbios), Ok(RimOutcome::Matched { .. })));
}

#[test]
fn a_measurement_that_the_report_lacks_matches_nothing() {
    let issuer = SimulatedRimIssuer::for_tests();
    let rims = [issuer.sign(&driver_spec()), issuer.sign(&vbios_spec())];
    let mut measured = measured();
    measured.remove(&41);
    measured.insert(8, vec![8; 47]);
    measured.insert(9, vec![]);
    assert_eq!(mismatch(outcome(&gpu(&measured), &rims, &anchors(&issuer))), [8, 9, 41]);
    // Even all zeros are a value that must be there.
    let mut zeros = driver_spec();
    resource(&mut zeros, 40).alternatives = vec![[0; 48]];
    let rims = [issuer.sign(&zeros), issuer.sign(&vbios_spec())];
    assert!(mismatch(outcome(&gpu(&measured), &rims, &anchors(&issuer))).contains(&41));
}

#[test]
fn index_35_counts_unless_the_report_says_that_nvdec0_is_off() {
    let issuer = SimulatedRimIssuer::for_tests();
    let mut driver = driver_spec();
    resource(&mut driver, 35).alternatives = vec![[0; 48]];
    let rims = [issuer.sign(&driver), issuer.sign(&vbios_spec())];
    let measured = measured();
    for (nvdec0, counts) in [(Some(0x55), false), (Some(0xaa), true), (Some(0), true), (None, true)] {
        let mut facts = gpu(&measured);
        facts.nvdec0 = nvdec0;
        let found = outcome(&facts, &rims, &anchors(&issuer));
        assert_eq!(matches!(found, Ok(RimOutcome::Mismatch { .. })), counts, "{nvdec0:?}");
    }
    // A switch has no NVDEC0.
    let mut spec = RimSpec::of_measurements("LS10", "96.10.55.00.01", &measured, 1..=31);
    resource(&mut spec, 35).active = true;
    let mut facts = gpu(&measured);
    facts.arch = NvidiaArch::Ls10;
    facts.product = "LS10";
    (facts.driver_version, facts.driver_rim_id) = (None, None);
    facts.vbios_version = "96.10.55.00.01";
    assert_eq!(
        mismatch(outcome(&facts, &[issuer.sign(&spec)], &anchors(&issuer))),
        [36]
    );
}

#[test]
fn an_index_that_is_active_in_both_rims_is_an_error() {
    let mut vbios = vbios_spec();
    resource(&mut vbios, 7).active = true;
    resource(&mut vbios, 7).alternatives = vec![[8; 48]];
    assert_eq!(against(&driver_spec(), &vbios), Err("nvidia.rim.conflict"));
}

#[test]
fn a_broken_rim_for_this_report_is_an_error_unless_a_sound_one_came_too() {
    let issuer = SimulatedRimIssuer::for_tests();
    let anchors = anchors(&issuer);
    let (driver, vbios) = (issuer.sign(&driver_spec()), issuer.sign(&vbios_spec()));
    let broken = String::from_utf8(driver.clone())
        .unwrap()
        .replacen("08080808", "08080809", 1)
        .into_bytes();
    let stranger = SimulatedRimIssuer::from_seed(&[9; 32]).sign(&driver_spec());
    let measured = measured();
    let judge = |rims: &[&Vec<u8>]| {
        let rims: Vec<Vec<u8>> = rims.iter().map(|r| (*r).clone()).collect();
        outcome(&gpu(&measured), &rims, &anchors)
    };
    let noise = b"no XML".to_vec();
    assert_eq!(judge(&[&broken, &vbios]), Err("nvidia.rim.digest"));
    assert_eq!(judge(&[&stranger, &vbios]), Err("nvidia.rim.root"));
    assert_eq!(judge(&[&noise, &vbios]), Err("nvidia.xml.syntax"));
    for rims in [
        [&broken, &driver, &vbios],
        [&driver, &vbios, &broken],
        [&noise, &driver, &vbios],
    ] {
        assert!(matches!(judge(&rims), Ok(RimOutcome::Matched { .. })));
    }
    // A broken one of another version is nobody's business.
    let mut other = driver_spec();
    other.version = "1.2".into();
    let other = String::from_utf8(issuer.sign(&other))
        .unwrap()
        .replacen("08080808", "08080809", 1)
        .into_bytes();
    assert!(matches!(
        judge(&[&other, &driver, &vbios]),
        Ok(RimOutcome::Matched { .. })
    ));
    let ids = vec!["NV_GPU_DRIVER_GH100_570.86.10".to_owned()];
    assert_eq!(judge(&[&other, &vbios]), Ok(RimOutcome::Missing { ids }));
}

#[test]
fn of_several_rims_of_one_version_one_that_matches_is_enough_but_not_any_number_is_tried() {
    let issuer = SimulatedRimIssuer::for_tests();
    let anchors = anchors(&issuer);
    let vbios = issuer.sign(&vbios_spec());
    let variant = |value: u8| {
        let mut spec = driver_spec();
        resource(&mut spec, 7).alternatives = vec![[value; 48]];
        issuer.sign(&spec)
    };
    let measured = measured();
    let judge = |values: &[u8]| {
        let rims: Vec<Vec<u8>> = values.iter().map(|v| variant(*v)).chain([vbios.clone()]).collect();
        outcome(&gpu(&measured), &rims, &anchors)
    };
    assert!(matches!(judge(&[1, 8]), Ok(RimOutcome::Matched { .. })));
    assert_eq!(mismatch(judge(&[1, 2])), [8]);
    assert!(matches!(
        judge(&[1, 2, 3, 4, 5, 6, 7, 8]),
        Ok(RimOutcome::Matched { .. })
    ));
    assert_eq!(judge(&[1, 2, 3, 4, 5, 6, 7, 8, 9]), Err("nvidia.rim.too_many"));
    // The same file again is the same file.
    let driver = variant(8);
    let rims: Vec<Vec<u8>> = std::iter::repeat_n(driver, 20).chain([vbios.clone()]).collect();
    assert!(matches!(
        outcome(&gpu(&measured), &rims, &anchors),
        Ok(RimOutcome::Matched { .. })
    ));
}

#[test]
fn what_ocsp_says_of_a_rims_signer_counts() {
    let issuer = SimulatedRimIssuer::for_tests();
    let rims = [issuer.sign(&driver_spec()), issuer.sign(&vbios_spec())];
    let measured = measured();
    let good = OcspSpec::good(NOW.0);
    let status = |status| good.clone().with_status(status);
    let judge = |answers: &[Vec<u8>]| {
        compare(&gpu(&measured), &rims, answers, &anchors(&issuer), NOW)
            .map(|(outcome, _)| matches!(outcome, RimOutcome::Matched { .. }))
            .map_err(|e| e.code())
    };
    let about = |spec: &OcspSpec| issuer.ocsp(0, spec);
    let rest = [issuer.ocsp(1, &good), issuer.ocsp(2, &good)];
    assert_eq!(judge(&[about(&good)]), Ok(true));
    assert_eq!(judge(&[&[about(&good)], &rest[..]].concat()), Ok(true));
    let revoked = |reason| status(OcspStatus::Revoked { at: NOW.0 - 1, reason });
    assert_eq!(judge(&[about(&revoked(Some(1)))]), Err("nvidia.ocsp.revoked"));
    assert_eq!(
        judge(&[about(&status(OcspStatus::Unknown))]),
        Err("nvidia.ocsp.unknown")
    );
    assert_eq!(judge(&[about(&revoked(Some(6)))]), Err("nvidia.ocsp.incomplete"));
    assert_eq!(
        judge(&[&[about(&revoked(Some(6)))], &rest[..]].concat()),
        Err("nvidia.rim.on_hold")
    );
}
