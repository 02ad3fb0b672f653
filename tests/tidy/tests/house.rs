//! House rules that a reviewer would otherwise have to remember.

use std::collections::BTreeMap;

use hanzo_tests_tidy::source::Source;
use hanzo_tests_tidy::tree::{WORKSPACES, files, members, members_of, production, root, shown, text};

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
    for file in production(&root()) {
        for literal in Source::without_tests(&text(&file)).literals {
            if is_domain(&literal) {
                places.entry(literal).or_default().push(shown(&file));
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

/// `hanzo/<what>/v<n>`, `hanzo.<what>.v<n>` (purposes inside signed JSON; <what> may have parts), `EXPORTER-hanzo-<what>` (TLS exporters).
fn is_domain(literal: &str) -> bool {
    if literal.starts_with("EXPORTER-") {
        return true;
    }
    ['/', '.'].into_iter().any(|separator| {
        let parts: Vec<_> = literal.split(separator).collect();
        let version = |v: &str| v.strip_prefix('v').is_some_and(|v| v.parse::<u32>().is_ok());
        matches!(&parts[..], ["hanzo", what @ .., v] if !what.is_empty() && !what.contains(&"") && version(v))
    })
}

#[test]
fn domain_strings_are_told_from_other_strings() {
    for domain in [
        "hanzo/grant/v1",
        "hanzo.grant.v1",
        "hanzo.kbs.admin.v1",
        "EXPORTER-hanzo-channel-v1",
    ] {
        assert!(is_domain(domain), "{domain}");
    }
    for other in [
        "hanzo/grant",
        "hanzo/v1",
        "expected hanzo.grant.v1",
        "hanzo.config=",
        "hanzo//v1",
    ] {
        assert!(!is_domain(other), "{other}");
    }
}

#[test]
fn the_top_level_is_fixed() {
    let allowed = "Cargo.toml Cargo.lock enclave host-proxy kbs attestation measured-boot image verifier policy tests \
                   Justfile README.md ARCHITECTURE.md SECURITY.md CHANGELOG.md LICENSE deny.toml rustfmt.toml \
                   rust-toolchain.toml clippy.toml target";
    for entry in std::fs::read_dir(root()).expect("a readable root").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        assert!(
            name.starts_with('.') || allowed.split_whitespace().any(|a| a == name),
            "{name} does not belong at the top level"
        );
    }
}

#[test]
fn files_hold_one_idea_and_modules_are_named() {
    for file in files(&root(), "rs") {
        let name = file.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        assert_ne!(name, "mod.rs", "{}: foo.rs + foo/, never mod.rs", shown(&file));
        let vague = [
            "utils.rs",
            "util.rs",
            "common.rs",
            "helpers.rs",
            "manager.rs",
            "misc.rs",
        ];
        assert!(!vague.contains(&name), "{}: name the idea", shown(&file));
        let lines = text(&file).lines().count();
        assert!(
            lines <= 600,
            "{}: {lines} lines: does it still hold one idea?",
            shown(&file)
        );
    }
}

#[test]
fn every_crate_says_what_it_is() {
    for (folder, package) in members() {
        let lib = folder.join("src/lib.rs");
        let front = if lib.exists() { lib } else { folder.join("src/main.rs") };
        assert!(
            text(&front).starts_with("//! "),
            "{package}: {} does not begin with its documentation",
            shown(&front)
        );
    }
}

#[test]
fn lints_are_silenced_with_a_reason_alone() {
    for file in files(&root(), "rs") {
        let source = Source::of(&text(&file)).code;
        for marker in ["#[allow(", "#![allow(", "#[expect(", "#![expect("] {
            for attribute in source.split(marker).skip(1) {
                let attribute = attribute.split(")]").next().unwrap_or_default();
                assert!(
                    attribute.contains("reason ="),
                    "{}: {marker}{}) gives no reason",
                    shown(&file),
                    attribute.trim()
                );
            }
        }
    }
}

#[test]
fn members_inherit_lints_metadata_and_dependency_versions() {
    for (folder, package) in members() {
        let manifest = text(&folder.join("Cargo.toml"));
        assert!(
            manifest.contains("[lints]\nworkspace = true"),
            "{package} does not inherit the workspace's lints"
        );
        for key in ["version", "edition", "rust-version", "license", "publish"] {
            assert!(
                manifest.contains(&format!("\n{key}.workspace = true")),
                "{package} does not inherit {key}"
            );
        }
        for (section, line) in dependencies(&manifest) {
            // The appliance also switches on features of crates that it does not call: see its Cargo.toml.
            let is_switch = package == "hanzo" && line.contains("features = [");
            assert!(
                line.contains("workspace = true") || is_switch,
                "{package}: [{section}] {line}: versions and features stand in the workspace's Cargo.toml alone"
            );
        }
    }
}

#[test]
fn every_folder_with_a_manifest_is_a_member() {
    let members: Vec<_> = members()
        .into_iter()
        .map(|(folder, _)| folder.join("Cargo.toml"))
        .collect();
    let workspaces = WORKSPACES.map(|w| root().join(w).join("Cargo.toml"));
    // tests/fuzz is built with coverage counters, as a workspace of its own; stand-ins have names and versions of the crates that they
    // replace ([patch.crates-io]).
    let elsewhere = ["tests/fuzz", "enclave/chain/validator/standins"];
    for manifest in files(&root(), "toml") {
        let is_manifest = manifest.file_name().is_some_and(|n| n == "Cargo.toml") && !workspaces.contains(&manifest);
        if is_manifest && !elsewhere.iter().any(|e| manifest.starts_with(root().join(e))) {
            assert!(
                members.contains(&manifest),
                "{} is no member of a workspace",
                shown(&manifest)
            );
        }
    }
}

#[test]
fn every_workspace_dependency_is_used() {
    for workspace in WORKSPACES {
        let manifests: Vec<_> = members_of(workspace)
            .into_iter()
            .map(|(folder, _)| text(&folder.join("Cargo.toml")))
            .collect();
        for (_, line) in dependencies(&text(&root().join(workspace).join("Cargo.toml"))) {
            let used = manifests.iter().any(|m| {
                let mut of_member = dependencies(m).into_iter();
                of_member.any(|(_, l)| name_of(&l) == name_of(&line))
            });
            let name = name_of(&line);
            assert!(used, "the workspace names {name}, which no member uses");
        }
    }
}

/// What a line of a dependency table names.
fn name_of(line: &str) -> &str {
    line.split([' ', '=', '.']).next().unwrap_or_default()
}

/// One target folder, one build of what both have.
#[test]
fn the_validators_workspace_has_the_versions_features_and_profiles_of_the_main_one() {
    let [main, validators] = WORKSPACES.map(|w| text(&root().join(w).join("Cargo.toml")));
    let shared = dependencies(&main);
    let mut compared = 0;
    for (_, line) in dependencies(&validators) {
        let Some((_, ours)) = shared.iter().find(|(_, l)| name_of(l) == name_of(&line)) else {
            continue;
        };
        let package = name_of(&line);
        compared += 1;
        if !line.contains("path = ") {
            assert_eq!(&line, ours, "{package}: the main workspace has it otherwise");
        }
    }
    assert!(compared > 5, "only {compared} shared dependencies seen");
    let profiles = |manifest: &str| {
        manifest.split_once("\n[profile.dev]").map(|(_, p)| {
            let lines = p
                .lines()
                .map(str::trim)
                .filter(|l| !l.is_empty() && !l.starts_with('#'));
            lines.map(str::to_owned).collect::<Vec<_>>()
        })
    };
    assert!(profiles(&main).is_some_and(|p| p.len() > 10));
    assert_eq!(profiles(&main), profiles(&validators), "the profiles differ");
    let lints = |manifest: &str| {
        let (_, rest) = manifest.split_once("[workspace.lints.rust]")?;
        rest.split_once("[workspace.dependencies]")
            .map(|(lints, _)| lints.to_owned())
    };
    assert!(lints(&main).is_some());
    assert_eq!(lints(&main), lints(&validators), "the lints differ");
    let versions = |workspace: &str| {
        let lock = text(&root().join(workspace).join("Cargo.lock"));
        let packages = lock.split("[[package]]").skip(1).filter_map(|p| {
            let value = |key: &str| Some(p.split_once(key)?.1.split('"').next()?.to_owned());
            Some((value("\nname = \"")?, value("\nversion = \"")?))
        });
        packages.collect::<Vec<_>>()
    };
    let locked = versions(WORKSPACES[0]);
    for (package, version) in versions(WORKSPACES[1]) {
        let here = || locked.iter().filter(|(name, _)| *name == package).map(|(_, v)| v);
        // Of the same major version (or minor, below 1.0) there is one.
        let line = |v: &str| -> String {
            let mut parts = v.split('.');
            let major = parts.next().unwrap_or_default();
            match major {
                "0" => format!("0.{}", parts.next().unwrap_or_default()),
                major => major.to_owned(),
            }
        };
        for ours in here().filter(|ours| line(ours) == line(&version)) {
            assert_eq!(
                *ours, version,
                "{package}: the workspaces' lock files differ: cargo update -p {package}@{version} --precise {ours} \
                 --manifest-path enclave/chain/validator/Cargo.toml"
            );
        }
    }
}

/// Lines of the dependency tables of a manifest, with the table each stands in.
fn dependencies(manifest: &str) -> Vec<(String, String)> {
    let mut section = String::new();
    let mut found = Vec::new();
    for line in manifest.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            name.clone_into(&mut section);
        } else if section.ends_with("dependencies") && !line.is_empty() && !line.starts_with('#') {
            found.push((section.clone(), line.to_owned()));
        }
    }
    found
}
