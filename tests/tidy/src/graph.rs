//! Which crates a package is built from.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::sync::Mutex;

use crate::tree::workspace_of;

/// Names of all crates that `package` is built from: normal and build dependencies on x86-64 Linux, itself included.
///
/// `cargo tree`, not `cargo metadata`: the latter unifies features over the workspace and over-reports.
pub fn closure(package: &str) -> BTreeSet<String> {
    static KNOWN: Mutex<BTreeMap<String, BTreeSet<String>>> = Mutex::new(BTreeMap::new());
    let mut known = KNOWN.lock().expect("no test panics while it holds this");
    if let Some(names) = known.get(package) {
        return names.clone();
    }
    let names = cargo_tree(package, "normal,build");
    known.insert(package.to_owned(), names.clone());
    names
}

/// As [`closure`], without build dependencies: what ends in the binary.
pub fn linked(package: &str) -> BTreeSet<String> {
    cargo_tree(package, "normal")
}

fn cargo_tree(package: &str, edges: &str) -> BTreeSet<String> {
    let target = "x86_64-unknown-linux-gnu";
    let out = Command::new(env!("CARGO"))
        .current_dir(workspace_of(package))
        .args(["tree", "--locked", "-p", package, "-e", edges, "--target", target])
        .args(["--prefix", "none", "--format", "{p}"])
        .output()
        .expect("cargo runs");
    assert!(
        out.status.success(),
        "cargo tree -p {package}: {}",
        String::from_utf8_lossy(&out.stderr)
    );
    let text = String::from_utf8(out.stdout).expect("UTF-8");
    let names: BTreeSet<String> = text
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_owned)
        .collect();
    assert!(
        names.contains(package),
        "cargo tree -p {package} does not name {package}"
    );
    names
}

/// Features of `dependency` in what ends in `package`.
pub fn linked_features(package: &str, dependency: &str) -> BTreeSet<String> {
    let target = "x86_64-unknown-linux-gnu";
    let out = Command::new(env!("CARGO"))
        .current_dir(workspace_of(package))
        .args(["tree", "--locked", "-p", package, "-e", "normal", "--target", target])
        .args(["--prefix", "none", "--format", "{p} features={f}"])
        .output()
        .expect("cargo runs");
    assert!(out.status.success(), "cargo tree -p {package}");
    let text = String::from_utf8(out.stdout).expect("UTF-8");
    let wanted = text
        .lines()
        .filter(|line| line.split_whitespace().next() == Some(dependency));
    let lists = wanted.filter_map(|line| line.split("features=").nth(1));
    lists
        .flat_map(|list| list.trim_end_matches(" (*)").split(','))
        .map(str::to_owned)
        .collect()
}

/// Asserts that none of `denied` (exact names) is among `names`, the closure of `package`.
pub fn assert_absent(rule: &str, package: &str, names: &BTreeSet<String>, denied: &[&str]) {
    let found: Vec<_> = denied.iter().filter(|d| names.contains(**d)).collect();
    assert!(
        found.is_empty(),
        "{rule}: {package} reaches {found:?}; see `cargo tree -p {package} -i CRATE`"
    );
}
