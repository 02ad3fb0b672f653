//! ACI `aci/1` attestation reports.
//!
//! REPORT_DATA is SHA-256 of the statement, and 32 zeros; the statement names the digest of the keyset (SHA-256 of JCS) and
//! the caller's nonce. The report does not repeat the nonce: the verifier builds the statement. The served encoding is
//! free and members may be added, for nothing but the keyset is bound: it is hashed as it stands, unknown members too.
//!
//! # Spec
//! `aci/1`, sections 3.1, 3.2, 4.1 and 4.2.

use serde::Deserialize;
use serde_json::Value;

use super::encoding::Fields;
use super::{ForeignError, ForeignEvidence, ForeignFormat, Rule, Supplied, json, tdx};
use crate::digest::Digest256;
use crate::jcs;

const FORMAT: ForeignFormat = ForeignFormat::Aci;

#[derive(Deserialize)]
struct Report {
    api_version: String,
    workload_keyset_digest: String,
    attestation: Attestation,
}

#[derive(Deserialize)]
struct Attestation {
    tee_type: String,
    workload_keyset: Value,
    report_data: String,
    evidence: Value,
}

pub(super) fn read(bytes: &[u8], supplied: &Supplied) -> Result<ForeignEvidence, ForeignError> {
    let report: Report = json::parse(FORMAT, bytes)?;
    let fields = Fields(FORMAT);
    if report.api_version != "aci/1" {
        return Err(unsupported(
            "a report whose api_version is not aci/1",
            "use a newer verifier",
        ));
    }
    let attestation = report.attestation;
    if attestation.tee_type != "tdx" {
        return Err(unsupported(
            "evidence of a tee_type other than tdx",
            "aci/1 names sev_snp and says nothing about its evidence",
        ));
    }
    let keyset = canonical_keyset(&attestation.workload_keyset)?;
    let digest = keyset_digest(&keyset);
    if report.workload_keyset_digest != digest {
        return Err(recomputed("workload_keyset_digest"));
    }
    let report_data = report_data(&digest, supplied.nonce.as_ref());
    let stated: [u8; 32] = fields.lower_hex("attestation.report_data", &attestation.report_data)?;
    if Some(&stated) != report_data.first_chunk::<32>() {
        return Err(recomputed("attestation.report_data"));
    }
    let not_after = attestation
        .workload_keyset
        .get("not_after")
        .and_then(Value::as_u64)
        .ok_or(ForeignError::Field {
            format: FORMAT,
            field: "workload_keyset.not_after",
            expected: "seconds since 1970",
        })?;
    let text = |name| attestation.evidence.get(name).and_then(Value::as_str);
    let quote = text("quote").ok_or(ForeignError::Missing {
        format: FORMAT,
        what: "evidence.quote",
    })?;
    let primary = tdx(fields.hex_quote("evidence.quote", quote)?, None, None, supplied);
    let rule = Rule {
        format: FORMAT,
        report_data: Some(report_data),
        qualifying_data: None,
        device_nonce: None,
        nonce: supplied.nonce.map(Vec::from),
        user_data_repeats: false,
    };
    let mut evidence = ForeignEvidence::new(rule, Some(primary), supplied).with_document("workload_keyset", keyset);
    evidence.not_after = Some(not_after);
    for (name, text) in [
        ("app_compose", text("app_compose")),
        ("event_log", text("event_log")),
        ("vm_config", text("vm_config")),
    ] {
        if let Some(text) = text {
            evidence = evidence.with_document(name, text);
        }
    }
    Ok(evidence)
}

fn unsupported(what: &'static str, help: &'static str) -> ForeignError {
    ForeignError::Unsupported {
        format: FORMAT,
        what,
        help,
    }
}

fn recomputed(field: &'static str) -> ForeignError {
    ForeignError::Recomputed { format: FORMAT, field }
}

fn canonical_keyset(keyset: &Value) -> Result<Vec<u8>, ForeignError> {
    let wrong = ForeignError::Field {
        format: FORMAT,
        field: "attestation.workload_keyset",
        expected: "an object with a canonical form",
    };
    if !keyset.is_object() {
        return Err(wrong);
    }
    jcs::to_vec("workload keyset", keyset).map_err(|_| wrong)
}

fn keyset_digest(canonical: &[u8]) -> String {
    format!("sha256:{}", Digest256::of(canonical))
}

/// The statement is its own JCS form: its members are a digest and a nonce, both hexadecimal.
fn report_data(keyset_digest: &str, nonce: Option<&[u8; 32]>) -> [u8; 64] {
    let nonce = nonce.map_or_else(|| "null".to_owned(), |nonce| format!("\"{}\"", Digest256(*nonce)));
    let statement = format!(r#"{{"keyset_digest":"{keyset_digest}","nonce":{nonce},"purpose":"aci.report_data.v1"}}"#);
    let mut out = [0; 64];
    for (to, from) in out.iter_mut().zip(Digest256::of(statement.as_bytes()).0) {
        *to = from;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The published vectors of `aci/1`, sections 1 and 2.
    #[test]
    fn the_published_digests_and_report_data_are_reached() {
        let keyset = serde_json::json!({
            "tls_public_keys": [{"spki_sha256": "c0".repeat(32), "domain": "api.example.com"}],
            "subject": "dstack-app://example-app",
            "receipt_signing_keys": [{
                "key_id": "receipt-1", "algo": "ed25519",
                "public_key": "8139770ea87d175f56a35466c34c7ecccb8d8a91b4ee37a25df60f5b8fc9b394",
            }],
            "not_after": 1_800_000_000,
            "e2ee_public_keys": [{
                "key_id": "e2ee-1", "algo": "x25519-aes-256-gcm-hkdf-sha256",
                "public_key": "5dfedd3b6bd47f6fa28ee15d969d5bb0ea53774d488bdaf9df1c6e0124b3ef22",
            }],
        });
        let digest = keyset_digest(&canonical_keyset(&keyset).unwrap());
        assert_eq!(
            digest,
            "sha256:53a5cd44b30dcc51999754c719f2628a041f174ecbf9662a6f8e898a10cd9371"
        );
        let nonce: [u8; 32] = std::array::from_fn(|i| i as u8);
        let with = "df2174d28130852b413646a3786927b93e94c11d770268b65def8bdba45cb49e";
        let without = "0633919ca3f00e97bafaa3304278eb22420cc3ff0d19f87dfca2d3f7508150bc";
        assert_eq!(
            hex::encode(report_data(&digest, Some(&nonce))),
            with.to_owned() + &"0".repeat(64)
        );
        assert_eq!(
            hex::encode(report_data(&digest, None)),
            without.to_owned() + &"0".repeat(64)
        );
    }
}
