//! A key broker's sessions (RCAR), and the two bindings offered for one another.

use hanzo_attestation::binding::RcarRuntime;
use hanzo_attestation::bundle::{Base64, SnpEvidence};
use hanzo_attestation::{Anchors, RawEvidence, UnixTime};
use hanzo_policy::PrivacyTier;
use hanzo_verifier::{AttestationResult, VerifyError, verify_rcar};
use serde_json::{Value, json};
use std::io::Write as _;

use crate::fixture::*;

fn key(text: &str) -> Value {
    json!({"alg": "hanzo-hpke-x-wing", "kty": "AKP", "pub": text})
}

fn session<'a>(nonce: &'a str, tee_pubkey: &'a Value) -> RcarRuntime<'a> {
    RcarRuntime {
        additional_evidence: "",
        nonce,
        tee_pubkey,
    }
}

fn attest(sick: impl FnOnce(&mut hanzo_simulated_tee::LaunchSpec), made_for: &RcarRuntime<'_>) -> RawEvidence {
    let mut spec = healthy();
    sick(&mut spec);
    RawEvidence::Snp(launch(spec).evidence(&made_for.report_data().unwrap()))
}

fn check(evidence: RawEvidence, asked: &RcarRuntime<'_>) -> Result<AttestationResult, VerifyError> {
    verify_rcar(evidence, asked, &context(), NOW)
}

#[test]
fn a_session_s_own_nonce_and_key_reach_tier_2_and_any_other_is_unbound() {
    let (ours, theirs) = (key("b3Vycw"), key("dGhlaXJz"));
    let asked = session("nonce-1", &ours);
    let result = check(attest(|_| {}, &asked), &asked).unwrap();
    assert_eq!(result.tier(), PrivacyTier::CpuTee);
    assert!(result.simulated() && result.keyset().is_none() && result.keyset_digest().is_none());
    assert_eq!(result.view().freshness, "session");
    assert_eq!(result.valid_until(), UnixTime(NOW.0 + 3600));
    for made_for in [session("nonce-2", &ours), session("nonce-1", &theirs)] {
        let outcome = check(attest(|_| {}, &made_for), &asked);
        assert_eq!(refusal(outcome), ("binding.rcar_report_data", 30));
    }
    let mut with_devices = asked;
    with_devices.additional_evidence = "{}";
    let outcome = check(attest(|_| {}, &with_devices), &asked);
    assert_eq!(refusal(outcome), ("binding.rcar_report_data", 30));
}

#[test]
fn the_whole_64_bytes_are_compared() {
    let ours = key("b3Vycw");
    let asked = session("nonce-1", &ours);
    let mut report_data = asked.report_data().unwrap();
    report_data[63] = 1;
    let tail = RawEvidence::Snp(launch(healthy()).evidence(&report_data));
    assert_eq!(refusal(check(tail, &asked)), ("binding.rcar_report_data", 30));
}

#[test]
fn neither_binding_passes_for_the_other() {
    let ours = key("b3Vycw");
    let asked = session("nonce-1", &ours);
    let statement = RawEvidence::from(healthy_bundle().cpu);
    assert_eq!(refusal(check(statement, &asked)), ("binding.rcar_report_data", 30));
    let mut bundle = healthy_bundle();
    let RawEvidence::Snp(rcar) = attest(|_| {}, &asked) else {
        panic!("SNP evidence")
    };
    *evidence_of(&mut bundle) = rcar;
    assert_eq!(refusal(verify(&bundle, &context())), ("binding.report_data", 30));
}

#[test]
fn a_session_is_held_to_the_same_rules() {
    let ours = key("b3Vycw");
    let asked = session("nonce-1", &ours);
    let debug = check(attest(|s| s.debug = true, &asked), &asked);
    assert_eq!(refusal(debug), ("snp.debug", 40));
    let image = check(attest(|s| s.image_digest.0[0] ^= 1, &asked), &asked);
    assert_eq!(refusal(image), ("snp.measurement", 40));
    let config = check(attest(|s| s.config_digest.0[0] ^= 1, &asked), &asked);
    assert_eq!(
        refusal(config),
        ("snp.measurement", 40),
        "the measurement covers the configuration"
    );
}

#[test]
fn a_real_milan_report_is_authentic_without_any_simulator_and_belongs_to_no_session_of_ours() {
    let vectors = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/vectors/snp");
    let read = |name: &str| std::fs::read(format!("{vectors}/{name}")).ok().map(Base64);
    let (Some(report), Some(vek)) = (read("milan_v2_virtee.bin"), read("milan_v2_virtee.vcek.der")) else {
        let _ = writeln!(std::io::stderr(), "VECTORS MISSING {vectors}: not run");
        return;
    };
    let evidence = SnpEvidence {
        ask: None,
        crl: None,
        report,
        vek,
    };
    let ours = key("b3Vycw");
    let asked = session("nonce-1", &ours);
    let mut vendor = context();
    vendor.anchors = Anchors::vendor();
    let outcome = verify_rcar(RawEvidence::Snp(evidence.clone()), &asked, &vendor, NOW);
    assert_eq!(refusal(outcome), ("binding.rcar_report_data", 30));
    let mut changed = evidence;
    changed.report.0[0x90] ^= 1;
    let outcome = verify_rcar(RawEvidence::Snp(changed), &asked, &vendor, NOW);
    assert_eq!(refusal(outcome), ("snp.signature.invalid", 20));
}
