//! Verdicts for people: one line of verdict, then a table.

use std::fmt::Write as _;

use hanzo_verifier::foreign::ForeignView;
use hanzo_verifier::{VerdictView, VerifyError};

use crate::error::CliError;
use crate::time;

/// What a simulated verdict says first.
pub(crate) const SIMULATED: &str =
    "SIMULATED: no vendor's root stands behind this evidence; it protects nothing from the host\n";

/// A verdict as text. `channel` says what is known of the connection.
pub fn verdict(view: &VerdictView, channel: &str) -> String {
    let mut out = String::new();
    let word = if view.accepted { "ACCEPTED" } else { "REFUSED" };
    let _ = writeln!(
        out,
        "{word}: tier {}, the policy asks for {}",
        view.tier, view.minimum_tier
    );
    if view.simulated {
        out.push_str(SIMULATED);
    }
    let mut row = |name: &str, value: &str| {
        let _ = writeln!(out, "  {name:<12} {value}");
    };
    let reference = view.reference.as_deref().unwrap_or("none of the policy's");
    if !view.measurement.is_empty() {
        row("measurement", &view.measurement);
    }
    row("reference", reference);
    row("product", &product(view.product));
    if let Some(td) = &view.tdx {
        row("MRTD", &td.mrtd);
        for (i, register) in td.rtmr.iter().enumerate() {
            row(&format!("RTMR{i}"), register);
        }
        row("platform", &format!("PPID {}, FMSPC {}", td.ppid, td.fmspc));
        let open = if td.advisories.is_empty() {
            "no open advisory".to_owned()
        } else {
            td.advisories.join(", ")
        };
        row(
            "TCB",
            &format!(
                "{}, {open}, collateral until {}",
                td.tcb_status,
                time::show(td.collateral_expires)
            ),
        );
    } else if view.tpm.is_none() && view.devices.is_empty() || view.chip_id.is_some() {
        row("chip", view.chip_id.as_deref().unwrap_or("not named"));
    }
    if let Some(tpm) = &view.tpm {
        row("TPM key", &format!("sha256 {} ({})", tpm.ak, tpm.ak_origin));
        let listed = |pcrs: &std::collections::BTreeMap<u8, String>| {
            let indexes: Vec<_> = pcrs.keys().map(ToString::to_string).collect();
            indexes.join(" ")
        };
        row("PCRs", &listed(&tpm.pcrs));
        if !tpm.pcrs_sha384.is_empty() {
            row("PCRs SHA-384", &listed(&tpm.pcrs_sha384));
        }
    }
    for device in &view.devices {
        let driver = device
            .driver
            .as_deref()
            .map(|d| format!(", driver {d}"))
            .unwrap_or_default();
        row(
            device.role,
            &format!(
                "{} {}{driver}, VBIOS {}, reference values {}, OCSP {}",
                device.arch, device.device_id, device.vbios, device.rim, device.ocsp
            ),
        );
    }
    if let Some(release) = &view.release {
        row("release", &format!("{} version {}", release.name, release.version));
        row("manifest", &format!("sha384 {}", release.manifest_sha384));
        row(
            "signed by",
            &format!(
                "{} ({} of {} release keys must), until {}",
                release.signers.join(", "),
                release.threshold,
                release.keys,
                time::show(release.not_after)
            ),
        );
        row(
            "release log",
            &format!(
                "{}, {} entries as of {}, witnesses {}",
                release.log,
                release.log_size,
                time::show(release.head_time),
                release.witnesses
            ),
        );
    }
    if let Some(keyset) = &view.keyset {
        row("image", &keyset.image);
        row("config", &format!("sha256 {}", keyset.config_digest));
        for model in &keyset.models {
            row("weights", &format!("{} ({})", model.weights_root, model.name));
            if let Some(base) = &model.base_root {
                row("adapter on", base);
            }
        }
        row("keyset", &keyset.digest);
        row(
            "keyset life",
            &format!("{} to {}", time::show(keyset.issued_at), time::show(keyset.not_after)),
        );
        row("guest clock", &keyset.time);
    }
    row("channel", channel);
    let until = view
        .valid_until
        .map(|t| format!(", good until {}", time::show(t)))
        .unwrap_or_default();
    let freshness = match view.freshness {
        "challenge" => "answers this verifier's own challenge",
        "session" => "answers this broker session",
        _ => "none: nothing that the caller drew is under the signature",
    };
    row(
        "freshness",
        &format!("{freshness}, judged as of {}{until}", time::show(view.verified_at)),
    );
    if view.undated {
        row(
            "",
            "undated: the keyset is past its end and nothing but the guest's own word says when it was alive",
        );
    }
    let next = view
        .revocation_next_update
        .map(|t| format!(", next list {}", time::show(t)))
        .unwrap_or_default();
    row("revocation", &format!("{}{next}", view.revocation));
    if view.cpu_gpu_binding != "none" {
        row("GPU bound by", view.cpu_gpu_binding);
    }
    row(
        "not claimed",
        &format!(
            "witnesses {}; acpi {}; evidence signatures {}",
            view.witnesses, view.acpi, view.evidence_signatures
        ),
    );
    let above: Vec<_> = view.failures.iter().filter(|f| f.tier > view.tier).collect();
    if view.accepted && !above.is_empty() {
        let codes: Vec<_> = above.iter().map(|f| f.code).collect();
        let _ = writeln!(out, "  {:<12} {}", "not reached", codes.join(", "));
    }
    out
}

/// Evidence of another project as text.
pub(crate) fn foreign(view: &ForeignView) -> String {
    let mut out = verdict(&view.verdict, "none: a file proves no connection");
    let _ = writeln!(out, "  {:<12} {}", "format", view.format);
    if !view.documents.is_empty() {
        let _ = writeln!(
            out,
            "  {:<12} {} (read, not judged)",
            "also inside",
            view.documents.join(", ")
        );
    }
    out
}

fn product(name: &str) -> String {
    match name {
        "milan" | "genoa" | "turin" => format!("AMD EPYC {name}"),
        "tdx" => "Intel TDX".into(),
        "az-snp-vtpm" => "AMD SEV-SNP under Azure's paravisor".into(),
        "az-tdx-vtpm" => "Intel TDX under Azure's paravisor".into(),
        "tpm" => "TPM 2.0".into(),
        other => other.into(),
    }
}

/// An error as text: the verdict with all failed rules if policy refused, else one line and what to do.
pub(crate) fn error(e: &CliError) -> String {
    if let Some(VerifyError::Refused(refusal)) = e.evidence() {
        let mut out = verdict(refusal.view(), "not used: nothing was sent");
        for failure in refusal.failures() {
            let _ = writeln!(
                out,
                "  failed {}: {}\n    -> {}",
                failure.code, failure.text, failure.help
            );
        }
        return out;
    }
    let head = if e.exit_code() == 1 { "error" } else { "REFUSED" };
    let mut out = format!("{head}: {}: {e}\n", e.code());
    if let Some(help) = e.help() {
        let _ = writeln!(out, "  -> {help}");
    }
    out
}
