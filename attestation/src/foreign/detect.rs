//! Which format some bytes are, from a closed list. Whatever could be two of them is none.

use serde_json::Value;

use super::{DOCUMENT_BYTES_MAX, ForeignFormat, coco, dstack, json_without_duplicates, tinfoil};
use crate::snp::REPORT_BYTES;

/// The one format that `bytes` have the marks of; `None` if they have none, or those of two.
///
/// The marks are lengths, magic numbers and member names that only one format has. Our own bundle is among the answers.
///
/// # Does not establish
/// That the document can be read: reading says what is wrong with it.
pub fn detect(bytes: &[u8]) -> Option<ForeignFormat> {
    if bytes.len() > DOCUMENT_BYTES_MAX {
        return None;
    }
    match bytes.iter().find(|b| !b.is_ascii_whitespace()) {
        Some(b'{' | b'[') => json_without_duplicates(bytes).ok().and_then(|v| of_json(&v)),
        Some(b'-') => dstack::is_ra_tls(bytes).then_some(ForeignFormat::DstackRaTls),
        _ => of_binary(bytes),
    }
}

fn of_json(value: &Value) -> Option<ForeignFormat> {
    if let Value::Array(list) = value {
        let entry = list.first()?;
        return has(entry, &["arch", "certificate", "evidence", "nonce"]).then_some(ForeignFormat::NvidiaSdk);
    }
    let tinfoil = |version: &str| {
        value
            .get("format")
            .and_then(Value::as_str)
            .is_some_and(|f| f.starts_with("https://tinfoil.sh/predicate/") && f.ends_with(version))
    };
    let mut marks = [
        (
            has(value, &["cpu", "keyset", "nonce", "version"]),
            ForeignFormat::Bundle,
        ),
        (has(value, &["kind"]), ForeignFormat::Member),
        (has(value, &["runtime-data", "tee-evidence"]), ForeignFormat::Rcar),
        (
            value.get("format").and_then(Value::as_str) == Some(tinfoil::V3),
            ForeignFormat::TinfoilV3,
        ),
        (tinfoil("/v2"), ForeignFormat::TinfoilV2),
        (
            has(value, &["api_version", "workload_keyset_digest", "attestation"]),
            ForeignFormat::Aci,
        ),
        (
            has(value, &["quote", "event_log", "report_data"]),
            ForeignFormat::DstackQuote,
        ),
        (
            value.get("attestation").is_some_and(Value::is_string),
            ForeignFormat::DstackAttestation,
        ),
    ]
    .into_iter()
    .filter_map(|(is, format)| is.then_some(format))
    .chain(coco::kind(value));
    let first = marks.next()?;
    marks.next().is_none().then_some(first)
}

fn has(value: &Value, members: &[&str]) -> bool {
    members.iter().all(|name| value.get(name).is_some())
}

/// Lengths and magic numbers. An SNP report of version `v` begins with `v 0 0 0`, a quote with its version (u16) and the
/// kind of its attestation key (u16, 2), an SPDM report with 11 e0, a certificate with a SEQUENCE.
fn of_binary(bytes: &[u8]) -> Option<ForeignFormat> {
    match bytes {
        [2..=5, 0, 0, 0, ..] if bytes.len() == REPORT_BYTES => Some(ForeignFormat::SnpReport),
        [2..=5, 0, 0, 0, ..] if bytes.len() > REPORT_BYTES => Some(ForeignFormat::SnpExtendedReport),
        [4 | 5, 0, 2, 0, 0x81, 0, 0, 0, ..] => Some(ForeignFormat::TdxQuote),
        [0x11, 0xe0, ..] => Some(ForeignFormat::NvidiaReport),
        [0x00, 0x00, ..] | [0x83, ..] => Some(ForeignFormat::DstackAttestation),
        [0x30, 0x82 | 0x83, ..] => dstack::is_ra_tls(bytes).then_some(ForeignFormat::DstackRaTls),
        _ => None,
    }
}
