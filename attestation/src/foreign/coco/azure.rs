//! `az-snp-vtpm` (versions 0 to 2) and `az-tdx-vtpm` (versions 0 to 2): a vTPM quote, the paravisor's HCL report, and what
//! endorses the processor.
//!
//! Version 0 has no version member and writes bytes as lists of numbers; from version 1 on they are hexadecimal and
//! URL-safe base64. From version 2 on the paravisor's user-data must repeat what the vTPM signed.

use serde::Deserialize;
use serde_json::Value;

use crate::bundle::{AzSnpEvidence, AzTdxEvidence, Base64, Pcr, TdxEvidence, TpmQuote};
use crate::digest::Digest256;
use crate::evidence::RawEvidence;
use crate::foreign::encoding::{Fields, TextOrNumbers};
use crate::foreign::{ForeignError, ForeignFormat, Supplied, json, raw};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Quote {
    message: TextOrNumbers,
    pcrs: Vec<TextOrNumbers>,
    signature: TextOrNumbers,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SnpV0 {
    quote: Quote,
    report: Vec<u8>,
    vcek: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SnpV1 {
    version: u32,
    tpm_quote: Quote,
    hcl_report: String,
    vcek: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TdxV0 {
    tpm_quote: Quote,
    hcl_report: Vec<u8>,
    td_quote: Vec<u8>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TdxV1 {
    version: u32,
    tpm_quote: Quote,
    hcl_report: String,
    td_quote: String,
}

pub(super) fn read_snp(
    format: ForeignFormat,
    value: Value,
    supplied: &Supplied,
) -> Result<(RawEvidence, bool), ForeignError> {
    let fields = Fields(format);
    let (tpm, hcl_report, vcek, repeats) = if value.get("version").is_some() {
        let v1: SnpV1 = json::shape(format, value)?;
        let vcek = fields.base64url("vcek", &v1.vcek)?;
        let report = fields.base64url("hcl_report", &v1.hcl_report)?;
        (v1.tpm_quote, report, vcek, repeats(format, v1.version)?)
    } else {
        let v0: SnpV0 = json::shape(format, value)?;
        (v0.quote, v0.report, fields.pem_certificate("vcek", &v0.vcek)?, false)
    };
    let evidence = AzSnpEvidence {
        ask: supplied.ask.clone().map(Base64),
        crl: supplied.crl.clone().map(Base64),
        event_log: supplied.event_log.clone().map(Base64),
        hcl_report: Base64(hcl_report),
        quote: read_quote(format, tpm)?,
        vek: Base64(vcek),
    };
    Ok((RawEvidence::AzSnp(evidence), repeats))
}

pub(super) fn read_tdx(
    format: ForeignFormat,
    value: Value,
    supplied: &Supplied,
) -> Result<(RawEvidence, bool), ForeignError> {
    let fields = Fields(format);
    let (tpm, hcl_report, td_quote, repeats) = if value.get("version").is_some() {
        let v1: TdxV1 = json::shape(format, value)?;
        let report = fields.base64url("hcl_report", &v1.hcl_report)?;
        let quote = fields.base64url("td_quote", &v1.td_quote)?;
        (v1.tpm_quote, report, quote, repeats(format, v1.version)?)
    } else {
        let v0: TdxV0 = json::shape(format, value)?;
        (v0.tpm_quote, v0.hcl_report, v0.td_quote, false)
    };
    let evidence = AzTdxEvidence {
        event_log: supplied.event_log.clone().map(Base64),
        hcl_report: Base64(hcl_report),
        quote: read_quote(format, tpm)?,
        td: TdxEvidence {
            collateral: supplied.tdx.clone(),
            event_log: None,
            quote: Base64(raw::exact_quote(format, &td_quote)?),
        },
    };
    Ok((RawEvidence::AzTdx(evidence), repeats))
}

fn repeats(format: ForeignFormat, version: u32) -> Result<bool, ForeignError> {
    match version {
        1 => Ok(false),
        2 => Ok(true),
        _ => Err(ForeignError::Unsupported {
            format,
            what: "a version other than 0, 1 and 2",
            help: "use a newer verifier",
        }),
    }
}

fn read_quote(format: ForeignFormat, tpm: Quote) -> Result<TpmQuote, ForeignError> {
    let fields = Fields(format);
    let bytes = |field, form| match form {
        TextOrNumbers::Text(text) => fields.hex(field, &text),
        TextOrNumbers::Numbers(bytes) => Ok(bytes),
    };
    let pcrs = tpm
        .pcrs
        .into_iter()
        .map(|pcr| fields.exact("pcrs", bytes("pcrs", pcr)?))
        .collect::<Result<Vec<_>, _>>()?;
    let message = bytes("message", tpm.message)?;
    quote(format, message, pcrs, bytes("signature", tpm.signature)?)
}

/// The quote with the registers that it selects. The list always has all 24: those that the quote leaves out are anybody's.
pub(super) fn quote(
    format: ForeignFormat,
    message: Vec<u8>,
    pcrs: Vec<[u8; 32]>,
    signature: Vec<u8>,
) -> Result<TpmQuote, ForeignError> {
    if pcrs.len() != 24 {
        return Err(ForeignError::Field {
            format,
            field: "pcrs",
            expected: "24 registers",
        });
    }
    // What cannot be read here is refused, with its own code, by the TPM's parser.
    let selected = selection(&message).unwrap_or(0x00ff_ffff);
    let pcrs = (0..)
        .zip(pcrs)
        .filter(|(index, _)| selected >> index & 1 == 1)
        .map(|(index, value)| Pcr {
            index,
            value: Digest256(value),
        })
        .collect();
    Ok(TpmQuote {
        message: Base64(message),
        pcrs,
        pcrs_sha384: Vec::new(),
        signature: Base64(signature),
    })
}

/// The bits of the one selection in a TPMS_ATTEST of a quote (TPM 2.0 Library, Part 2, 10.12.12).
fn selection(message: &[u8]) -> Option<u32> {
    let sized = |rest: &'_ [u8]| -> Option<usize> {
        let (len, _) = rest.split_first_chunk::<2>()?;
        usize::from(u16::from_be_bytes(*len)).checked_add(2)
    };
    // magic and type, qualifiedSigner, extraData, clockInfo (17) and firmwareVersion (8)
    let rest = message.get(6..)?;
    let rest = rest.get(sized(rest)?..)?;
    let rest = rest.get(sized(rest)?..)?;
    let rest = rest.get(25..)?;
    let ([0, 0, 0, 1, _, _, 3], bits) = rest.split_first_chunk::<7>()? else {
        return None;
    };
    let [low, middle, high, ..] = bits else { return None };
    Some(u32::from_le_bytes([*low, *middle, *high, 0]))
}
