//! House rules that a reviewer would otherwise have to remember.

use std::collections::BTreeMap;

use hanzo_tests_tidy::{code_only, files, root, text};

/// Every domain string there is. One key signs under one of them, one derivation uses one of them.
const DOMAINS_FILE: &str = "tests/tidy/domains.txt";

#[test]
fn domain_strings_are_unique_and_listed() {
    let listed: Vec<String> = text(&root().join(DOMAINS_FILE))
        .lines()
        .filter(|l| !l.starts_with('#') && !l.is_empty())
        .map(str::to_owned)
        .collect();
    let mut sorted = listed.clone();
    sorted.sort();
    sorted.dedup();
    assert_eq!(sorted, listed, "{DOMAINS_FILE} must be sorted and without repeats");

    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for file in files(&root(), "rs") {
        if file.starts_with(root().join("tests"))
            || file
                .components()
                .any(|c| c.as_os_str() == "tests" || c.as_os_str() == "benches")
        {
            continue;
        }
        for literal in code_only(&text(&file)).split('"').skip(1).step_by(2) {
            if is_domain(literal) {
                places
                    .entry(literal.to_owned())
                    .or_default()
                    .push(file.display().to_string());
            }
        }
    }
    for (domain, files) in &places {
        assert_eq!(
            files.len(),
            1,
            "domain string {domain} is written in more than one place: {files:?}"
        );
        assert!(
            listed.contains(domain),
            "domain string {domain} of {files:?} is not in {DOMAINS_FILE}"
        );
    }
    for domain in &listed {
        assert!(
            places.contains_key(domain),
            "{DOMAINS_FILE} lists {domain}, which no source has"
        );
    }
}

/// `hanzo/<what>/v<n>`
fn is_domain(literal: &str) -> bool {
    let mut parts = literal.trim_end_matches("\\0").split('/');
    matches!(
        (parts.next(), parts.next(), parts.next(), parts.next()),
        (Some("hanzo"), Some(what), Some(version), None)
            if !what.is_empty() && version.starts_with('v') && version[1..].parse::<u32>().is_ok()
    )
}

#[test]
fn the_top_level_is_fixed() {
    let allowed = [
        "Cargo.toml",
        "Cargo.lock",
        "enclave",
        "host-proxy",
        "kbs",
        "attestation",
        "measured-boot",
        "image",
        "verifier",
        "policy",
        "tests",
        "Justfile",
        "README.md",
        "ARCHITECTURE.md",
        "SECURITY.md",
        "CHANGELOG.md",
        "LICENSE",
        "deny.toml",
        "rustfmt.toml",
        "rust-toolchain.toml",
        "clippy.toml",
        "target",
    ];
    for entry in std::fs::read_dir(root()).unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        assert!(
            name.starts_with('.') || allowed.contains(&name.as_str()),
            "{name} does not belong at the top level"
        );
    }
}

#[test]
fn files_hold_one_idea_and_modules_are_named() {
    for file in files(&root(), "rs") {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        assert_ne!(name, "mod.rs", "{}: foo.rs + foo/, never mod.rs", file.display());
        for vague in [
            "utils.rs",
            "util.rs",
            "common.rs",
            "helpers.rs",
            "manager.rs",
            "misc.rs",
        ] {
            assert_ne!(name, vague, "{}: name the idea", file.display());
        }
        let is_test = file
            .components()
            .any(|c| c.as_os_str() == "tests" || c.as_os_str() == "benches");
        let lines = text(&file).lines().count();
        assert!(
            lines <= if is_test { 1200 } else { 600 },
            "{}: {lines} lines: does it still hold one idea?",
            file.display()
        );
    }
}

#[test]
fn every_test_that_the_claims_name_exists() {
    let sources: Vec<_> = files(&root(), "rs").iter().map(|f| text(f)).collect();
    let claims = text(&root().join("tests/CLAIMS.md"));
    let mut named = 0;
    for cell in claims.split('`').skip(1).step_by(2) {
        let Some(test) = cell.strip_prefix("test:") else {
            continue;
        };
        named += 1;
        assert!(
            sources.iter().any(|s| s.contains(&format!("fn {test}("))),
            "tests/CLAIMS.md names {test}, which is nowhere"
        );
    }
    assert!(named > 0, "tests/CLAIMS.md names no test as `test:NAME`");
}

#[test]
fn ci_calls_the_test_command_of_the_readme() {
    let readme = text(&root().join("README.md"));
    let ci = text(&root().join(".ci/run"));
    assert!(readme.contains("cargo test"), "README.md has no test command");
    assert!(
        ci.lines()
            .any(|l| l.trim() == "cargo test" || l.trim().starts_with("cargo test ")),
        ".ci/run does not call it"
    );
}
