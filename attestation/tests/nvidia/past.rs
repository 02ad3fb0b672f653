//! Mistakes that other verifiers of NVIDIA evidence made: each would have been seen here.

use hanzo_attestation::Anchors;
use hanzo_attestation::bundle::Base64;
use hanzo_attestation::nvidia::{Fwid, NvidiaArch};
use hanzo_simulated_tee::DeviceSpec;

use crate::vectors::{CLOCK, Vectors};
use crate::{NOW, claims, judge, judge_list, simulator, verdict};

/// Blackwell certificates end in a zero firmware id: comparing with the last 48 bytes of the extension refuses every
/// Blackwell GPU, and accepts one that states zeros.
#[test]
fn the_firmware_id_of_blackwell_is_not_the_last_48_bytes() {
    let (vendor, anchors) = simulator();
    let blackwell = DeviceSpec::blackwell(1);
    let good = judge(&vendor.device(blackwell.clone()).evidence(&[1; 32]), &anchors, NOW).unwrap();
    assert_eq!(claims(&good).fwid, Fwid::Matched);
    let zeros = DeviceSpec {
        stated_fwid: Some([0; 48]),
        ..blackwell
    };
    assert_eq!(
        verdict(&vendor.device(zeros).evidence(&[1; 32]), &anchors, NOW),
        "nvidia.fwid.mismatch"
    );
    let Some(vectors) = Vectors::load() else { return };
    let real = judge(
        &vectors.evidence("blackwell_575_32.report.bin"),
        &Anchors::vendor(),
        CLOCK,
    )
    .unwrap();
    assert_eq!(claims(&real).fwid, Fwid::Matched);
}

/// A verifier that sorts certificates, or takes whichever comes first as the leaf, verifies with a key of its choice.
#[test]
fn the_order_of_certificates_is_checked_and_not_repaired() {
    let Some(vectors) = Vectors::load() else { return };
    let mut evidence = vectors.evidence("hopper_550_90.report.bin");
    let text = String::from_utf8(evidence.certificates.0.clone()).unwrap();
    const END: &str = "-----END CERTIFICATE-----\n";
    let mut blocks: Vec<String> = text.split_inclusive(END).map(str::to_owned).collect();
    blocks.retain(|b| b.contains("BEGIN"));
    assert_eq!(blocks.len(), 5);
    let mut code = |order: [usize; 5]| {
        evidence.certificates = Base64(order.map(|i| blocks[i].as_str()).join("\n").into_bytes());
        verdict(&evidence, &Anchors::vendor(), CLOCK)
    };
    assert_eq!(code([0, 1, 2, 3, 4]), "accepted");
    for wrong in [
        [4, 3, 2, 1, 0],
        [0, 2, 1, 3, 4],
        [1, 0, 2, 3, 4],
        [0, 1, 3, 2, 4],
        [0, 1, 2, 4, 3],
    ] {
        assert_eq!(code(wrong), "nvidia.chain.order", "{wrong:?}");
    }
}

/// trustee's local verifier knew Hopper alone (PR #1551 added the rest and the check for distinct devices).
#[test]
fn all_three_families_are_verified_by_their_own_rules() {
    let Some(vectors) = Vectors::load() else { return };
    for (name, arch) in [
        ("hopper_580_159.report.bin", NvidiaArch::Hopper),
        ("blackwell_575_32.report.bin", NvidiaArch::Blackwell),
        ("switch_ls10.report.bin", NvidiaArch::Ls10),
    ] {
        let mut evidence = vectors.evidence(name);
        let device = judge(&evidence, &Anchors::vendor(), CLOCK).unwrap();
        assert_eq!(claims(&device).arch, arch);
        evidence.arch = if arch == NvidiaArch::Hopper {
            "blackwell"
        } else {
            "hopper"
        }
        .into();
        assert_eq!(verdict(&evidence, &Anchors::vendor(), CLOCK), "nvidia.arch.mismatch");
    }
}

/// NVIDIA's tools counted the entries of a list (nvtrust #38): one switch four times passed for four.
#[test]
fn a_device_counts_once_however_often_it_is_listed() {
    let Some(vectors) = Vectors::load() else { return };
    let list: Vec<_> = vectors
        .list("json/switch_multi4_nvat.json")
        .into_iter()
        .map(|(e, _)| e)
        .collect();
    assert_eq!(list.len(), 4);
    assert_eq!(
        judge_list(&list, &Anchors::vendor(), CLOCK).unwrap_err().code(),
        "device.duplicate"
    );
    assert!(judge_list(&list[..1], &Anchors::vendor(), CLOCK).is_ok());
}

/// The verifier's nonce is the one of the request; the response holds the device's own.
#[test]
fn the_nonce_is_the_one_of_the_request() {
    let Some(vectors) = Vectors::load() else { return };
    let evidence = vectors.evidence("hopper_580_159.report.bin");
    let device = judge(&evidence, &Anchors::vendor(), CLOCK).unwrap();
    let own = 45 + 64 * 55;
    assert_eq!(claims(&device).nonce, evidence.report.0[4..36]);
    assert_ne!(claims(&device).nonce, evidence.report.0[own..own + 32]);
    let mut replayed = evidence;
    replayed.report.0[4] ^= 1;
    assert_eq!(
        verdict(&replayed, &Anchors::vendor(), CLOCK),
        "nvidia.signature.invalid"
    );
}
