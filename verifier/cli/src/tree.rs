//! The explanation as text: a tree with one mark a line.

use std::fmt::Write as _;

use hanzo_verifier::explanation::{Explanation, Node, RuleOutcome, Status};

pub(crate) fn tree(explanation: &Explanation) -> String {
    let word = if explanation.accepted { "ACCEPTED" } else { "REFUSED" };
    let said = explanation
        .headline
        .split_once(": ")
        .map_or(&*explanation.headline, |(_, said)| said);
    let mut out = format!("{word}: {said}\n");
    for chain in &explanation.chains {
        out.push_str("  ");
        for hop in chain {
            out.push_str(&hop.name);
            if !hop.vouches.is_empty() {
                let _ = write!(out, " -{}-> ", hop.vouches);
            }
        }
        out.push('\n');
    }
    for step in &explanation.steps {
        node(&mut out, step, 0);
    }
    if !explanation.rules.is_empty() {
        out.push_str("rules of the policy\n");
    }
    for rule in &explanation.rules {
        let (mark, check) = (rule.outcome, &rule.check);
        let mark = match mark {
            RuleOutcome::Passed => "ok  ",
            RuleOutcome::Failed => "FAIL",
            RuleOutcome::NotAskedFor => "--  ",
        };
        let _ = writeln!(out, "  {mark} {} (tier {})", check.title, check.tier.number());
        for failure in check.failures.iter().filter(|_| rule.outcome == RuleOutcome::Failed) {
            let _ = writeln!(
                out,
                "         {}: {}\n         -> {}",
                failure.code, failure.text, failure.help
            );
        }
    }
    out
}

fn node(out: &mut String, node: &Node, depth: usize) {
    let mark = match node.status {
        Status::Passed => "ok  ",
        Status::Failed => "FAIL",
        Status::NotReached => "--  ",
        Status::Stated => "    ",
    };
    let indent = "  ".repeat(depth);
    let value = node.value.as_ref().map(|v| format!(": {v}")).unwrap_or_default();
    let code = node.code.as_ref().map(|c| format!(" [{c}]")).unwrap_or_default();
    let _ = writeln!(out, "{mark}{indent} {}{code}{value}", node.title);
    if let Some(help) = &node.help {
        let _ = writeln!(out, "    {indent} -> {help}");
    }
    for part in &node.parts {
        self::node(out, part, depth + 1);
    }
}
