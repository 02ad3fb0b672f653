//! What the tests in `tests/` look at: the dependency closure that is really built, and the source tree.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The repository's root.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors()
        .nth(2)
        .expect("tests/tidy is two levels below the root")
        .to_path_buf()
}

/// Names of all crates that `package` is built from: normal and build dependencies on x86-64 Linux, itself included.
///
/// `cargo tree`, not `cargo metadata`: the latter unifies features over the workspace and over-reports.
pub fn closure(package: &str) -> BTreeSet<String> {
    tree(package, "normal,build")
}

/// As [`closure`], without build dependencies: what ends in the binary.
pub fn linked(package: &str) -> BTreeSet<String> {
    tree(package, "normal")
}

fn tree(package: &str, edges: &str) -> BTreeSet<String> {
    let out = Command::new(env!("CARGO"))
        .current_dir(root())
        .args([
            "tree",
            "--locked",
            "-p",
            package,
            "-e",
            edges,
            "--target",
            "x86_64-unknown-linux-gnu",
        ])
        .args(["--prefix", "none", "--format", "{p}"])
        .output()
        .expect("cargo runs");
    assert!(
        out.status.success(),
        "cargo tree -p {package}: {}",
        String::from_utf8_lossy(&out.stderr)
    );
    let text = String::from_utf8(out.stdout).expect("UTF-8");
    text.lines()
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_owned)
        .collect()
}

/// Asserts that none of `denied` (exact names) is in the closure of `package`.
pub fn assert_absent(rule: &str, package: &str, names: &BTreeSet<String>, denied: &[&str]) {
    let found: Vec<_> = denied.iter().filter(|d| names.contains(**d)).collect();
    assert!(
        found.is_empty(),
        "{rule}: {package} reaches {found:?}; see `cargo tree -p {package} -i CRATE`"
    );
}

/// Every tracked or new file below `dir` with this extension, target folders left out.
pub fn files(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut todo = vec![dir.to_path_buf()];
    while let Some(dir) = todo.pop() {
        for entry in std::fs::read_dir(&dir).expect("a readable folder").flatten() {
            let path = entry.path();
            let name = entry.file_name();
            if path.is_dir() {
                if name != "target" && !name.to_string_lossy().starts_with('.') {
                    todo.push(path);
                }
            } else if path.extension().is_some_and(|e| e == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// A file's text.
pub fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The part of a source file before its inline tests, comments taken out.
pub fn code_only(text: &str) -> String {
    let end = text.find("#[cfg(test)]").unwrap_or(text.len());
    text[..end]
        .lines()
        .filter(|l| !l.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n")
}
