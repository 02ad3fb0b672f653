//! Where the public vectors lie.

use std::path::{Path, PathBuf};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/vectors");

/// A file of the vectors; says so loudly if they are not there.
pub fn vector(path: &str) -> Option<Vec<u8>> {
    let file: PathBuf = Path::new(FOLDER).join(path);
    if !Path::new(FOLDER).exists() {
        eprintln!("VECTORS MISSING ({FOLDER}): {path}: not run");
        return None;
    }
    Some(std::fs::read(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display())))
}
