//! Evidence of Confidential Containers' attesters, as Trustee reads it (guest-components and Trustee, 2026).
//!
//! None of these forms says what was to be signed: RCAR's `attest` does ([`super::rcar`]), or the caller.

mod azure;
mod snp;

use serde::Deserialize;
use serde_json::Value;

use super::encoding::Fields;
use super::{ForeignError, ForeignEvidence, ForeignFormat, Rule, Supplied, json, nvidia, raw, tdx};
use crate::bundle::{Base64, TpmEvidence};
use crate::evidence::RawEvidence;

pub(super) fn read(format: ForeignFormat, bytes: &[u8], supplied: &Supplied) -> Result<ForeignEvidence, ForeignError> {
    let value = json::parse::<Value>(format, bytes)?;
    if format == ForeignFormat::CocoNvidia {
        let (devices, nonce) = nvidia::coco_devices(format, value)?;
        let mut rule = Rule::unstated(format);
        rule.device_nonce = nonce;
        rule.nonce = nonce.map(Vec::from);
        return Ok(ForeignEvidence::new(rule, None, supplied).with_devices(devices));
    }
    let (primary, user_data_repeats) = primary(format, value, supplied)?;
    let mut rule = Rule::unstated(format);
    rule.user_data_repeats = user_data_repeats;
    Ok(ForeignEvidence::new(rule, Some(primary), supplied))
}

/// Which evidence an object is, by the members that only one form has; `None` if it is none or several.
pub(super) fn kind(value: &Value) -> Option<ForeignFormat> {
    let object = value.as_object()?;
    let has = |name: &str| object.contains_key(name);
    let mut kinds = [
        (has("attestation_report"), ForeignFormat::CocoSnp),
        (has("cc_eventlog") && has("quote"), ForeignFormat::CocoTdx),
        (
            has("vcek") && (has("hcl_report") || has("report")),
            ForeignFormat::CocoAzSnpVtpm,
        ),
        (has("td_quote") && has("hcl_report"), ForeignFormat::CocoAzTdxVtpm),
        (has("ak_public") && has("tpm_quote"), ForeignFormat::CocoTpm),
        (has("device_evidence_list"), ForeignFormat::CocoNvidia),
    ]
    .into_iter()
    .filter_map(|(is, kind)| is.then_some(kind));
    let first = kinds.next()?;
    kinds.next().is_none().then_some(first)
}

/// Evidence of the CPU or TPM, and whether the paravisor's user-data must repeat what the vTPM signed.
pub(super) fn primary(
    format: ForeignFormat,
    value: Value,
    supplied: &Supplied,
) -> Result<(RawEvidence, bool), ForeignError> {
    match format {
        ForeignFormat::CocoSnp => Ok((snp::read(format, json::shape(format, value)?, supplied)?, false)),
        ForeignFormat::CocoTdx => Ok((read_tdx(format, json::shape(format, value)?, supplied)?, false)),
        ForeignFormat::CocoAzSnpVtpm => azure::read_snp(format, value, supplied),
        ForeignFormat::CocoAzTdxVtpm => azure::read_tdx(format, value, supplied),
        ForeignFormat::CocoTpm => Ok((read_tpm(format, json::shape(format, value)?, supplied)?, false)),
        _ => Err(ForeignError::Unsupported {
            format,
            what: "primary evidence of this kind",
            help: "expected snp, tdx, az-snp-vtpm, az-tdx-vtpm or tpm",
        }),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Tdx {
    cc_eventlog: Option<String>,
    quote: String,
}

fn read_tdx(format: ForeignFormat, evidence: Tdx, supplied: &Supplied) -> Result<RawEvidence, ForeignError> {
    let fields = Fields(format);
    let quote = raw::exact_quote(format, &fields.base64("quote", &evidence.quote)?)?;
    let log = evidence
        .cc_eventlog
        .map(|text| fields.base64("cc_eventlog", &text))
        .transpose()?;
    Ok(tdx(quote, log, None, supplied))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Tpm {
    ak_public: String,
    tpm_quote: TpmQuote,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TpmQuote {
    message: String,
    pcrs: Vec<String>,
    signature: String,
}

fn read_tpm(format: ForeignFormat, evidence: Tpm, supplied: &Supplied) -> Result<RawEvidence, ForeignError> {
    let fields = Fields(format);
    let message = fields.base64("tpm_quote.message", &evidence.tpm_quote.message)?;
    let pcrs = evidence
        .tpm_quote
        .pcrs
        .iter()
        .map(|text| fields.exact("tpm_quote.pcrs", fields.hex("tpm_quote.pcrs", text)?))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(RawEvidence::Tpm(TpmEvidence {
        ak_certificates: supplied.ak_certificates.iter().cloned().map(Base64).collect(),
        ak_public: Base64(fields.base64("ak_public", &evidence.ak_public)?),
        event_log: supplied.event_log.clone().map(Base64),
        quote: azure::quote(
            format,
            message,
            pcrs,
            fields.base64("tpm_quote.signature", &evidence.tpm_quote.signature)?,
        )?,
    }))
}
