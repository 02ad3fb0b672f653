//! What the documents point at exists.

use std::path::Path;

use hanzo_tests_tidy::tree::{files, members, root, shown, text};

/// Pieces of Markdown between backticks, on one line; fenced blocks left out.
fn code_spans(markdown: &str) -> Vec<String> {
    let mut fenced = false;
    let mut spans = Vec::new();
    for line in markdown.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            spans.extend(line.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    spans
}

/// Documents whose rows name tests as `test:NAME`, with the fewest that they name.
const TABLES: [(&str, usize); 3] = [
    ("tests/CLAIMS.md", 50),
    ("tests/NEGATIVES.md", 100),
    ("tests/adversary/CATALOGUE.md", 60),
];

/// What stands behind a prefix in the code spans of a document.
fn named(markdown: &str, prefix: &str) -> Vec<String> {
    let spans = code_spans(markdown).into_iter();
    spans
        .filter_map(|s| s.strip_prefix(prefix).map(str::to_owned))
        .collect()
}

#[test]
fn every_test_that_the_claims_name_exists() {
    let sources: Vec<_> = files(&root(), "rs").iter().map(|f| text(f)).collect();
    for (document, fewest) in TABLES {
        let named = named(&text(&root().join(document)), "test:");
        let missing: Vec<_> = named
            .iter()
            .filter(|test| !sources.iter().any(|s| s.contains(&format!("fn {test}("))))
            .collect();
        assert!(
            missing.is_empty(),
            "{document} names tests that are nowhere: {missing:?}"
        );
        assert!(
            named.len() > fewest,
            "{document} names {} tests as `test:NAME`",
            named.len()
        );
    }
}

#[test]
fn every_claim_has_a_test() {
    for (document, _) in TABLES {
        let claims = text(&root().join(document));
        let lines: Vec<_> = claims.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            let is_head = lines.get(at + 1).is_some_and(|next| next.starts_with("|--"));
            let is_row = line.starts_with("| ") && !is_head;
            assert!(
                !is_row || line.contains("`test:"),
                "{document}:{}: a row without a test: {line}",
                at + 1
            );
        }
    }
}

#[test]
fn every_code_that_the_negatives_name_exists() {
    let sources: Vec<_> = files(&root(), "rs").iter().map(|f| text(f)).collect();
    let codes = named(&text(&root().join("tests/NEGATIVES.md")), "code:");
    assert!(codes.len() > 100, "{} codes named as `code:CODE`", codes.len());
    for code in codes {
        // As the code writes it and as at least one test expects it.
        let quoted = format!("\"{code}\"");
        let times: usize = sources.iter().map(|s| s.matches(&quoted).count()).sum();
        assert!(
            times > 1,
            "tests/NEGATIVES.md names the code {code}, which no code has or no test expects"
        );
    }
}

#[test]
fn every_invariant_of_the_architecture_names_a_test_that_exists() {
    let sources: Vec<_> = files(&root(), "rs").iter().map(|f| text(f)).collect();
    let exists = |test: &str| sources.iter().any(|s| s.contains(&format!("fn {test}(")));
    let architecture = text(&root().join("ARCHITECTURE.md"));
    let section = architecture
        .split("## Invariants")
        .nth(1)
        .and_then(|s| s.split("\n## ").next());
    let mut invariants: Vec<String> = Vec::new();
    for line in section.expect("a section on invariants").lines() {
        match line.split_once(". ") {
            Some((number, rest)) if number.parse::<u8>().is_ok() => invariants.push(rest.to_owned()),
            _ => invariants.last_mut().into_iter().for_each(|i| *i += line),
        }
    }
    assert!(invariants.len() >= 10, "{} invariants read", invariants.len());
    for invariant in &invariants {
        let spans = code_spans(invariant);
        let tests: Vec<_> = spans.iter().filter(|s| s.matches('_').count() > 3).collect();
        assert!(!tests.is_empty(), "ARCHITECTURE.md: no test enforces: {invariant}");
        for test in tests {
            assert!(exists(test), "ARCHITECTURE.md names {test}, which is nowhere");
        }
    }
}

#[test]
fn links_and_paths_in_documents_lead_somewhere() {
    let folders = "attestation/ policy/ verifier/ kbs/ enclave/ host-proxy/ image/ tests/ .ci/ .cargo/";
    for document in files(&root(), "md") {
        let markdown = text(&document);
        let home = document.parent().unwrap_or(Path::new("."));
        for link in markdown.split("](").skip(1).filter_map(|l| l.split(')').next()) {
            let path = link.split('#').next().unwrap_or_default();
            if path.is_empty() || path.contains("://") || path.contains(char::is_whitespace) {
                continue;
            }
            assert!(
                home.join(path).exists(),
                "{}: the link {link} leads nowhere",
                shown(&document)
            );
        }
        for span in code_spans(&markdown) {
            let is_path = folders.split_whitespace().any(|f| span.starts_with(f))
                && span.chars().all(|c| c.is_ascii_alphanumeric() || "._-/".contains(c));
            assert!(
                !is_path || root().join(&span).exists() || home.join(&span).exists(),
                "{} names {span}, which does not exist",
                shown(&document)
            );
        }
    }
}

#[test]
fn the_map_shows_every_crate_and_no_other() {
    let architecture = text(&root().join("ARCHITECTURE.md"));
    for (folder, package) in members() {
        if folder.starts_with(root().join("tests")) {
            continue;
        }
        let folder = shown(&folder);
        let row = architecture.lines().any(|l| {
            let mut cells = l.split('|').map(str::trim).skip(1);
            cells.next().map(|f| f.trim_end_matches('/')) == Some(folder.as_str()) && cells.next() == Some(&package)
        });
        assert!(row, "ARCHITECTURE.md has no row for {folder} ({package})");
    }
}

#[test]
fn just_verbs_that_documents_name_exist() {
    let just = text(&root().join("Justfile"));
    for document in files(&root(), "md") {
        for span in code_spans(&text(&document)) {
            let Some(verb) = span.strip_prefix("just ").and_then(|v| v.split_whitespace().next()) else {
                continue;
            };
            assert!(
                just.lines()
                    .any(|l| l.starts_with(&format!("{verb}:")) || l.starts_with(&format!("{verb} "))),
                "{} names `just {verb}`, which the Justfile has not",
                shown(&document)
            );
        }
    }
}

#[test]
fn ci_calls_the_test_command_of_the_readme() {
    let readme = text(&root().join("README.md"));
    let ci = text(&root().join(".ci/run"));
    let command = "cargo test --manifest-path enclave/chain/validator/Cargo.toml && cargo test";
    assert!(
        readme.lines().any(|l| l == command),
        "README.md has no line `{command}`"
    );
    assert!(ci.lines().any(|l| l.trim() == command), ".ci/run does not call it");
}

/// `cargo fmt` at the root sees the main workspace alone.
#[test]
fn ci_formats_every_workspace() {
    let ci = text(&root().join(".ci/run"));
    for command in [
        "cargo fmt --all --check",
        "cargo fmt --manifest-path enclave/chain/validator/Cargo.toml --all --check",
    ] {
        assert!(ci.lines().any(|l| l == command), ".ci/run does not call `{command}`");
    }
}
