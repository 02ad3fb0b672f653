//! Where the files are.

use std::path::{Path, PathBuf};

/// The repository's root: where cargo runs this test, not where it was compiled.
pub fn root() -> PathBuf {
    let here = std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    let root = here.ancestors().nth(2).map(Path::to_path_buf);
    root.unwrap_or_else(|| panic!("{} is not two levels below the root", here.display()))
}

/// A path below `image/deploy`.
pub fn deploy(path: &str) -> PathBuf {
    root().join("image/deploy").join(path)
}

/// A file's text.
pub fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Every file directly in `dir` whose name ends so, sorted.
pub fn ending(dir: &Path, end: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    let mut found: Vec<_> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.to_string_lossy().ends_with(end))
        .collect();
    found.sort();
    assert!(!found.is_empty(), "{}: no file ends in {end}", dir.display());
    found
}

/// Every file below `dir`, sorted.
pub fn below(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut todo = vec![dir.to_path_buf()];
    while let Some(dir) = todo.pop() {
        let entries = std::fs::read_dir(&dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
        for path in entries.flatten().map(|entry| entry.path()) {
            match path.is_dir() {
                true => todo.push(path),
                false => found.push(path),
            }
        }
    }
    found.sort();
    found
}
