//! `hanzo-verify verify REPORT --aci-receipt`: a gateway's receipt against the keyset under its evidence.

use hanzo_attestation::{Digest256, Nonce, UnixTime};
use hanzo_policy::{AppraisalPolicy, PrivacyTier};
use hanzo_simulated_tee::{CollateralSpec, QuoteFormat, SimulatedTdx, TdSpec};
use hanzo_verifier::aci::{AciKeyset, report_data};
use serde_json::{Value, json};

use crate::{Files, REQUEST, RESPONSE};

const NOW: UnixTime = UnixTime(1_756_684_800);
const DRAWN: Nonce = Nonce([0x5a; 32]);
// Made with Python's json, hashlib and cryptography. The keyset's last second is NOW.
const KEYSET: &str = r#"{"not_after":1756684800,"receipt_signing_keys":[{"algo":"ed25519","key_id":"r1","public_key":"204040e364c10f2bec9c1fe500a1cd4c247c89d650a01ed7e82caba867877c21"}],"subject":"example"}"#;
const RECEIPT: &str = r#"{"api_version":"aci/1","endpoint":"/v1/chat/completions","event_log":[{"body_hash":"sha256:e05da7415785d85884c1170fc1d7b1a0b87056a90a312c3c2957ed0eba9571be","type":"request.received"},{"body_hash":"sha256:cc979b4692a9507133f43654c967d80029e452513f93a98974a5b8f8d38d9d6f","type":"response.returned"}],"key_id":"r1","method":"POST","model":"smollm2","receipt_id":"rcpt-7","served_at":1756684000,"signature":"df59e80cc53fe8eae24ce2a9bb155518bcf2c78b7d61503ff4223219d121ac2264f6e16af6ea25e8cbae4acea5833e376fa82bca8b05e3567b861b8d111be80f","workload_keyset_digest":"sha256:4de284deaf80841aa65eea1a4d19ae107aa8249328b501cfb24f733cbb291ef4"}"#;

/// The report of a simulated trust domain over a keyset, for whoever drew [`DRAWN`].
fn report(platform: &SimulatedTdx, keyset: &str) -> Value {
    let digest = AciKeyset::from_json(keyset.as_bytes()).unwrap().digest();
    let data = report_data(&digest, Some(&DRAWN));
    json!({
        "api_version": "aci/1", "workload_keyset_digest": format!("sha256:{digest}"),
        "attestation": {
            "tee_type": "tdx", "workload_keyset": serde_json::from_str::<Value>(keyset).unwrap(),
            "report_data": Digest256(*data.first_chunk().unwrap()),
            "evidence": {"quote": hex::encode(platform.quote(&TdSpec::new(QuoteFormat::V4), &data))},
        },
    })
}

#[test]
fn an_aci_receipt_counts_under_a_keyset_whose_evidence_verifies_and_each_twin_is_refused() {
    let files = Files::new();
    let platform = SimulatedTdx::for_tests();
    let collateral = platform.collateral(&CollateralSpec::new(NOW));
    assert_eq!((REQUEST, RESPONSE), (&b"the request"[..], &b"the response"[..]));
    let open = AppraisalPolicy::closed(PrivacyTier::Open).to_toml().unwrap();
    files.put("open.toml", open.as_bytes());
    files.put("root.der", platform.root_der());
    files.put("collateral.json", &serde_json::to_vec(&collateral).unwrap());
    files.put("report.json", report(&platform, KEYSET).to_string().as_bytes());
    let twin = KEYSET.replace("example", "another");
    files.put("twin.json", report(&platform, &twin).to_string().as_bytes());
    files.put("receipt.json", RECEIPT.as_bytes());
    files.put("changed.json", RECEIPT.replace("smollm2", "smollm3").as_bytes());

    let trust = "--policy open.toml --simulator-tdx-root root.der --tdx-collateral collateral.json";
    let verify = |report: &str, receipt: &str, more: &str| {
        files.run(&format!(
            "verify {report} {trust} --at {} --nonce {DRAWN} --aci-receipt {receipt} {more}",
            NOW.0
        ))
    };
    verify("report.json", "receipt.json", "--request request --response response").is(
        0,
        &[
            "ACCEPTED",
            "SIMULATED",
            "rcpt-7 signed by r1",
            "request and response compared and equal",
            "nothing was sent on",
        ],
    );
    verify("report.json", "receipt.json", "--json").is(0, &["\"aci_receipt\"", "\"compared\": []"]);
    verify("report.json", "receipt.json", "").is(0, &["not compared"]);
    verify("report.json", "receipt.json", "--response request").is(30, &["aci.body.response"]);
    verify("report.json", "receipt.json", "--request response").is(30, &["aci.body.request"]);
    verify("report.json", "changed.json", "").is(20, &["aci.signature"]);
    verify("report.json", "request", "").is(10, &["aci.malformed"]);
    verify("twin.json", "receipt.json", "").is(30, &["aci.keyset", "fetched with it"]);
    files
        .run("verify bundle.json --policy policy.toml --simulator-root ark.der --aci-receipt receipt.json")
        .is(1, &["--aci-receipt", "hanzo-verify receipt"]);
    files
        .run(&format!("verify report.json {trust} --request request"))
        .is(1, &["--aci-receipt"]);
}
