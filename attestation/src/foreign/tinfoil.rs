//! Tinfoil attestation documents, version 3.
//!
//! REPORT_DATA is SHA-256 over the label `https://tinfoil.sh/report-data/v1`, the nonce and the SHA-256 of the two endorsed
//! sections as they travelled, and 32 zeros. Everything is strict: no unknown and no repeated members, lower-case
//! hexadecimal, canonical base64, distinct ids.
//!
//! Collateral is nobody's word: certificates, CRL and Intel's documents go where supplied ones go; Sigstore bundles are
//! kept as documents, for nothing here verifies them.

mod pcs;

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::Value;

use super::encoding::Fields;
use super::{ForeignError, ForeignEvidence, ForeignFormat, Rule, Supplied, json, nvidia, raw, snp, tdx};
use crate::bundle::{DeviceEvidence, TdxCollateral};
use crate::digest::Digest256;

const FORMAT: ForeignFormat = ForeignFormat::TinfoilV3;
const FIELDS: Fields = Fields(FORMAT);
/// The document's `format`.
pub(super) const V3: &str = "https://tinfoil.sh/predicate/attestation/v3";
const REPORT_DATA: &str = "https://tinfoil.sh/report-data/v1";
const CRYPTO_MATERIAL: &str = "https://tinfoil.sh/crypto-material/v1";
const DEVICE_EVIDENCE: &str = "https://tinfoil.sh/device-evidence/v1";
const SNP_REPORT: &str = "https://tinfoil.sh/format/sev-snp-report/v1";
const TDX_QUOTE: &str = "https://tinfoil.sh/format/tdx-quote/v1";
const NVIDIA_GPU: &str = "https://tinfoil.sh/format/nvidia-gpu-evidence/v1";
const KEYS_OF_32_BYTES: [&str; 2] = [
    "https://tinfoil.sh/key/spki-fp-sha256/v1",
    "https://tinfoil.sh/key/x25519-hpke/v1",
];
const AMD_VCEK: &str = "https://tinfoil.sh/collateral/amd-vcek/v1";
const AMD_CRL: &str = "https://tinfoil.sh/collateral/amd-crl/v1";
const INTEL_PCS: &str = "https://tinfoil.sh/collateral/intel-pcs/v1";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope {
    format: String,
    challenge: Challenge,
    cpu_evidence: CpuEvidence,
    crypto_material: String,
    device_evidence: String,
    collateral: Vec<Collateral>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Challenge {
    nonce: String,
    report_data: String,
    report_data_algorithm: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CpuEvidence {
    format: String,
    report_base64: String,
    endorsed: Endorsed,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Endorsed {
    crypto_material_hash: String,
    device_evidence_hash: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Section<T> {
    format: String,
    items: Vec<T>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Key {
    id: String,
    format: String,
    data: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Device {
    id: String,
    #[serde(rename = "kind")]
    _kind: String,
    #[serde(rename = "vendor")]
    _vendor: String,
    format: String,
    evidence: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Collateral {
    id: String,
    #[serde(rename = "role")]
    _role: String,
    format: String,
    #[serde(default, rename = "subjects")]
    _subjects: Option<Vec<String>>,
    data: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AmdVcek {
    vcek_der_base64: String,
    cert_chain_pem: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AmdCrl {
    crl_der_base64: String,
}

pub(super) fn read(bytes: &[u8], supplied: &Supplied) -> Result<ForeignEvidence, ForeignError> {
    let envelope: Envelope = json::parse(FORMAT, bytes)?;
    known("format", &envelope.format, V3)?;
    known(
        "challenge.report_data_algorithm",
        &envelope.challenge.report_data_algorithm,
        REPORT_DATA,
    )?;
    let nonce: [u8; 32] = FIELDS.lower_hex("challenge.nonce", &envelope.challenge.nonce)?;
    let keys = FIELDS.base64("crypto_material", &envelope.crypto_material)?;
    let devices = FIELDS.base64("device_evidence", &envelope.device_evidence)?;
    let report_data = recompute(&envelope, &nonce, &keys, &devices)?;
    check_keys(&keys)?;
    let (devices, device_nonce) = read_devices(&devices)?;
    let endorsements = endorsements(envelope.collateral)?;

    let report = FIELDS.base64("cpu_evidence.report_base64", &envelope.cpu_evidence.report_base64)?;
    let primary = match envelope.cpu_evidence.format.as_str() {
        SNP_REPORT => snp(
            FORMAT,
            raw::exact_report(FORMAT, &report)?,
            endorsements.table,
            supplied,
        )?,
        TDX_QUOTE => tdx(raw::exact_quote(FORMAT, &report)?, None, endorsements.tdx, supplied),
        _ => {
            return Err(ForeignError::Unsupported {
                format: FORMAT,
                what: "CPU evidence of another format",
                help: "expected sev-snp-report/v1 or tdx-quote/v1",
            });
        }
    };
    // Every GPU answers the caller's own nonce.
    if device_nonce.is_some_and(|answered| answered != nonce) {
        return Err(ForeignError::Recomputed {
            format: FORMAT,
            field: "device_evidence nonce",
        });
    }
    let rule = Rule {
        format: FORMAT,
        report_data: Some(report_data),
        qualifying_data: None,
        device_nonce: Some(nonce),
        nonce: Some(nonce.to_vec()),
        user_data_repeats: false,
    };
    let mut evidence = ForeignEvidence::new(rule, Some(primary), supplied)
        .with_devices(devices)
        .with_document("crypto_material", keys);
    for other in endorsements.others {
        evidence = evidence.with_document("collateral", other);
    }
    Ok(evidence)
}

fn known(field: &'static str, got: &str, expected: &'static str) -> Result<(), ForeignError> {
    if got == expected {
        return Ok(());
    }
    Err(ForeignError::Field {
        format: FORMAT,
        field,
        expected,
    })
}

/// What must have been signed. The hashes and the value that the document states must be the recomputed ones.
fn recompute(envelope: &Envelope, nonce: &[u8; 32], keys: &[u8], devices: &[u8]) -> Result<[u8; 64], ForeignError> {
    let endorsed = &envelope.cpu_evidence.endorsed;
    let (keys, devices) = (Digest256::of(keys), Digest256::of(devices));
    for (field, stated, got) in [
        ("crypto_material_hash", &endorsed.crypto_material_hash, keys),
        ("device_evidence_hash", &endorsed.device_evidence_hash, devices),
    ] {
        let stated: [u8; 32] = FIELDS.lower_hex(field, stated)?;
        if stated != got.0 {
            return Err(ForeignError::Recomputed { format: FORMAT, field });
        }
    }
    let report_data = report_data(nonce, &keys, &devices);
    let stated: [u8; 64] = FIELDS.lower_hex("challenge.report_data", &envelope.challenge.report_data)?;
    if stated != report_data {
        return Err(ForeignError::Recomputed {
            format: FORMAT,
            field: "challenge.report_data",
        });
    }
    Ok(report_data)
}

fn report_data(nonce: &[u8; 32], keys: &Digest256, devices: &Digest256) -> [u8; 64] {
    let parts: [&[u8]; 4] = [REPORT_DATA.as_bytes(), nonce, &keys.0, &devices.0];
    let mut out = [0; 64];
    for (to, from) in out.iter_mut().zip(Digest256::of(&parts.concat()).0) {
        *to = from;
    }
    out
}

fn distinct<'a>(field: &'static str, ids: impl Iterator<Item = &'a str>) -> Result<(), ForeignError> {
    let mut seen = BTreeSet::new();
    for id in ids {
        if id.is_empty() || !seen.insert(id) {
            return Err(ForeignError::Field {
                format: FORMAT,
                field,
                expected: "ids that are neither empty nor repeated",
            });
        }
    }
    Ok(())
}

fn check_keys(section: &[u8]) -> Result<(), ForeignError> {
    let section: Section<Key> = json::parse(FORMAT, section)?;
    known("crypto_material.format", &section.format, CRYPTO_MATERIAL)?;
    distinct("crypto_material.items", section.items.iter().map(|k| k.id.as_str()))?;
    for key in &section.items {
        let field = "crypto_material.items.data";
        if KEYS_OF_32_BYTES.contains(&key.format.as_str()) {
            FIELDS.lower_hex::<32>(field, &key.data)?;
        } else if key.data.is_empty() || key.data.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(ForeignError::Field {
                format: FORMAT,
                field,
                expected: "lower-case hexadecimal digits",
            });
        } else {
            FIELDS.hex(field, &key.data)?;
        }
    }
    Ok(())
}

fn read_devices(section: &[u8]) -> Result<(Vec<DeviceEvidence>, Option<[u8; 32]>), ForeignError> {
    let section: Section<Device> = json::parse(FORMAT, section)?;
    known("device_evidence.format", &section.format, DEVICE_EVIDENCE)?;
    distinct("device_evidence.items", section.items.iter().map(|d| d.id.as_str()))?;
    if section.items.is_empty() {
        return Ok((Vec::new(), None));
    }
    let entries = section
        .items
        .into_iter()
        .map(|item| {
            known("device_evidence.items.format", &item.format, NVIDIA_GPU)?;
            json::shape(FORMAT, item.evidence)
        })
        .collect::<Result<Vec<_>, _>>()?;
    let (devices, nonce) = nvidia::sdk_devices(FORMAT, entries)?;
    Ok((devices, Some(nonce)))
}

#[derive(Default)]
struct Endorsements {
    table: raw::CertificateTable,
    tdx: Option<TdxCollateral>,
    others: Vec<Vec<u8>>,
}

fn endorsements(collateral: Vec<Collateral>) -> Result<Endorsements, ForeignError> {
    distinct("collateral", collateral.iter().map(|c| c.id.as_str()))?;
    let mut out = Endorsements::default();
    for entry in collateral {
        match entry.format.as_str() {
            AMD_VCEK => {
                let data: AmdVcek = json::shape(FORMAT, entry.data)?;
                let chain = FIELDS.pem_certificates("cert_chain_pem", &data.cert_chain_pem)?;
                out.table.vcek = Some(FIELDS.base64("vcek_der_base64", &data.vcek_der_base64)?);
                // The chain is ASK, then ARK; the ARK is pinned.
                out.table.ask = chain.into_iter().next();
            }
            AMD_CRL => {
                let data: AmdCrl = json::shape(FORMAT, entry.data)?;
                out.table.crl = Some(FIELDS.base64("crl_der_base64", &data.crl_der_base64)?);
            }
            INTEL_PCS => out.tdx = Some(pcs::read(json::shape(FORMAT, entry.data)?)?),
            _ => out.others.push(entry.data.to_string().into_bytes()),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Known answer computed apart, with `sha256sum`; without the label the digest is another one.
    #[test]
    fn report_data_is_labelled_and_padded() {
        let (nonce, keys, devices) = ([0x11; 32], Digest256([0x22; 32]), Digest256([0x33; 32]));
        let got = report_data(&nonce, &keys, &devices);
        assert_eq!(
            hex::encode(&got[..32]),
            "162e45b8464b08979b6835c81bd72bda119670a0478faa67fed8aea3dad75bf5"
        );
        assert_eq!(got[32..], [0; 32]);
        let unlabelled = Digest256::of(&[nonce, keys.0, devices.0].concat());
        assert_ne!(got[..32], unlabelled.0);
    }
}
