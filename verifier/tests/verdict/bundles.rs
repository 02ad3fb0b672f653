//! Malformed (10), not authentic (20), stale or unbound (30).

use hanzo_attestation::bundle::{Base64, DeviceEvidence};
use hanzo_attestation::freshness::{window_nonce, window_path};
use hanzo_attestation::snp::REPORT_BYTES;
use hanzo_attestation::{Nonce, UnixTime};
use hanzo_verifier::verify_bundle;

use crate::fixture::*;

#[test]
fn what_is_not_a_bundle_is_malformed() {
    let good = String::from_utf8(healthy_bundle().canonical().unwrap()).unwrap();
    let check = |bytes: &[u8]| refusal(verify_bundle(bytes, &CHALLENGE, &context(), NOW));
    assert_eq!(check(b""), ("bundle.malformed", 10));
    assert_eq!(check(&good.as_bytes()[..good.len() - 1]), ("bundle.malformed", 10));
    assert_eq!(check(format!("{good} ").as_bytes()), ("bundle.not_canonical", 10));
    assert_eq!(check(format!("{good}x").as_bytes()), ("bundle.malformed", 10));
    let twice = good.replacen("\"version\":1}", "\"version\":1,\"version\":1}", 1);
    let check_changed = |changed: &str| {
        assert_ne!(changed, good);
        check(changed.as_bytes())
    };
    assert_eq!(check_changed(&twice), ("bundle.malformed", 10));
    let unknown = good.replacen("\"capabilities\"", "\"admin\":1,\"capabilities\"", 1);
    assert_eq!(check_changed(&unknown), ("bundle.malformed", 10));
    let no_list = good.replacen("\"devices\":[],", "", 1);
    assert_eq!(check_changed(&no_list), ("bundle.malformed", 10), "absent is not empty");
    let large = vec![b' '; (2 << 20) + 1];
    assert_eq!(check(&large), ("bundle.too_large", 10));
}

#[test]
fn reports_of_another_length_or_version_are_malformed() {
    let mut short = healthy_bundle();
    report_of(&mut short).truncate(REPORT_BYTES - 1);
    assert_eq!(refusal(verify(&short, &context())), ("snp.report.length", 10));
    let mut long = healthy_bundle();
    report_of(&mut long).push(0);
    assert_eq!(refusal(verify(&long, &context())), ("snp.report.length", 10));
    for version in [0, 1, 6, 255] {
        let newer = answer_edited(&launch(healthy()), keyset(), |r| r[0] = version);
        assert_eq!(refusal(verify(&newer, &context())), ("snp.report.version", 10));
    }
}

#[test]
fn a_changed_report_another_root_and_a_revoked_key_are_not_authentic() {
    for at in [0x04, 0x50, 0x90, 0x2a0] {
        let mut bundle = healthy_bundle();
        report_of(&mut bundle)[at] ^= 1;
        assert_eq!(
            refusal(verify(&bundle, &context())),
            ("snp.signature.invalid", 20),
            "{at:#x}"
        );
    }
    let mut masked = healthy_bundle();
    masked = answer_edited(&launch(healthy()), masked.keyset, |r| r[0x1a0..0x1e0].fill(0));
    assert_eq!(refusal(verify(&masked, &context())), ("snp.chip_id.mismatch", 20));

    let mut spec = healthy();
    spec.vek_serial = 7;
    let guest = processor().launch(spec).with_crl(processor().crl_naming(NOW, &[&[7]]));
    assert_eq!(refusal(verify(&answer(&guest), &context())), ("snp.crl.revoked", 20));
    let stale = processor()
        .launch(healthy())
        .with_crl(processor().crl_der(UnixTime(NOW.0 - 90 * 86_400)));
    assert_eq!(refusal(verify(&answer(&stale), &context())), ("snp.crl.stale", 20));
}

#[test]
fn another_s_challenge_an_old_one_and_none_are_refused_as_unbound() {
    let bundle = healthy_bundle();
    let bytes = bundle.canonical().unwrap();
    let other = Nonce([0x5b; 32]);
    assert_eq!(
        refusal(verify_bundle(&bytes, &other, &context(), NOW)),
        ("freshness.foreign_challenge", 30)
    );
    let mut unchallenged = healthy_bundle();
    unchallenged.freshness = None;
    assert_eq!(refusal(verify(&unchallenged, &context())), ("freshness.none", 30));

    // A replayed answer whose path was exchanged for one that holds our challenge.
    let mut forged = answer(&launch(healthy()));
    let window = [Nonce([1; 32]), CHALLENGE];
    forged.freshness = window_path(&window, 1);
    assert_eq!(refusal(verify(&forged, &context())), ("freshness.path", 30));
    forged.nonce = window_nonce(&window);
    assert_eq!(
        refusal(verify(&forged, &context())),
        ("binding.report_data", 30),
        "the nonce is signed"
    );
}

#[test]
fn every_preimage_and_the_keyset_are_held_to_what_was_signed() {
    let mut config = healthy_bundle();
    config.config.push('#');
    assert_eq!(refusal(verify(&config, &context())), ("bundle.config_digest", 30));
    let mut capabilities = healthy_bundle();
    capabilities.capabilities.push(name("tools"));
    assert_eq!(
        refusal(verify(&capabilities, &context())),
        ("bundle.capability_digest", 30)
    );
    let mut policy = healthy_bundle();
    policy.policy.push('x');
    assert_eq!(refusal(verify(&policy, &context())), ("bundle.policy_digest", 30));
    let mut other_boot = healthy_bundle();
    other_boot.keyset.tls_spki_sha256.0[0] ^= 1;
    assert_eq!(refusal(verify(&other_boot, &context())), ("binding.report_data", 30));
    let mut dead = keyset();
    dead.issued_at = NOW.0 - 7200;
    dead.not_after = NOW.0 - 1;
    let dead = answer_edited(&launch(healthy()), dead, |_| {});
    assert_eq!(refusal(verify(&dead, &context())), ("keyset.expired", 30));
    let mut long = keyset();
    long.not_after = long.issued_at + 86_401;
    let long = answer_edited(&launch(healthy()), long, |_| {});
    assert_eq!(refusal(verify(&long, &context())), ("keyset.lifetime", 30));
}

#[test]
fn a_device_of_an_unknown_make_is_refused() {
    let mut bundle = healthy_bundle();
    bundle.devices.push(DeviceEvidence {
        arch: "hopper".into(),
        certificates: Base64(vec![]),
        kind: "acme".into(),
        report: Base64(vec![]),
    });
    assert_eq!(refusal(verify(&bundle, &context())), ("device.kind", 10));
    bundle.devices = vec![bundle.devices[0].clone(); 33];
    assert_eq!(refusal(verify(&bundle, &context())), ("device.too_many", 10));
}

#[test]
fn authenticity_is_judged_before_freshness_and_policy() {
    let mut spec = healthy();
    spec.debug = true;
    let mut bundle = answer(&launch(spec));
    bundle.freshness = None;
    report_of(&mut bundle)[0x2a0] ^= 1;
    assert_eq!(refusal(verify(&bundle, &context())), ("snp.signature.invalid", 20));
}
