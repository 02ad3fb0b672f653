//! Files that are there whole or not at all.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use crate::error::CliError;

/// Writes beside the target, then takes its place.
pub(crate) fn atomic(path: &Path, bytes: &[u8]) -> Result<(), CliError> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}.part", std::process::id()));
    let part = std::path::PathBuf::from(name);
    let written = put(&part, bytes).and_then(|()| std::fs::rename(&part, path));
    written.map_err(|source| {
        let _ = std::fs::remove_file(&part);
        CliError::Io {
            action: "write",
            path: path.to_path_buf(),
            source,
        }
    })
}

/// Writes a file that must not exist yet.
pub(crate) fn new(path: &Path, bytes: &[u8]) -> Result<(), CliError> {
    let open = std::fs::OpenOptions::new().write(true).create_new(true).open(path);
    open.and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .map_err(|source| CliError::Io {
            action: "create",
            path: path.to_path_buf(),
            source,
        })
}

/// Writes a file that must not exist yet and that nobody else may read.
pub(crate) fn secret(path: &Path, bytes: &[u8]) -> Result<(), CliError> {
    let open = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    open.and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .map_err(|source| CliError::Io {
            action: "create",
            path: path.to_path_buf(),
            source,
        })
}

fn put(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}
