//! ACI around a simulated trust domain: keyset and nonce are under the quote, and the keyset ends.

use hanzo_attestation::foreign::{ForeignEvidence, ForeignFormat, Supplied};
use hanzo_attestation::{Anchors, Digest256};
use hanzo_policy::PrivacyTier;
use hanzo_simulated_tee::{CollateralSpec, QuoteFormat, SimulatedTdx, TdSpec};
use hanzo_verifier::foreign::verify_foreign;
use serde_json::json;

use crate::*;

const DRAWN: [u8; 32] = [0x5a; 32];
const NOW: UnixTime = SEPTEMBER_2025;

/// The code, for a report made for `made_for`, whose keyset ends at `not_after`, shown to a caller who drew `DRAWN`.
fn judge(
    made_for: Option<[u8; 32]>,
    asked: Option<[u8; 32]>,
    not_after: u64,
    key: &str,
    shown_key: &str,
) -> &'static str {
    let platform = SimulatedTdx::for_tests();
    let keyset = |key: &str| json!({"not_after": not_after, "tls_public_keys": [{"spki_sha256": key}]});
    let digest = |key: &str| Digest256::of(keyset(key).to_string().as_bytes());
    let statement = |key: &str| {
        let nonce = made_for.map_or("null".to_owned(), |n| format!("\"{}\"", Digest256(n)));
        format!(
            r#"{{"keyset_digest":"sha256:{}","nonce":{nonce},"purpose":"aci.report_data.v1"}}"#,
            digest(key)
        )
    };
    let mut signed = [0; 64];
    signed[..32].copy_from_slice(&Digest256::of(statement(key).as_bytes()).0);
    let quote = platform.quote(&TdSpec::new(QuoteFormat::V4), &signed);
    let report = json!({
        "api_version": "aci/1", "workload_keyset_digest": format!("sha256:{}", digest(shown_key)),
        "attestation": {
            "tee_type": "tdx", "workload_keyset": keyset(shown_key),
            "report_data": Digest256::of(statement(shown_key).as_bytes()).to_string(),
            "evidence": {"quote": hex::encode(&quote)},
        },
    });
    let supplied = Supplied {
        tdx: Some(platform.collateral(&CollateralSpec::new(NOW))),
        nonce: asked,
        ..Supplied::default()
    };
    let mut context = context(PrivacyTier::Open);
    context.anchors = Anchors::vendor().with_simulator_tdx_root(platform.root_der().to_vec());
    let expected = ForeignExpectation {
        nonce: asked.map(Vec::from),
        report_data: None,
    };
    code(
        ForeignEvidence::read(ForeignFormat::Aci, report.to_string().as_bytes(), &supplied)
            .map_err(VerifyError::from)
            .and_then(|evidence| verify_foreign(&evidence, &expected, &context, NOW)),
    )
}

#[test]
fn an_aci_report_answers_the_caller_shows_the_signed_keys_and_ends() {
    let end = NOW.0;
    assert_eq!(judge(Some(DRAWN), Some(DRAWN), end, "aa", "aa"), "read");
    assert_eq!(judge(Some(DRAWN), Some(DRAWN), end - 1, "aa", "aa"), "keyset.expired");
    assert_eq!(
        judge(Some([1; 32]), Some(DRAWN), end, "aa", "aa"),
        "foreign.recomputed",
        "a recording"
    );
    assert_eq!(
        judge(Some(DRAWN), Some(DRAWN), end, "aa", "bb"),
        "binding.foreign.rule",
        "another key shown"
    );
    assert_eq!(judge(None, None, end, "aa", "aa"), "read", "unchallenged: a reading");
}
