//! What would be released to evidence in a file. Nothing is written, and nothing is released.

use hanzo_attestation::evidence::Class;
use hanzo_attestation::foreign::{ForeignEvidence, ForeignExpectation, ForeignFormat, Supplied, detect};
use hanzo_attestation::{Anchors, Collateral, UnixTime};
use hanzo_kbs_protocol::{AttestBody, TeeKey};
use hanzo_vault::{Evidence, Rehearsal, Rehearsed, Wrap, rehearse};
use hanzo_verifier::foreign::verify_foreign;
use hanzo_verifier::{VerifierContext, VerifyError, read_bundle, verify_rcar};

/// Asks every rule about a bundle, an RCAR `attest` body, or evidence in another project's format.
///
/// A body names the guest's key, and with it the way of wrapping; for other evidence `wrap` is asked about. Whether the
/// evidence answers a challenge of this broker is no part of it: that is for a session.
///
/// # Establishes
/// What the broker would answer to the same evidence in a session of its own at `now`, with this policy, these counts, roots
/// and collateral.
pub fn rehearse_evidence(
    bytes: &[u8],
    key: &Rehearsed<'_>,
    wrap: Wrap,
    anchors: Anchors,
    collateral: Collateral,
    now: UnixTime,
) -> Rehearsal {
    let context = VerifierContext {
        anchors,
        collateral,
        policy: key.policy.appraisal.clone(),
    };
    let ask = |wrap, evidence: &Evidence<'_>| rehearse(key, wrap, evidence, now);
    if is_attest_body(bytes) {
        let body = match AttestBody::parse(bytes) {
            Ok(body) => body,
            Err(e) => return malformed(ask(wrap, &Evidence::None), e.code(), &e),
        };
        let wrap = match &body.wrap_key {
            TeeKey::Hpke(_) => Wrap::Hpke,
            TeeKey::Jwe { .. } => match body.tee_pubkey.get("kty").and_then(|kty| kty.as_str()) {
                Some("AKP") => Wrap::Akp,
                _ => Wrap::Classical,
            },
        };
        let Some(evidence) = body.evidence.signed().cloned() else {
            let mut rehearsal = ask(wrap, &Evidence::None);
            rehearsal.deny(
                Class::NotAuthentic,
                "kbs.sample",
                "evidence: a sample, which no hardware signed",
            );
            return rehearsal;
        };
        let result = verify_rcar(evidence, &body.runtime(), &context, now);
        let beside = match &result {
            Ok(result) => body.check_claims(result.bound().claims()).err(),
            Err(_) => None,
        };
        let mut rehearsal = ask(wrap, &Evidence::Session(&result));
        if let Some(e) = beside {
            rehearsal.deny(Class::Unbound, e.code(), &e.to_string());
        }
        return rehearsal;
    }
    match detect(bytes) {
        Some(format) if format != ForeignFormat::Bundle => {
            let reading = ForeignEvidence::read(format, bytes, &Supplied::default())
                .map_err(VerifyError::from)
                .and_then(|e| verify_foreign(&e, &ForeignExpectation::default(), &context, now));
            ask(wrap, &Evidence::Foreign(&reading))
        }
        _ => ask(wrap, &Evidence::Bundle(&read_bundle(bytes, &context, now))),
    }
}

fn is_attest_body(bytes: &[u8]) -> bool {
    serde_json::from_slice::<serde_json::Value>(bytes)
        .is_ok_and(|v| v.get("tee-evidence").is_some() && v.get("runtime-data").is_some())
}

fn malformed(mut rehearsal: Rehearsal, code: &str, why: &dyn std::fmt::Display) -> Rehearsal {
    rehearsal.deny(Class::Malformed, code, &why.to_string());
    rehearsal
}
