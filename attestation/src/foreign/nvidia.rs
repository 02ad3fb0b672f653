//! Device evidence of NVIDIA's attestation SDK, and of Confidential Containers, which hold the same bytes.

use serde::Deserialize;
use serde_json::Value;

use super::encoding::{Fields, pem_blocks};
use super::{ForeignError, ForeignEvidence, ForeignFormat, Rule, Supplied, json};
use crate::bundle::{Base64, DEVICES_MAX, DeviceEvidence};

/// One entry of the SDK's list. Versions and the like, which the SDK adds beside the evidence, are nobody's word.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SdkEntry {
    pub(super) arch: String,
    pub(super) certificate: String,
    pub(super) evidence: String,
    pub(super) nonce: String,
    #[serde(default, rename = "version")]
    _version: Option<String>,
    #[serde(default, rename = "driver_version")]
    _driver_version: Option<String>,
    #[serde(default, rename = "vbios_version")]
    _vbios_version: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Coco {
    device_evidence_list: Vec<CocoEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CocoEntry {
    arch: String,
    certificate: String,
    evidence: String,
    #[serde(default, rename = "uuid")]
    _uuid: Option<String>,
}

pub(super) fn read(bytes: &[u8], supplied: &Supplied) -> Result<ForeignEvidence, ForeignError> {
    let format = ForeignFormat::NvidiaSdk;
    let entries: Vec<SdkEntry> = json::parse(format, bytes)?;
    let (devices, nonce) = sdk_devices(format, entries)?;
    let mut rule = Rule::unstated(format);
    rule.device_nonce = Some(nonce);
    rule.nonce = Some(nonce.to_vec());
    Ok(ForeignEvidence::new(rule, None, supplied).with_devices(devices))
}

/// The devices and the nonce that all of them must have answered.
pub(super) fn sdk_devices(
    format: ForeignFormat,
    entries: Vec<SdkEntry>,
) -> Result<(Vec<DeviceEvidence>, [u8; 32]), ForeignError> {
    let fields = Fields(format);
    let mut nonces = entries.iter().map(|e| e.nonce.as_str());
    let first = nonces.next().ok_or(ForeignError::Field {
        format,
        field: "evidence list",
        expected: "at least one device",
    })?;
    if nonces.any(|nonce| nonce != first) {
        return Err(ForeignError::Recomputed { format, field: "nonce" });
    }
    let nonce = fields.lower_hex("nonce", first)?;
    let devices = entries
        .into_iter()
        .map(|e| device(format, &e.arch, &e.certificate, &e.evidence))
        .collect::<Result<Vec<_>, _>>()?;
    Ok((bounded(format, devices)?, nonce))
}

/// The devices, and the nonce that their reports carry if it is one and the same: nothing beside the reports states it.
pub(super) fn coco_devices(
    format: ForeignFormat,
    value: Value,
) -> Result<(Vec<DeviceEvidence>, Option<[u8; 32]>), ForeignError> {
    let list: Coco = json::shape(format, value)?;
    let devices = list
        .device_evidence_list
        .into_iter()
        .map(|e| device(format, &e.arch, &e.certificate, &e.evidence))
        .collect::<Result<Vec<_>, _>>()?;
    let nonce = devices
        .first()
        .and_then(|d| d.report.0.get(4..))
        .and_then(|rest| rest.first_chunk::<32>())
        .copied();
    Ok((bounded(format, devices)?, nonce))
}

fn bounded(format: ForeignFormat, devices: Vec<DeviceEvidence>) -> Result<Vec<DeviceEvidence>, ForeignError> {
    if (1..=DEVICES_MAX).contains(&devices.len()) {
        return Ok(devices);
    }
    Err(ForeignError::Field {
        format,
        field: "evidence list",
        expected: "1 to 32 devices",
    })
}

fn device(
    format: ForeignFormat,
    arch: &str,
    certificate: &str,
    evidence: &str,
) -> Result<DeviceEvidence, ForeignError> {
    let fields = Fields(format);
    let arch = match arch {
        "HOPPER" | "Hopper" => "hopper",
        "BLACKWELL" | "Blackwell" => "blackwell",
        "LS10" | "Ls10" => "ls10",
        _ => {
            return Err(ForeignError::Unsupported {
                format,
                what: "a device whose arch is neither HOPPER, BLACKWELL nor LS10",
                help: "use a newer verifier",
            });
        }
    };
    let chain = fields.base64("certificate", certificate)?;
    if !std::str::from_utf8(&chain).is_ok_and(|text| pem_blocks(text).is_some()) {
        return Err(ForeignError::Field {
            format,
            field: "certificate",
            expected: "certificates in PEM, in base64",
        });
    }
    // Older attesters write hexadecimal. A report begins with 11 e0: `11e0` or, in base64, `EeA`; never both.
    let report = match evidence.get(..4) {
        Some(head) if head.eq_ignore_ascii_case("11e0") => fields.hex("evidence", evidence)?,
        _ => fields.base64("evidence", evidence)?,
    };
    Ok(DeviceEvidence {
        arch: arch.to_owned(),
        certificates: Base64(chain),
        kind: "nvidia".to_owned(),
        report: Base64(report),
    })
}
