//! `hanzo-verify inspect`: every field of any evidence, verified by nobody.

use hanzo_attestation::bundle::{Bundle, DeviceEvidence, TpmQuote};
use hanzo_attestation::foreign::ForeignEvidence;
use hanzo_attestation::tdx::{ParsedTdx, TdReport};
use hanzo_attestation::tpm::{Attest, HclReport};
use hanzo_attestation::{Digest256, RawEvidence, nvidia, snp};
use serde_json::{Map, Value, json};

use crate::args::InspectArgs;
use crate::error::CliError;
use crate::evidence::Evidence;
use crate::output::{Output, shown};
use crate::trust;

const HEAD: &str = "NOT VERIFIED: what this evidence says of itself; `verify` says whether any of it is true\n";

pub(crate) fn run(args: &InspectArgs) -> Result<Output, CliError> {
    let bytes = trust::read(&args.file)?;
    let length = bytes.len();
    let json = match args.evidence.read_leniently(&args.file, bytes)? {
        Evidence::Bundle(bytes) => {
            let bundle = Bundle::parse(&bytes).map_err(hanzo_verifier::VerifyError::from)?;
            json!({
                "verified": false,
                "format": "bundle",
                "length": length,
                "keyset_digest": bundle.keyset.digest().map_or_else(|e| e.to_string(), |d| d.to_string()),
                "evidence": primary(&RawEvidence::from(bundle.cpu.clone())),
                "devices": bundle.devices.iter().map(device).collect::<Vec<_>>(),
                "challenge_leads_to_nonce": bundle.freshness.as_ref().map(|f| f.leads_to(&bundle.nonce)),
                "bundle": bundle,
            })
        }
        Evidence::Foreign(evidence) => foreign(&evidence, length),
    };
    let mut text = HEAD.to_owned();
    rows(&mut text, 1, &json);
    Ok(Output {
        text: shown(&text),
        json,
        exit_code: 0,
    })
}

fn foreign(evidence: &ForeignEvidence, length: usize) -> Value {
    let rule = evidence.rule();
    json!({
        "verified": false,
        "format": evidence.format().name(),
        "length": length,
        "evidence": evidence.primary().map(primary),
        "devices": evidence.devices().iter().map(device).collect::<Vec<_>>(),
        "must_have_signed": {
            "report_data": rule.report_data.map(hex::encode),
            "qualifying_data": rule.qualifying_data.as_ref().map(hex::encode),
            "device_nonce": rule.device_nonce.map(hex::encode),
            "nonce": rule.nonce.as_ref().map(hex::encode),
        },
        "not_after": evidence.not_after(),
        "documents": evidence.documents().iter().map(|d| json!({
            "name": d.name,
            "length": d.bytes.len(),
            "sha256": Digest256::of(&d.bytes),
            "text": std::str::from_utf8(&d.bytes).ok().filter(|t| t.len() <= 16 * 1024),
        })).collect::<Vec<_>>(),
    })
}

fn primary(raw: &RawEvidence) -> Value {
    match raw {
        RawEvidence::Snp(e) => json!({
            "kind": "snp", "report": report(&e.report.0), "vek_bytes": e.vek.0.len(),
            "ask_bytes": e.ask.as_ref().map(|b| b.0.len()), "crl_bytes": e.crl.as_ref().map(|b| b.0.len()),
        }),
        RawEvidence::Tdx(e) => json!({
            "kind": "tdx", "quote": quote(e.clone()), "collateral": e.collateral.is_some(),
            "event_log_bytes": e.event_log.as_ref().map(|b| b.0.len()),
        }),
        RawEvidence::Tpm(e) => json!({
            "kind": "tpm", "quote": tpm_quote(&e.quote), "ak_spki_sha256": Digest256::of(&e.ak_public.0),
            "ak_certificates": e.ak_certificates.len(), "event_log_bytes": e.event_log.as_ref().map(|b| b.0.len()),
        }),
        RawEvidence::AzSnp(e) => json!({
            "kind": "az-snp-vtpm", "hcl": hcl(&e.hcl_report.0), "quote": tpm_quote(&e.quote), "vek_bytes": e.vek.0.len(),
        }),
        RawEvidence::AzTdx(e) => json!({
            "kind": "az-tdx-vtpm", "hcl": hcl(&e.hcl_report.0), "quote": tpm_quote(&e.quote), "td": quote(e.td.clone()),
        }),
    }
}

fn report(bytes: &[u8]) -> Value {
    let read = [None, Some(snp::Product::Milan)]
        .into_iter()
        .find_map(|product| snp::read_unauthenticated(bytes, product).ok());
    let Some((product, r)) = read else {
        return json!({ "unreadable": bytes.len() });
    };
    let tcb = |t: snp::TcbVersion| json!({ "fmc": t.fmc, "bootloader": t.bootloader, "tee": t.tee, "snp": t.snp, "microcode": t.microcode });
    let (policy, platform) = (r.guest_policy(), r.platform());
    json!({
        "version": r.version, "product": format!("{product:?}").to_lowercase(), "guest_svn": r.guest_svn,
        "policy": {
            "raw": format!("{:#018x}", r.policy), "debug": policy.debug(), "migrate_ma": policy.migrate_ma(),
            "smt": policy.smt(), "single_socket": policy.single_socket(),
            "abi": format!("{}.{}", policy.abi_major(), policy.abi_minor()),
        },
        "platform_info": {
            "raw": format!("{:#018x}", r.platform_info), "smt": platform.smt(), "tsme": platform.tsme(),
            "ecc": platform.ecc(), "ciphertext_hiding": platform.ciphertext_hiding(), "alias_check": platform.alias_check(),
        },
        "vmpl": r.vmpl, "signing_key": format!("{:?}", r.signing_key), "measurement": hex::encode(r.measurement),
        "report_data": hex::encode(r.report_data), "host_data": hex::encode(r.host_data),
        "chip_id": hex::encode(r.chip_id), "id_key_digest": hex::encode(r.id_key_digest),
        "author_key_digest": hex::encode(r.author_key_digest), "report_id": hex::encode(r.report_id),
        "reported_tcb": tcb(r.reported_tcb), "committed_tcb": tcb(r.committed_tcb),
        "current_tcb": tcb(r.current_tcb), "launch_tcb": tcb(r.launch_tcb),
        "launch_mitigations": r.launch_mitigations.map(|m| format!("{m:#018x}")),
        "current_mitigations": r.current_mitigations.map(|m| format!("{m:#018x}")),
    })
}

fn quote(evidence: hanzo_attestation::bundle::TdxEvidence) -> Value {
    match ParsedTdx::parse(evidence) {
        Ok(parsed) => {
            let mut value = td_report(parsed.read_unauthenticated());
            if let Some(object) = value.as_object_mut() {
                object.insert("fmspc".into(), json!(hex::encode(parsed.claimed_fmspc())));
            }
            value
        }
        Err(e) => json!({ "unreadable": e.to_string() }),
    }
}

fn td_report(r: &TdReport) -> Value {
    json!({
        "version": r.quote_version, "tee_tcb_svn": hex::encode(r.tee_tcb_svn), "mr_seam": hex::encode(r.mr_seam),
        "mr_signer_seam": hex::encode(r.mr_signer_seam), "seam_attributes": format!("{:#018x}", r.seam_attributes),
        "td_attributes": format!("{:#018x}", r.td_attributes), "debug": r.td_attributes & 1 != 0,
        "xfam": format!("{:#018x}", r.xfam), "mr_td": hex::encode(r.mr_td),
        "mr_config_id": hex::encode(r.mr_config_id), "mr_owner": hex::encode(r.mr_owner),
        "mr_owner_config": hex::encode(r.mr_owner_config), "rtmr": r.rtmr.map(hex::encode),
        "report_data": hex::encode(r.report_data),
        "mr_service_td": r.td15.as_ref().map(|t| hex::encode(t.mr_service_td)),
        "tee_tcb_svn2": r.td15.as_ref().map(|t| hex::encode(t.tee_tcb_svn2)),
        "dev_info": r.td15_extended.as_ref().map(|t| hex::encode(t.dev_info)),
    })
}

fn tpm_quote(quote: &TpmQuote) -> Value {
    let attest = match Attest::read_unauthenticated(&quote.message.0) {
        Ok(attest) => {
            json!({ "extra_data": hex::encode(&attest.qualifying_data), "firmware_version": attest.firmware_version })
        }
        Err(e) => json!({ "unreadable": e.to_string() }),
    };
    let pcrs: Map<String, Value> = quote
        .pcrs
        .iter()
        .map(|p| (p.index.to_string(), json!(p.value)))
        .collect();
    let mut shown = json!({ "attest": attest, "pcrs": pcrs, "signature_bytes": quote.signature.0.len() });
    if !quote.pcrs_sha384.is_empty() {
        let pcrs = quote.pcrs_sha384.iter().map(|p| (p.index.to_string(), json!(p.value)));
        shown["pcrs_sha384"] = Value::Object(pcrs.collect());
    }
    shown
}

fn hcl(bytes: &[u8]) -> Value {
    match HclReport::parse(bytes) {
        Ok(hcl) => json!({
            "var_data": String::from_utf8_lossy(&hcl.var_data), "kind": format!("{:?}", hcl.kind).to_lowercase(),
        }),
        Err(e) => json!({ "unreadable": e.to_string() }),
    }
}

fn device(evidence: &DeviceEvidence) -> Value {
    match nvidia::read_unauthenticated(evidence) {
        Ok(read) => json!({
            "arch": evidence.arch, "nonce": hex::encode(read.nonce), "leaf_serial": read.leaf_serial,
            "measurements": read.measurements.iter().map(|(i, m)| (i.to_string(), json!(hex::encode(m)))).collect::<Map<_, _>>(),
            "opaque": read.opaque.iter().map(|(i, m)| (i.to_string(), json!(hex::encode(m)))).collect::<Map<_, _>>(),
        }),
        Err(e) => json!({ "arch": evidence.arch, "unreadable": e.to_string() }),
    }
}

/// Names to the left, values to the right, deeper objects indented.
fn rows(out: &mut String, depth: usize, value: &Value) {
    let indent = "  ".repeat(depth);
    let mut row = |name: &str, value: &Value| match value {
        Value::Object(_) | Value::Array(_) if !is_empty(value) => {
            out.push_str(&format!("{indent}{name}\n"));
            rows(out, depth + 1, value);
        }
        Value::Null => {}
        Value::String(text) => {
            // Each further line is marked: the evidence's author could write lines that read like ours.
            let mut lines = text.trim_end().lines();
            out.push_str(&format!("{indent}{name:<20} {}\n", lines.next().unwrap_or_default()));
            for line in lines {
                out.push_str(&format!("{indent}| {line}\n"));
            }
        }
        other => out.push_str(&format!("{indent}{name:<20} {other}\n")),
    };
    match value {
        Value::Object(map) => map.iter().for_each(|(name, value)| row(name, value)),
        Value::Array(list) => list
            .iter()
            .enumerate()
            .for_each(|(i, value)| row(&format!("[{i}]"), value)),
        other => row("", other),
    }
}

fn is_empty(value: &Value) -> bool {
    value.as_object().is_some_and(Map::is_empty) || value.as_array().is_some_and(Vec::is_empty)
}
