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

/// A file of mode 0600 beside the place where it is to be; gone again if it is not placed.
pub(crate) struct Staged {
    beside: PathBuf,
    path: PathBuf,
}

impl Drop for Staged {
    fn drop(&mut self) {
        // After placing there is none.
        let _ = fs::remove_file(&self.beside);
    }
}

impl Staged {
    /// Writes it, on the disk.
    pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<Self, ChainError> {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.new", std::process::id()));
        let beside = path.with_file_name(name);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(&beside).map_err(ChainError::io("cannot write", path))?;
        let staged = Self {
            beside,
            path: path.into(),
        };
        let written = file.write_all(bytes).and_then(|()| file.sync_all());
        written.map_err(ChainError::io("cannot write", path)).map(|()| staged)
    }

    /// Gives it its name, on the disk.
    pub(crate) fn place(self) -> Result<(), ChainError> {
        let folder = match self.path.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        let placed = fs::rename(&self.beside, &self.path).and_then(|()| fs::File::open(folder)?.sync_all());
        placed.map_err(ChainError::io("cannot write", &self.path))
    }
}

/// Writes a file of mode 0600 whole or not at all; `new`: only if it is not there yet.
pub(crate) fn write(path: &Path, bytes: &[u8], new: bool) -> Result<(), ChainError> {
    if new && path.exists() {
        return Err(ChainError::io("cannot write", path)(
            std::io::ErrorKind::AlreadyExists.into(),
        ));
    }
    Staged::write(path, bytes)?.place()
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
