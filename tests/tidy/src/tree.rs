//! The source tree: which files there are, and which of them are tests.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The repository's root.
///
/// Where cargo runs this test, not where it was compiled: checkouts that share a target folder share its programs.
pub fn root() -> PathBuf {
    let here = std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    here.ancestors()
        .nth(2)
        .expect("tests/tidy is two levels below the root")
        .to_path_buf()
}

/// A file's text.
pub fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// `path` as people write it: relative to the root.
pub fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

/// Every file below `dir` with this extension; hidden and target folders left out.
pub fn files(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut todo = vec![dir.to_path_buf()];
    while let Some(dir) = todo.pop() {
        let entries = std::fs::read_dir(&dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
        for entry in entries.flatten() {
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

/// The workspaces of the product, below the root: the main one, and the validator's.
pub const WORKSPACES: [&str; 2] = ["", "enclave/chain/validator"];

/// The members of all workspaces, as `(folder, package name)`, read from the manifests.
pub fn members() -> Vec<(PathBuf, String)> {
    let members: Vec<_> = WORKSPACES.into_iter().flat_map(members_of).collect();
    assert!(members.len() > 15, "only {} members read", members.len());
    members
}

/// The folder of the workspace that `package` is a member of.
pub fn workspace_of(package: &str) -> PathBuf {
    let is_member = |w: &&str| members_of(w).iter().any(|(_, name)| name == package);
    let workspace = WORKSPACES.into_iter().find(is_member);
    root().join(workspace.unwrap_or_else(|| panic!("{package} is no member of {WORKSPACES:?}")))
}

/// As [`members`], of one of [`WORKSPACES`].
pub fn members_of(workspace: &str) -> Vec<(PathBuf, String)> {
    let home = root().join(workspace);
    let manifest = text(&home.join("Cargo.toml"));
    let list = manifest.split("members = [").nth(1).and_then(|t| t.split(']').next());
    let folders = list.expect("[workspace] members").lines().filter_map(|l| {
        let l = l.trim();
        (!l.starts_with('#')).then(|| l.split('"').nth(1)).flatten()
    });
    folders
        .map(|folder| {
            let folder = home.join(folder);
            let manifest = text(&folder.join("Cargo.toml"));
            let name = manifest.lines().find_map(|l| l.strip_prefix("name = "));
            let name = name.expect("a package name").trim_matches('"').to_owned();
            (folder, name)
        })
        .collect()
}

/// All Rust files below `dir` that end in a library or a program: no tests, no benches, no `#[cfg(test)]` modules.
pub fn production(dir: &Path) -> Vec<PathBuf> {
    let all = files(dir, "rs");
    let mut tests = BTreeSet::new();
    for file in &all {
        for module in test_modules(&text(file)) {
            let home = match file.file_name().and_then(|n| n.to_str()) {
                Some("lib.rs" | "main.rs") => file.parent().expect("a folder").to_path_buf(),
                _ => file.with_extension(""),
            };
            tests.insert(home.join(format!("{module}.rs")));
            tests.insert(home.join(module));
        }
    }
    all.into_iter()
        .filter(|file| {
            let inside = file.strip_prefix(root()).unwrap_or(file);
            let folder = |name| {
                inside
                    .parent()
                    .is_some_and(|p| p.components().any(|c| c.as_os_str() == name))
            };
            let of_tests = folder("benches") || is_integration_test(inside);
            !of_tests && !file.ancestors().any(|a| tests.contains(a))
        })
        .collect()
}

/// In a `tests` folder that is not below a `src` folder (there, only `#[cfg(test)]` makes a test).
fn is_integration_test(path: &Path) -> bool {
    let names: Vec<_> = path.components().map(|c| c.as_os_str().to_owned()).collect();
    let tests = names.iter().position(|n| n == "tests");
    let src = names.iter().position(|n| n == "src");
    tests.is_some_and(|t| src.is_none_or(|s| t < s))
}

/// Names of modules in files of their own that are compiled for tests alone.
fn test_modules(source: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut lines = source.lines().map(str::trim);
    while let Some(line) = lines.next() {
        if line == "#[cfg(test)]" {
            let item = lines.by_ref().find(|l| !l.starts_with("#[")).unwrap_or_default();
            let name = item.strip_prefix("pub(crate) ").unwrap_or(item).strip_prefix("mod ");
            found.extend(name.and_then(|n| n.strip_suffix(';')));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{is_integration_test, test_modules};
    use std::path::Path;

    #[test]
    fn test_modules_are_told_from_others() {
        let source = "mod a;\n#[cfg(test)]\nmod b;\n#[cfg(test)]\n#[path = \"x\"]\nmod c;\n#[cfg(test)]\nmod d {\n}\n";
        assert_eq!(test_modules(source), ["b", "c"]);
        assert!(is_integration_test(Path::new("kbs/server/tests/support/x.rs")));
        assert!(!is_integration_test(Path::new("policy/src/tests/x.rs")));
    }
}
