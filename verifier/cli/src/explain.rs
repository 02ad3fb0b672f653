//! `hanzo-verify explain`: every field of a bundle, verified by nobody.

use std::fmt::Write as _;

use hanzo_attestation::bundle::{Bundle, CpuEvidence};
use hanzo_attestation::snp;
use serde_json::json;

use crate::args::ExplainArgs;
use crate::error::CliError;
use crate::output::{Output, shown};
use crate::{time, trust};

pub(crate) fn run(args: &ExplainArgs) -> Result<Output, CliError> {
    let bytes = trust::read(&args.file)?;
    let bundle = Bundle::parse(&bytes).map_err(hanzo_verifier::VerifyError::from)?;
    let report = match &bundle.cpu {
        CpuEvidence::Snp(evidence) => [None, Some(snp::Product::Milan)]
            .into_iter()
            .find_map(|product| snp::read_unauthenticated(&evidence.report.0, product).ok()),
        _ => None,
    };
    let text = text(&bundle, report.as_ref(), bytes.len());
    let report = report.map(|(product, r)| {
        json!({
            "version": r.version, "product": format!("{product:?}").to_lowercase(), "guest_svn": r.guest_svn,
            "policy": format!("{:#018x}", r.policy), "debug": r.guest_policy().debug(),
            "migrate_ma": r.guest_policy().migrate_ma(), "vmpl": r.vmpl,
            "measurement": hex::encode(r.measurement), "report_data": hex::encode(r.report_data),
            "host_data": hex::encode(r.host_data), "chip_id": hex::encode(r.chip_id),
            "reported_tcb": format!("{:?}", r.reported_tcb),
        })
    });
    let document = serde_json::to_value(&bundle).unwrap_or_default();
    Ok(Output {
        text: shown(&text),
        json: json!({ "verified": false, "bundle": document, "report": report }),
    })
}

fn text(bundle: &Bundle, report: Option<&(snp::Product, snp::SnpReport)>, length: usize) -> String {
    let mut out =
        String::from("NOT VERIFIED: what this bundle says of itself; `verify` says whether any of it is true\n");
    let mut row = |name: &str, value: String| {
        let _ = writeln!(out, "  {name:<22} {value}");
    };
    let k = &bundle.keyset;
    row("bundle", format!("version {}, {length} bytes", bundle.version));
    match k.digest() {
        Ok(digest) => row("keyset_digest", digest.to_string()),
        Err(e) => row("keyset_digest", e.to_string()),
    }
    row("image", k.image.to_string());
    row("tier (claimed)", k.tier.to_string());
    row("simulated (claimed)", k.simulated.to_string());
    row("issued_at", time::show(k.issued_at));
    row("not_after", time::show(k.not_after));
    row("time", k.time.clone());
    row("tls_spki_sha256", k.tls_spki_sha256.to_string());
    row("channel_key", key(&k.channel_key.suite, &k.channel_key.public_key));
    row("receipt_keys", key(&k.receipt_keys.suite, &k.receipt_keys.ml_dsa));
    row("", key("ed25519", &k.receipt_keys.ed25519));
    row(
        "ohttp, signer keys",
        format!("{}, {}", k.ohttp_keys.len(), k.signer_keys.len()),
    );
    for model in &k.models {
        row("model", model.name.to_string());
        row("  weights_root", model.weights_root.to_string());
        row("  tokenizer_sha256", model.tokenizer_sha256.to_string());
        row("  chat_template_sha256", model.chat_template_sha256.to_string());
    }
    row("config_digest", k.config_digest.to_string());
    row("policy_digest", k.policy_digest.to_string());
    row("capability_digest", k.capability_digest.to_string());
    let capabilities: Vec<_> = bundle.capabilities.iter().map(ToString::to_string).collect();
    row("capabilities", capabilities.join(" "));
    row("nonce", bundle.nonce.to_string());
    match &bundle.freshness {
        None => row("freshness", "none".into()),
        Some(f) => {
            row("challenge", f.challenge.to_string());
            row("  place in window", format!("{} of {}", f.index + 1, f.size));
            row("  leads to the nonce", f.leads_to(&bundle.nonce).to_string());
        }
    }
    row("devices", bundle.devices.len().to_string());
    let optional = |b: &Option<hanzo_attestation::bundle::Base64>| {
        b.as_ref().map_or("none".into(), |b| format!("{} bytes", b.0.len()))
    };
    if let CpuEvidence::Snp(e) = &bundle.cpu {
        row(
            "SNP evidence",
            format!(
                "report {} bytes, vek {} bytes, ask {}, crl {}",
                e.report.0.len(),
                e.vek.0.len(),
                optional(&e.ask),
                optional(&e.crl)
            ),
        );
    }
    if let Some((product, r)) = report {
        row("  version, product", format!("{}, {product:?}", r.version));
        row("  measurement", hex::encode(r.measurement));
        row("  report_data", hex::encode(r.report_data));
        row("  host_data", hex::encode(r.host_data));
        row("  chip_id", hex::encode(r.chip_id));
        let p = r.guest_policy();
        row(
            "  policy",
            format!(
                "{:#018x}: debug {}, migrate_ma {}, smt {}",
                r.policy,
                p.debug(),
                p.migrate_ma(),
                p.smt()
            ),
        );
        row("  vmpl, guest_svn", format!("{}, {}", r.vmpl, r.guest_svn));
        row("  signing key", format!("{:?}", r.signing_key));
        for (name, tcb) in [
            ("reported", r.reported_tcb),
            ("committed", r.committed_tcb),
            ("launch", r.launch_tcb),
            ("current", r.current_tcb),
        ] {
            let fmc = tcb.fmc.map(|f| format!("fmc {f}, ")).unwrap_or_default();
            row(
                &format!("  {name}_tcb"),
                format!(
                    "{fmc}bootloader {}, tee {}, snp {}, microcode {}",
                    tcb.bootloader, tcb.tee, tcb.snp, tcb.microcode
                ),
            );
        }
    } else {
        row("  report", "cannot be read".into());
    }
    for (name, text) in [("config", &bundle.config), ("policy", &bundle.policy)] {
        let _ = writeln!(out, "--- {name} ---");
        // Each line marked: the bundle's author could write lines that read like ours.
        for line in text.trim_end().lines() {
            let _ = writeln!(out, "| {line}");
        }
    }
    out
}

fn key(suite: &str, hex: &str) -> String {
    let head: String = hex.chars().take(16).collect();
    format!("{suite} {head}… ({} bytes)", hex.len() / 2)
}
