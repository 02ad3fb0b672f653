//! `explain --html`: one self-contained page that a compliance officer can read, print and file.
//!
//! No script, no font, no image, nothing fetched: a `Content-Security-Policy` in the page says so to the browser. Every
//! value from evidence is escaped.

use std::fmt::Write as _;

use hanzo_verifier::explanation::{Explanation, Hop, Node, RuleOutcome, RuleView, Status};

use crate::output::shown;
use crate::time;

const STYLE: &str = include_str!("html/style.css");

/// The page. `file` is shown as the evidence's name, `now` as the time it was judged for.
pub(crate) fn page(explanation: &Explanation, file: &str, sha256: &str, now: u64) -> String {
    let mut out = String::with_capacity(64 * 1024);
    let (class, word) = if explanation.accepted {
        ("yes", "Accepted")
    } else {
        ("no", "Refused")
    };
    let _ = write!(
        out,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n\
<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
<title>{word}: {file}</title>\n<style>{STYLE}</style></head>\n<body><main>\n",
        file = text(file),
    );
    let _ = write!(
        out,
        "<header class=\"{class}\"><p class=\"word\">{word}</p><h1>{}</h1>",
        text(&explanation.headline)
    );
    if let Some(code) = &explanation.code {
        let _ = write!(out, "<p class=\"code\">{}</p>", text(code));
    }
    let _ = write!(
        out,
        "</header>\n<dl class=\"facts\"><dt>Evidence</dt><dd>{}</dd><dt>SHA-256</dt><dd class=\"mono\">{}</dd>\
<dt>Judged as of</dt><dd>{}</dd><dt>Verifier</dt><dd>hanzo-verify {}</dd></dl>\n",
        text(file),
        text(sha256),
        text(&time::show(now)),
        env!("CARGO_PKG_VERSION"),
    );
    if let Some(view) = &explanation.verdict {
        verdict(&mut out, view);
    }
    chains(&mut out, &explanation.chains);
    rules(&mut out, &explanation.rules);
    out.push_str("<section><h2>What was checked, step by step</h2>\n<ol class=\"steps\">\n");
    for step in &explanation.steps {
        self::step(&mut out, step);
    }
    out.push_str("</ol></section>\n");
    out.push_str(
        "<footer><p>This page shows a verdict; it is not one. Anyone can run the same check offline on the same file \
with the same policy and must get the same result. Signatures of hardware vendors are classical (ECDSA, RSA).</p>\
</footer>\n</main></body></html>\n",
    );
    out
}

fn verdict(out: &mut String, view: &hanzo_verifier::VerdictView) {
    out.push_str("<section><h2>Verdict</h2>\n<ol class=\"ladder\">\n");
    for rung in view.ladder.iter().rev() {
        let class = if rung.tier == view.tier {
            "here"
        } else if rung.tier < view.tier {
            "below"
        } else {
            "above"
        };
        let note = if rung.tier == view.minimum_tier {
            "<span class=\"note\">the policy's minimum</span>"
        } else {
            ""
        };
        let failed = if rung.failed.is_empty() || class != "above" {
            String::new()
        } else {
            format!("<span class=\"codes\">{}</span>", text(&rung.failed.join(", ")))
        };
        let _ = writeln!(
            out,
            "<li class=\"{class}\"><span class=\"tier\">{} {}</span><span class=\"means\">{}</span>{note}{failed}</li>",
            rung.tier.number(),
            rung.tier.name(),
            meaning(rung.tier.number()),
        );
    }
    out.push_str("</ol>\n");
    if view.simulated {
        out.push_str(
            "<p class=\"warning\">SIMULATED: no hardware vendor's root stands behind this evidence. Nothing in it is \
protected from whoever runs the machine.</p>\n",
        );
    }
    out.push_str("<dl class=\"facts\">");
    let mut row = |name: &str, value: &str| {
        let _ = write!(out, "<dt>{}</dt><dd>{}</dd>", text(name), text(value));
    };
    row(
        "Reference value",
        view.reference.as_deref().unwrap_or("none of the policy's"),
    );
    row(
        "Freshness",
        match view.freshness {
            "challenge" => "answers the challenge that was given",
            "session" => "answers a broker's session",
            _ => "answers nobody's challenge: it says nothing about today",
        },
    );
    if view.undated {
        row(
            "Date",
            "undated: nothing but the guest's own word says when it was alive",
        );
    }
    row("GPU bound to CPU by", view.cpu_gpu_binding);
    row("Log witnesses", &view.witnesses.to_string());
    row("Host's ACPI tables", view.acpi);
    row("Transport", view.transport);
    row("Evidence signatures", view.evidence_signatures);
    out.push_str("</dl></section>\n");
}

fn meaning(tier: u8) -> &'static str {
    match tier {
        0 => "nothing is proven beyond the channel",
        1 => "a TPM says which image sealed the data",
        2 => "the CPU encrypts the guest's memory against its host",
        3 => "every GPU is attested in confidential mode",
        _ => "every GPU is bound to the CPU by hardware",
    }
}

fn chains(out: &mut String, chains: &[Vec<Hop>]) {
    if chains.is_empty() {
        return;
    }
    out.push_str("<section><h2>Chain of trust</h2>\n");
    for chain in chains {
        out.push_str("<ol class=\"chain\">");
        for hop in chain {
            let _ = write!(out, "<li><span class=\"box\">{}</span>", text(&hop.name));
            if !hop.vouches.is_empty() {
                let _ = write!(out, "<span class=\"arrow\">{} <b>&rarr;</b></span>", text(hop.vouches));
            }
            out.push_str("</li>");
        }
        out.push_str("</ol>\n");
    }
    out.push_str("</section>\n");
}

fn rules(out: &mut String, rules: &[RuleView]) {
    if rules.is_empty() {
        return;
    }
    out.push_str(
        "<section><h2>Rules of the policy</h2>\n<table><thead><tr><th></th><th>Rule</th><th>Tier</th><th>What was found</th>\
</tr></thead><tbody>\n",
    );
    for rule in rules {
        let (class, mark, word) = match rule.outcome {
            RuleOutcome::Passed => ("pass", "&#10003;", "passed"),
            RuleOutcome::Failed => ("fail", "&#10007;", "failed"),
            RuleOutcome::NotAskedFor => ("skip", "&ndash;", "not asked for by this policy"),
        };
        let mut found = String::new();
        for failure in &rule.check.failures {
            let _ = write!(
                found,
                "<p><span class=\"code\">{}</span> {}</p><p class=\"help\">{}</p>",
                text(failure.code),
                text(&failure.text),
                text(failure.help)
            );
        }
        let _ = writeln!(
            out,
            "<tr class=\"{class}\"><td class=\"mark\" title=\"{word}\">{mark}</td><td>{}</td><td>{}</td><td>{found}</td></tr>",
            text(rule.check.title),
            rule.check.tier.number(),
        );
    }
    out.push_str("</tbody></table></section>\n");
}

fn step(out: &mut String, node: &Node) {
    let _ = write!(out, "<li class=\"{}\">", class(node.status));
    body(out, node);
    out.push_str("</li>\n");
}

fn body(out: &mut String, node: &Node) {
    let _ = write!(out, "<span class=\"title\">{}</span>", text(&node.title));
    if let Some(value) = &node.value {
        let _ = write!(out, " <span class=\"value\">{}</span>", text(value));
    }
    if let Some(code) = &node.code {
        let _ = write!(out, " <span class=\"code\">{}</span>", text(code));
    }
    if let Some(help) = &node.help {
        let _ = write!(out, "<p class=\"help\">{}</p>", text(help));
    }
    if !node.parts.is_empty() {
        out.push_str("<ul>");
        for part in &node.parts {
            let _ = write!(out, "<li class=\"{}\">", class(part.status));
            body(out, part);
            out.push_str("</li>");
        }
        out.push_str("</ul>");
    }
}

fn class(status: Status) -> &'static str {
    match status {
        Status::Passed => "pass",
        Status::Failed => "fail",
        Status::NotReached => "skip",
        Status::Stated => "value",
    }
}

/// Escaped for element content and double-quoted attributes, and without characters that steer a reader.
fn text(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    for c in shown(raw).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_evidence_becomes_markup() {
        assert_eq!(
            text("<script>\"a\"&'b'</script>\u{202e}"),
            "&lt;script&gt;&quot;a&quot;&amp;&#39;b&#39;&lt;/script&gt;\u{fffd}"
        );
    }
}
