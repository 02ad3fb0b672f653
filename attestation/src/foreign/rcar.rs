//! The body of RCAR's `attest` (CoCo KBS protocol 0.4.0): primary evidence, additional evidence in a string, and the
//! runtime data that both are bound to.

use serde::Deserialize;
use serde_json::Value;

use super::encoding::Fields;
use super::{ForeignError, ForeignEvidence, ForeignFormat, Rule, Supplied, coco, json, nvidia};
use crate::binding::RcarRuntime;
use crate::bundle::DeviceEvidence;

const FORMAT: ForeignFormat = ForeignFormat::Rcar;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Body {
    #[serde(default)]
    init_data: Option<InitData>,
    runtime_data: RuntimeData,
    tee_evidence: TeeEvidence,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InitData {
    #[serde(rename = "format")]
    _format: String,
    body: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RuntimeData {
    nonce: String,
    tee_pubkey: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TeeEvidence {
    primary_evidence: Value,
    additional_evidence: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Additional {
    nvidia: Option<Value>,
}

pub(super) fn read(bytes: &[u8], supplied: &Supplied) -> Result<ForeignEvidence, ForeignError> {
    let body: Body = json::parse(FORMAT, bytes)?;
    let kind = coco::kind(&body.tee_evidence.primary_evidence).ok_or(ForeignError::Unsupported {
        format: FORMAT,
        what: "primary evidence of an unknown kind",
        help: "expected snp, tdx, az-snp-vtpm, az-tdx-vtpm or tpm",
    })?;
    let runtime = RcarRuntime {
        additional_evidence: &body.tee_evidence.additional_evidence,
        nonce: &body.runtime_data.nonce,
        tee_pubkey: &body.runtime_data.tee_pubkey,
    };
    let digested = |_| ForeignError::Field {
        format: FORMAT,
        field: "runtime-data.tee-pubkey",
        expected: "a key object with a canonical form",
    };
    let report_data = runtime.report_data().map_err(digested)?;
    let device_nonce = runtime.device_nonce().map_err(digested)?;
    let devices = devices_of_additional_evidence(runtime.additional_evidence)?;
    let (primary, user_data_repeats) = coco::primary(kind, body.tee_evidence.primary_evidence, supplied)?;
    let rule = Rule {
        format: FORMAT,
        report_data: Some(report_data),
        // Azure's attesters have the bare digest signed, the plain TPM's the padded one.
        qualifying_data: Some(match kind {
            ForeignFormat::CocoTpm => report_data.to_vec(),
            _ => runtime.digest().map_err(digested)?.0.to_vec(),
        }),
        device_nonce: Some(device_nonce),
        nonce: Some(Fields(FORMAT).base64("runtime-data.nonce", &body.runtime_data.nonce)?),
        user_data_repeats,
    };
    let mut evidence = ForeignEvidence::new(rule, Some(primary), supplied).with_devices(devices);
    if let Ok(key) = crate::jcs::to_vec("tee-pubkey", &body.runtime_data.tee_pubkey) {
        evidence = evidence.with_document("tee-pubkey", key);
    }
    if let Some(init) = body.init_data {
        evidence = evidence.with_document("init-data", init.body);
    }
    Ok(evidence)
}

/// The devices in RCAR's `additional_evidence` string: none in an empty one, else `{"nvidia": ...}` and no other kind.
///
/// # Errors
/// [`ForeignError`]; evidence of other kinds is refused, never skipped.
pub fn devices_of_additional_evidence(text: &str) -> Result<Vec<DeviceEvidence>, ForeignError> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let additional: Additional = json::parse(FORMAT, text.as_bytes())?;
    match additional.nvidia {
        Some(value) => Ok(nvidia::coco_devices(FORMAT, value)?.0),
        None => Ok(Vec::new()),
    }
}
