//! `cargo run` and `cargo test` must share one build of the heavy crates.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use hanzo_tests_tidy::root;

/// Features of every crate of the workspace's closure, by name and version.
fn features(edges: &str) -> BTreeMap<String, BTreeSet<String>> {
    let out = Command::new(env!("CARGO"))
        .current_dir(root())
        .args([
            "tree",
            "--locked",
            "--workspace",
            "-e",
            edges,
            "--target",
            "x86_64-unknown-linux-gnu",
        ])
        .args(["--prefix", "none", "--format", "{p}|{f}"])
        .output()
        .expect("cargo runs");
    assert!(
        out.status.success(),
        "cargo tree: {}",
        String::from_utf8_lossy(&out.stderr)
    );
    let text = String::from_utf8(out.stdout).expect("UTF-8");
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in text.lines() {
        if let Some((package, features)) = line.trim_end_matches(" (*)").split_once('|') {
            found.entry(package.to_owned()).or_default().insert(features.to_owned());
        }
    }
    found
}

#[test]
fn running_and_testing_share_one_build() {
    let run = features("normal,build");
    let test = features("normal,build,dev");
    assert!(
        run.keys().any(|p| p.starts_with("mistralrs ")),
        "the engine's library is part of the comparison"
    );
    for (package, features) in &run {
        assert_eq!(
            Some(features),
            test.get(package),
            "a test-only crate switches features of {package} on, so `cargo test` would build it and all that is built on it \
             a second time: switch them on in image/appliance/Cargo.toml as well"
        );
    }
}
