//! Files, all bounded; secrets in files that their owner alone can read.

use std::fs::{self, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use zeroize::Zeroizing;

use crate::ChainError;

/// Longest file of words in bytes.
pub(crate) const SMALL_BYTES_MAX: usize = 64 * 1024;

/// A whole file of at most `max` bytes.
pub(crate) fn read(path: &Path, max: usize) -> Result<Zeroizing<Vec<u8>>, ChainError> {
    let mut bytes = Zeroizing::new(Vec::new());
    let file = fs::File::open(path).map_err(ChainError::io("cannot read", path))?;
    let mut file = file.take((max as u64).saturating_add(1));
    file.read_to_end(&mut bytes)
        .map_err(ChainError::io("cannot read", path))?;
    match bytes.len() > max {
        true => Err(ChainError::TooLong { path: path.into(), max }),
        false => Ok(bytes),
    }
}

/// A small file of text.
pub(crate) fn text(path: &Path) -> Result<Zeroizing<String>, ChainError> {
    let bytes = read(path, SMALL_BYTES_MAX)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| ChainError::File {
        path: path.into(),
        expected: "text in UTF-8",
        got: "other bytes".into(),
    })?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// Writes a file of mode 0600 whole or not at all; `new`: only if it is not there yet.
pub(crate) fn write(path: &Path, bytes: &[u8], new: bool) -> Result<(), ChainError> {
    let io = || ChainError::io("cannot write", path);
    if new && path.exists() {
        return Err(io()(std::io::ErrorKind::AlreadyExists.into()));
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let staged = path.with_file_name(name);
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&staged)
        .map_err(io())?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    written.and_then(|()| fs::rename(&staged, path)).map_err(|e| {
        let _ = fs::remove_file(&staged);
        io()(e)
    })
}

/// A folder that this user alone can enter.
pub(crate) fn private_dir(path: &Path) -> Result<(), ChainError> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(ChainError::io("cannot make folder", path))
}

/// Where a validator of a folder says that it listens.
#[derive(Debug, Deserialize)]
struct Ready {
    rpc: String,
}

/// Folders of a development network's validators: DIR/0, DIR/1, …
pub(crate) fn validators(dir: &Path) -> Vec<PathBuf> {
    let all = (0..42).map(|n| dir.join(n.to_string()));
    all.take_while(|folder| folder.join("validator.toml").is_file())
        .collect()
}

/// Where the validator of this folder answers; `None` before it said so.
pub(crate) fn ready(folder: &Path) -> Option<String> {
    let bytes = read(&folder.join("ready.json"), SMALL_BYTES_MAX).ok()?;
    serde_json::from_slice::<Ready>(&bytes).ok().map(|ready| ready.rpc)
}
