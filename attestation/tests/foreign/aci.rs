//! ACI `aci/1` reports.

use hanzo_attestation::evidence::RawEvidence;
use hanzo_attestation::foreign::{ForeignError, ForeignEvidence, ForeignFormat, Supplied};
use serde_json::{Value, json};

use crate::*;

const FORMAT: ForeignFormat = ForeignFormat::Aci;

fn keyset() -> Value {
    json!({
        "e2ee_public_keys": [{"algo": "x25519-aes-256-gcm-hkdf-sha256", "key_id": "e2ee-1",
            "public_key": "5dfedd3b6bd47f6fa28ee15d969d5bb0ea53774d488bdaf9df1c6e0124b3ef22"}],
        "not_after": 1_800_000_000,
        "receipt_signing_keys": [{"algo": "ed25519", "key_id": "receipt-1",
            "public_key": "8139770ea87d175f56a35466c34c7ecccb8d8a91b4ee37a25df60f5b8fc9b394"}],
        "subject": "dstack-app://example-app",
        "tls_public_keys": [{"domain": "api.example.com", "spki_sha256": "c0".repeat(32)}],
    })
}

const KEYSET_DIGEST: &str = "sha256:53a5cd44b30dcc51999754c719f2628a041f174ecbf9662a6f8e898a10cd9371";
const CHALLENGED: &str = "df2174d28130852b413646a3786927b93e94c11d770268b65def8bdba45cb49e";
const UNCHALLENGED: &str = "0633919ca3f00e97bafaa3304278eb22420cc3ff0d19f87dfca2d3f7508150bc";

fn report(report_data: &str) -> Value {
    json!({
        "api_version": "aci/1",
        "workload_keyset_digest": KEYSET_DIGEST,
        "attestation": {
            "tee_type": "tdx", "workload_keyset": keyset(), "report_data": report_data,
            "source_provenance": {"repo_url": null, "repo_commit": null, "image_digest": null, "image_provenance": null},
            "evidence": {"quote": "04".repeat(5000), "app_compose": "{}"},
        },
        "service_capabilities": {"supported_e2ee_versions": ["2"], "serving": "direct"},
    })
}

fn read_with(report: &Value, nonce: Option<[u8; 32]>) -> Result<ForeignEvidence, ForeignError> {
    let supplied = Supplied {
        nonce,
        ..Supplied::default()
    };
    ForeignEvidence::read(FORMAT, report.to_string().as_bytes(), &supplied)
}

/// The published vectors say which keyset, nonce and REPORT_DATA belong together; the file itself says the same.
#[test]
fn the_statement_is_built_from_the_keyset_and_the_caller_s_nonce() {
    if let Some(file) = vector("peers/aci/aci-test-vectors.md") {
        let text = String::from_utf8(file).unwrap();
        for known in [KEYSET_DIGEST, CHALLENGED, UNCHALLENGED] {
            assert!(text.contains(known));
        }
    }
    let drawn: [u8; 32] = std::array::from_fn(|i| i as u8);
    let evidence = read_with(&report(CHALLENGED), Some(drawn)).unwrap();
    let rule = evidence.rule();
    assert_eq!(
        hex::encode(rule.report_data.unwrap()),
        CHALLENGED.to_owned() + &"0".repeat(64)
    );
    assert_eq!(rule.nonce.as_deref(), Some(&drawn[..]));
    assert_eq!(evidence.not_after(), Some(1_800_000_000));
    let plain = read_with(&report(UNCHALLENGED), None).unwrap();
    assert_eq!(plain.rule().nonce, None, "without a nonce nothing is fresh");

    for (report, nonce) in [
        (report(CHALLENGED), None),
        (report(UNCHALLENGED), Some(drawn)),
        (report(CHALLENGED), Some([0; 32])),
    ] {
        assert_eq!(read_with(&report, nonce).unwrap_err().code(), "foreign.recomputed");
    }
}

#[test]
fn keys_beside_a_quote_that_are_not_in_the_digest_are_refused() {
    let edited = |edit: &dyn Fn(&mut Value)| {
        let mut report = report(UNCHALLENGED);
        edit(&mut report);
        read_with(&report, None).map_or_else(|e| e.code(), |_| "read")
    };
    let keyset = |r: &mut Value, member: &str, value: Value| r["attestation"]["workload_keyset"][member] = value;
    assert_eq!(edited(&|_| {}), "read");
    assert_eq!(edited(&|r| keyset(r, "subject", json!("x"))), "foreign.recomputed");
    assert_eq!(
        edited(&|r| keyset(r, "unknown", json!(1))),
        "foreign.recomputed",
        "unknown members are hashed too"
    );
    assert_eq!(
        edited(&|r| r["attestation"]["report_data"] = json!("00".repeat(32))),
        "foreign.recomputed"
    );
    assert_eq!(edited(&|r| r["api_version"] = json!("aci/2")), "foreign.unsupported");
    assert_eq!(
        edited(&|r| r["attestation"]["tee_type"] = json!("sev_snp")),
        "foreign.unsupported"
    );
    assert_eq!(edited(&|r| r["attestation"]["evidence"] = json!({})), "foreign.missing");
    assert_eq!(
        edited(&|r| r["attestation"]["workload_keyset"] = json!([])),
        "foreign.field"
    );
    let twice = report(UNCHALLENGED)
        .to_string()
        .replacen("\"subject\"", "\"subject\":\"y\",\"subject\"", 1);
    assert_eq!(
        code(FORMAT, twice.as_bytes()),
        "foreign.shape",
        "a keyset that means two things"
    );
}

/// A report of a guest of ours: what it is called, what its keyset says, and what its evidence is.
fn ours(tee_type: &str, hanzo: Value, cpu: Value) -> &'static str {
    let mut keyset = keyset();
    keyset["hanzo"] = hanzo;
    let canonical = hanzo_attestation::jcs::to_vec("test", &keyset).unwrap();
    let digest = hanzo_attestation::Digest256::of(&canonical);
    let data = hanzo_attestation::aci::report_data(&digest, None);
    let mut report = report(&hex::encode(&data[..32]));
    report["workload_keyset_digest"] = json!(format!("sha256:{digest}"));
    let attestation = &mut report["attestation"];
    attestation["workload_keyset"] = keyset;
    attestation["tee_type"] = json!(tee_type);
    attestation["evidence"] = json!({});
    if !cpu.is_null() {
        attestation["evidence"]["hanzo_cpu"] = cpu;
    }
    read_with(&report, None).map_or_else(
        |e| e.code(),
        |read| match read.primary().unwrap() {
            RawEvidence::Snp(_) => "snp",
            RawEvidence::Tdx(_) => "tdx",
            _ => "another",
        },
    )
}

#[test]
fn a_report_of_a_simulated_processor_is_called_so_twice_or_refused() {
    let snp = || json!({"kind": "snp", "ask": null, "crl": null, "report": "AAAA", "vek": "AAAA"});
    let tdx = || json!({"kind": "tdx", "collateral": null, "event_log": null, "quote": "AAAA"});
    let says = |simulated: bool| json!({"simulated": simulated});
    for (tee_type, hanzo, cpu, expected) in [
        ("hanzo-simulated", says(true), snp(), "snp"),
        ("hanzo-simulated", says(true), tdx(), "tdx"),
        ("sev_snp", says(false), snp(), "snp"),
        ("sev_snp", Value::Null, snp(), "snp"),
        ("tdx", says(false), tdx(), "tdx"),
        // Called real where the keyset says otherwise, and the other way round.
        ("sev_snp", says(true), snp(), "foreign.field"),
        ("tdx", says(true), tdx(), "foreign.field"),
        ("hanzo-simulated", says(false), snp(), "foreign.field"),
        ("hanzo-simulated", Value::Null, snp(), "foreign.field"),
        // Of another kind than it is called.
        ("tdx", says(false), snp(), "foreign.field"),
        ("sev_snp", says(false), tdx(), "foreign.field"),
        ("hanzo-simulated", says(true), Value::Null, "foreign.missing"),
        ("sev_snp", says(false), Value::Null, "foreign.unsupported"),
        ("simulated", says(false), snp(), "foreign.unsupported"),
        ("sev_snp", says(false), json!({"kind": "snp"}), "foreign.shape"),
    ] {
        assert_eq!(ours(tee_type, hanzo.clone(), cpu), expected, "{tee_type} {hanzo}");
    }
}
