//! dstack: what the guest agent answers to a quote request, VersionedAttestation 0 (SCALE) and 1 (MessagePack), and
//! RA-TLS certificates.
//!
//! A certificate's evidence must have SHA-512(`ratls-cert:` and the certificate's SubjectPublicKeyInfo) signed. The other
//! two state REPORT_DATA beside the quote; it must be the signed one, which binds nothing: the caller says what it expects.
//!
//! The event log is dstack's own JSON or a list of digests; it is kept as a document and replayed by nobody here.

mod attestation;
mod certificate;
mod msgpack;
mod scale;

use serde::Deserialize;
use serde_json::Value;

use super::encoding::Fields;
use super::{ForeignError, ForeignEvidence, ForeignFormat, Rule, Supplied, json, raw, tdx};
use crate::digest::sha512;
use attestation::{Attestation, Platform};
pub(super) use certificate::is_ra_tls;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct QuoteAnswer {
    quote: String,
    event_log: Option<String>,
    report_data: String,
    #[serde(default)]
    vm_config: Option<String>,
    #[serde(default, rename = "hash_algorithm")]
    _hash_algorithm: Option<String>,
    #[serde(default, rename = "prefix")]
    _prefix: Option<String>,
}

pub(super) fn read_quote_answer(bytes: &[u8], supplied: &Supplied) -> Result<ForeignEvidence, ForeignError> {
    let format = ForeignFormat::DstackQuote;
    let fields = Fields(format);
    let answer: QuoteAnswer = json::parse(format, bytes)?;
    let report_data = fields.lower_hex("report_data", &answer.report_data)?;
    let primary = tdx(fields.hex_quote("quote", &answer.quote)?, None, None, supplied);
    let mut evidence = ForeignEvidence::new(stated(format, report_data), Some(primary), supplied);
    for (name, text) in [("event_log", answer.event_log), ("vm_config", answer.vm_config)] {
        if let Some(text) = text {
            evidence = evidence.with_document(name, text);
        }
    }
    Ok(evidence)
}

/// A VersionedAttestation: the bytes, or `{"attestation": <hexadecimal>}`.
pub(super) fn read_attestation(bytes: &[u8], supplied: &Supplied) -> Result<ForeignEvidence, ForeignError> {
    let format = ForeignFormat::DstackAttestation;
    let unwrapped = unwrap(format, bytes)?;
    let attestation = attestation::parse(format, unwrapped.as_deref().unwrap_or(bytes))?;
    let rule = stated(format, attestation.report_data);
    of_attestation(rule, attestation, supplied)
}

fn unwrap(format: ForeignFormat, bytes: &[u8]) -> Result<Option<Vec<u8>>, ForeignError> {
    if bytes.first() != Some(&b'{') {
        return Ok(None);
    }
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Wrapper {
        attestation: String,
    }
    let wrapper: Wrapper = json::shape(format, json::parse::<Value>(format, bytes)?)?;
    Fields(format).hex("attestation", &wrapper.attestation).map(Some)
}

/// A certificate, DER or PEM.
pub(super) fn read_certificate(bytes: &[u8], supplied: &Supplied) -> Result<ForeignEvidence, ForeignError> {
    let format = ForeignFormat::DstackRaTls;
    let certificate = certificate::parse(format, bytes)?;
    let mut rule = Rule::unstated(format);
    let report_data = sha512(&[b"ratls-cert:", certificate.spki.as_slice()].concat());
    rule.report_data = Some(report_data);
    let mut evidence = match (certificate.attestation, certificate.quote) {
        (Some(bytes), _) => {
            let attestation = attestation::parse(format, &bytes)?;
            if attestation.report_data != report_data {
                return Err(ForeignError::Recomputed {
                    format,
                    field: "attestation.report_data",
                });
            }
            of_attestation(rule, attestation, supplied)?
        }
        (None, Some(quote)) => {
            let primary = tdx(raw::exact_quote(format, &quote)?, None, None, supplied);
            ForeignEvidence::new(rule, Some(primary), supplied)
        }
        (None, None) => {
            return Err(ForeignError::Missing {
                format,
                what: "an extension 1.3.6.1.4.1.62397.1.8 or .1.1: the certificate carries no evidence",
            });
        }
    };
    evidence = evidence.with_document("spki", certificate.spki);
    if let Some(log) = certificate.event_log {
        evidence = evidence.with_document("event_log", log);
    }
    Ok(evidence)
}

/// The stated REPORT_DATA must be the signed one.
fn stated(format: ForeignFormat, report_data: [u8; 64]) -> Rule {
    let mut rule = Rule::unstated(format);
    rule.report_data = Some(report_data);
    rule
}

fn of_attestation(rule: Rule, attestation: Attestation, supplied: &Supplied) -> Result<ForeignEvidence, ForeignError> {
    let format = rule.format;
    let primary = match attestation.platform {
        Platform::Tdx { quote } => tdx(raw::exact_quote(format, &quote)?, None, None, supplied),
        Platform::Snp { report, certificates } => {
            let mut certificates = certificates.into_iter();
            let table = raw::CertificateTable {
                vcek: certificates.next(),
                ask: certificates.next(),
                ..raw::CertificateTable::default()
            };
            super::snp(format, raw::exact_report(format, &report)?, table, supplied)?
        }
    };
    Ok(ForeignEvidence::new(rule, Some(primary), supplied).with_document("config", attestation.config))
}
