//! The status as a page for people: no script, nothing loaded but its own style, every value escaped.

use std::fmt::Write as _;

use hanzo_verifier::{VerdictView, VerifyError};

use super::status::Snapshot;
use crate::error::ClientError;

pub(crate) const STYLE: &str = include_str!("page/style.css");

/// How often a browser asks again, in seconds.
const REFRESH_S: u32 = 15;

pub(crate) fn page(snapshot: &Snapshot) -> String {
    let mut out = String::with_capacity(16 * 1024);
    let refused = match &snapshot.verdict {
        Err(ClientError::Attestation(VerifyError::Refused(refusal))) => Some(refusal),
        _ => None,
    };
    let (class, word, headline) = match &snapshot.verdict {
        Ok(pinned) if pinned.result().simulated() => (
            "mid",
            "Simulated",
            "The guest satisfies your policy, but no vendor's hardware stands behind it.",
        ),
        Ok(_) => (
            "yes",
            "Accepted",
            "The guest satisfies your policy. Prompts go to it alone.",
        ),
        Err(_) if refused.is_some() => ("no", "Refused", "The guest fails your policy. Nothing is sent."),
        Err(_) => ("no", "Not verified", "No guest is verified now. Nothing is sent."),
    };
    let _ = write!(
        out,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n\
<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
<meta name=\"color-scheme\" content=\"light dark\">\n<meta http-equiv=\"refresh\" content=\"{REFRESH_S}\">\n\
<title>{word}: {to}</title>\n<link rel=\"stylesheet\" href=\"/hanzo/status.css\"></head>\n<body><main>\n\
<header class=\"{class}\"><div><p class=\"word\">{word}</p><h1>{headline}</h1><p class=\"to\">{to}</p></div>",
        to = text(&snapshot.destination),
    );
    let view = snapshot.verdict.as_ref().ok().map(|pinned| pinned.result().view());
    let view = view.as_ref().or(refused.map(|refusal| refusal.view()));
    if let Some(view) = view {
        let _ = write!(
            out,
            "<p class=\"tier\"><b>{}</b><span>tier<br>{}</span></p>",
            view.tier.number(),
            view.tier_name
        );
    }
    out.push_str("</header>\n");
    if let Err(error) = &snapshot.verdict {
        problem(&mut out, error);
    }
    tiles(&mut out, snapshot, view);
    if let Some(view) = view {
        guest(&mut out, view);
        weights(&mut out, view);
        devices(&mut out, view);
    }
    way(&mut out, snapshot, view);
    let _ = write!(
        out,
        "<footer><p>Served by hanzo-verify {} on this machine, for this machine. It asks again every {REFRESH_S} s. For \
programs: <a href=\"/hanzo/status\">/hanzo/status</a> or <code>hanzo-verify status --json</code>.</p></footer>\n\
</main></body></html>\n",
        env!("CARGO_PKG_VERSION")
    );
    out
}

fn problem(out: &mut String, error: &ClientError) {
    out.push_str("<section class=\"problem\"><h2>Why</h2>\n");
    match error {
        ClientError::Attestation(VerifyError::Refused(refusal)) => {
            for failure in refusal.failures() {
                let _ = writeln!(
                    out,
                    "<p><code>{}</code> {}<br><span class=\"soft\">{}</span></p>",
                    text(failure.code),
                    text(&failure.text),
                    text(failure.help)
                );
            }
        }
        _ => {
            let _ = writeln!(
                out,
                "<p><code>{}</code> {}</p>",
                text(error.code()),
                text(&error.to_string())
            );
        }
    }
    out.push_str("</section>\n");
}

/// What changes while one looks: evidence's age, and receipts.
fn tiles(out: &mut String, snapshot: &Snapshot, view: Option<&VerdictView>) {
    out.push_str("<section class=\"tiles\">\n");
    let mut tile = |class: &str, value: &str, name: &str| {
        let _ = writeln!(
            out,
            "<div class=\"{class}\"><b>{}</b><span>{}</span></div>",
            text(value),
            text(name)
        );
    };
    if let Some(age) = snapshot.age_s() {
        tile("", &duration(age), "age of the evidence");
    }
    if let Some(until) = view
        .filter(|_| snapshot.verdict.is_ok())
        .and_then(|view| view.valid_until)
    {
        tile(
            "",
            &duration(until.saturating_sub(snapshot.now.0)),
            "until it is asked for again",
        );
    }
    let receipts = &snapshot.receipts;
    tile("", &receipts.verified.to_string(), "receipts verified");
    let class = |n: u64, class| if n > 0 { class } else { "" };
    tile(
        class(receipts.mismatched, "no"),
        &receipts.mismatched.to_string(),
        "receipts wrong",
    );
    tile(
        class(receipts.missing, "mid"),
        &receipts.missing.to_string(),
        "receipts missing",
    );
    out.push_str("</section>\n");
    if let Some(problem) = &receipts.last_problem {
        let _ = writeln!(
            out,
            "<section class=\"problem\"><h2>Last trouble with a receipt</h2><p>{}</p></section>",
            text(problem)
        );
    }
}

fn guest(out: &mut String, view: &VerdictView) {
    out.push_str("<section><h2>Guest</h2>\n<dl>");
    if view.simulated {
        row(
            out,
            "Simulated",
            "no hardware vendor's root stands behind this evidence: it protects nothing from the host",
        );
    }
    row(out, "Policy asks for", &format!("tier {}", view.minimum_tier.number()));
    row(
        out,
        "Reference value",
        view.reference.as_deref().unwrap_or("none of the policy's"),
    );
    row(out, "Processor", product(view.product));
    if let Some(keyset) = &view.keyset {
        row(out, "Image", &keyset.image);
    }
    if let Some(release) = &view.release {
        row(out, "Release", &format!("{} version {}", release.name, release.version));
    }
    mono(out, "Measurement", &view.measurement);
    if let Some(keyset) = &view.keyset {
        mono(out, "Configuration", &keyset.config_digest);
    }
    row(out, "Revocation list", view.revocation);
    row(out, "Log witnesses", &view.witnesses.to_string());
    row(out, "Host's ACPI tables", view.acpi);
    row(out, "Evidence signatures", view.evidence_signatures);
    out.push_str("</dl></section>\n");
}

fn weights(out: &mut String, view: &VerdictView) {
    let Some(keyset) = &view.keyset else { return };
    out.push_str("<section><h2>Weights</h2>\n<dl>");
    for model in &keyset.models {
        mono(out, &model.name, &model.weights_root);
        if let Some(base) = &model.base_root {
            mono(out, &format!("{}, an adapter on", model.name), base);
        }
    }
    out.push_str("</dl></section>\n");
}

fn devices(out: &mut String, view: &VerdictView) {
    out.push_str("<section><h2>GPU</h2>\n<dl>");
    if view.devices.is_empty() {
        row(out, "None", "no GPU is attested");
    }
    for device in &view.devices {
        let driver = device.driver.as_deref().unwrap_or("none");
        let said = format!(
            "{} {}, driver {driver}, VBIOS {}; reference values {}, OCSP {}",
            device.arch, device.device_id, device.vbios, device.rim, device.ocsp
        );
        row(out, device.role, &said);
    }
    if !view.devices.is_empty() {
        row(out, "Bound to the CPU by", view.cpu_gpu_binding);
    }
    out.push_str("</dl></section>\n");
}

fn way(out: &mut String, snapshot: &Snapshot, view: Option<&VerdictView>) {
    out.push_str("<section><h2>Way</h2>\n<dl>");
    match snapshot.way {
        "sealed" => row(
            out,
            "Kind",
            "sealed messages: each request is sealed to a key of the attested keyset",
        ),
        _ => row(
            out,
            "Kind",
            "attested TLS: every connection proves that it ends in the guest",
        ),
    }
    row(out, "Padding", snapshot.padding);
    if snapshot.way != "sealed" {
        row(out, "Idle connections", &snapshot.idle_connections.to_string());
    }
    if let Some(keyset) = view.and_then(|view| view.keyset.as_ref()) {
        let left = keyset.not_after.saturating_sub(snapshot.now.0);
        row(out, "Keys live for", &duration(left));
        row(out, "Guest's clock", &keyset.time);
        mono(out, "Keyset", &keyset.digest);
    }
    out.push_str("</dl></section>\n");
}

fn row(out: &mut String, name: &str, value: &str) {
    let _ = write!(out, "<dt>{}</dt><dd>{}</dd>", text(name), text(value));
}

fn mono(out: &mut String, name: &str, value: &str) {
    let _ = write!(out, "<dt>{}</dt><dd class=\"mono\">{}</dd>", text(name), text(value));
}

fn product(name: &str) -> &str {
    match name {
        "milan" => "AMD EPYC Milan",
        "genoa" => "AMD EPYC Genoa",
        "turin" => "AMD EPYC Turin",
        "tdx" => "Intel TDX",
        "az-snp-vtpm" => "AMD SEV-SNP under Azure's paravisor",
        "az-tdx-vtpm" => "Intel TDX under Azure's paravisor",
        "tpm" => "TPM 2.0",
        other => other,
    }
}

fn duration(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3_600),
    }
}

/// Escaped for element content and double-quoted attributes, and without characters that steer a reader.
fn text(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    for c in raw.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                out.push('\u{fffd}');
            }
            c if c.is_control() && c != '\n' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_guest_becomes_markup() {
        assert_eq!(
            text("<script>\"a\"&'b'</script>\u{202e}\u{1b}"),
            "&lt;script&gt;&quot;a&quot;&amp;&#39;b&#39;&lt;/script&gt;\u{fffd}\u{fffd}"
        );
        assert_eq!(
            (duration(119), duration(120), duration(7_200)),
            ("119 s".into(), "2 min".into(), "2 h".into())
        );
    }

    #[test]
    fn a_guest_that_could_not_be_reached_is_told_with_its_code_and_nothing_else() {
        let error = ClientError::Unreachable {
            endpoint: "<b>guest:1".into(),
            detail: "refused".into(),
        };
        let shown = page(&Snapshot {
            destination: "<b>guest:1".into(),
            way: "sealed",
            padding: "512",
            idle_connections: 0,
            now: hanzo_attestation::UnixTime(1),
            receipts: Default::default(),
            verdict: Err(error),
        });
        assert!(shown.contains("Not verified") && shown.contains("<code>endpoint.unreachable</code>"));
        assert!(!shown.contains("<b>guest") && !shown.contains("<script") && !shown.contains("Weights"));
    }
}
