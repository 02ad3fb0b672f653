//! ACI `aci/1` attestation reports.
//!
//! REPORT_DATA is SHA-256 of the statement, and 32 zeros; the statement names the digest of the keyset (SHA-256 of JCS) and
//! the caller's nonce. The report does not repeat the nonce: the verifier builds the statement. The served encoding is
//! free and members may be added, for nothing but the keyset is bound: it is hashed as it stands, unknown members too.
//!
//! Our own guests' reports (verifier/RECEIPT.md, "ACI receipts") have the member `evidence.hanzo_cpu`, which is the `cpu` member of a bundle; of a
//! simulated processor they say [`SIMULATED_TEE_TYPE`], and so does their keyset, in `hanzo.simulated`. One without the other is refused.
//!
//! # Spec
//! `aci/1`, sections 3.1, 3.2, 4.1 and 4.2.

use serde::Deserialize;
use serde_json::Value;

use super::encoding::Fields;
use super::{ForeignError, ForeignEvidence, ForeignFormat, Rule, Supplied, json, tdx};
use crate::aci::{SIMULATED_TEE_TYPE, report_data};
use crate::bundle::CpuEvidence;
use crate::digest::{Digest256, Nonce};
use crate::evidence::RawEvidence;
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
    let keyset = canonical_keyset(&attestation.workload_keyset)?;
    let digest = Digest256::of(&keyset);
    if report.workload_keyset_digest != format!("sha256:{digest}") {
        return Err(recomputed("workload_keyset_digest"));
    }
    let report_data = report_data(&digest, supplied.nonce.map(Nonce).as_ref());
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
    let primary = primary(&attestation, fields, supplied)?;
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

/// The processor's evidence, by what the report calls it.
fn primary(attestation: &Attestation, fields: Fields, supplied: &Supplied) -> Result<RawEvidence, ForeignError> {
    let wrong = |field, expected| ForeignError::Field {
        format: FORMAT,
        field,
        expected,
    };
    let missing = |what| ForeignError::Missing { format: FORMAT, what };
    let simulated = attestation.workload_keyset.pointer("/hanzo/simulated") == Some(&Value::Bool(true));
    if simulated != (attestation.tee_type == SIMULATED_TEE_TYPE) {
        return Err(wrong(
            "attestation.tee_type",
            "hanzo-simulated exactly where the keyset says hanzo.simulated",
        ));
    }
    let cpu = match attestation.evidence.get("hanzo_cpu") {
        Some(cpu) => Some(serde_json::from_value(cpu.clone()).map_err(|e| ForeignError::Shape {
            format: FORMAT,
            detail: e.to_string(),
        })?),
        None => None,
    };
    let text = |name| attestation.evidence.get(name).and_then(Value::as_str);
    match (attestation.tee_type.as_str(), cpu) {
        ("tdx", None) => {
            let quote = text("quote").ok_or_else(|| missing("evidence.quote"))?;
            Ok(tdx(fields.hex_quote("evidence.quote", quote)?, None, None, supplied))
        }
        ("tdx", Some(cpu @ CpuEvidence::Tdx(_))) => Ok(cpu.into()),
        ("sev_snp", Some(cpu @ CpuEvidence::Snp(_))) => Ok(cpu.into()),
        (SIMULATED_TEE_TYPE, Some(cpu @ (CpuEvidence::Snp(_) | CpuEvidence::Tdx(_)))) => Ok(cpu.into()),
        (SIMULATED_TEE_TYPE, None) => Err(missing("evidence.hanzo_cpu")),
        ("sev_snp", None) => Err(unsupported(
            "a report of tee_type sev_snp without evidence.hanzo_cpu",
            "aci/1 names sev_snp and says nothing about its evidence; guests of this project say it there",
        )),
        ("tdx" | "sev_snp" | SIMULATED_TEE_TYPE, Some(_)) => Err(wrong(
            "evidence.hanzo_cpu.kind",
            "tdx or snp, as the report's tee_type says",
        )),
        _ => Err(unsupported(
            "evidence of that tee_type",
            "tdx, sev_snp and hanzo-simulated are read",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The published vectors of `aci/1`, section 1.
    #[test]
    fn the_published_digest_is_reached() {
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
        let digest = Digest256::of(&canonical_keyset(&keyset).unwrap());
        assert_eq!(
            digest.to_string(),
            "53a5cd44b30dcc51999754c719f2628a041f174ecbf9662a6f8e898a10cd9371"
        );
    }
}
