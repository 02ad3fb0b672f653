//! A key in a file: 32 raw bytes that only its owner can read.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use hanzo_pqc::Dek;
use zeroize::Zeroizing;

use crate::StoreError;

/// A key in a file: 32 raw bytes, mode 0600 or 0400.
///
/// Whoever can read the file has the key. Put it on a medium of its own (a TPM-sealed or otherwise encrypted volume)
/// if the disk that holds the store is not trusted.
pub struct KeyFile;

impl KeyFile {
    /// Reads the key.
    ///
    /// # Errors
    /// [`StoreError::KeyMissing`], [`StoreError::KeyMode`] if group or others have any access, [`StoreError::KeyShape`]
    /// if it is no regular file (symbolic links included) of exactly 32 bytes.
    pub fn load(path: &Path) -> Result<Dek, StoreError> {
        let mut file = OpenOptions::new()
            .read(true)
            .custom_flags((rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK).bits() as i32)
            .open(path)
            .map_err(|e| match e.kind() {
                ErrorKind::NotFound => StoreError::KeyMissing { path: path.to_owned() },
                _ if e.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
                    shape(path, "a symbolic link".into())
                }
                _ => StoreError::io("open key file", path, e),
            })?;
        let meta = file
            .metadata()
            .map_err(|e| StoreError::io("inspect key file", path, e))?;
        if !meta.is_file() {
            return Err(shape(path, "something else than a regular file".into()));
        }
        let mode = meta.mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(StoreError::KeyMode {
                path: path.to_owned(),
                mode,
            });
        }
        if meta.len() != 32 {
            return Err(shape(path, format!("{} bytes", meta.len())));
        }
        let mut key = Zeroizing::new([0u8; 32]);
        file.read_exact(key.as_mut())
            .map_err(|e| StoreError::io("read key file", path, e))?;
        if key.iter().all(|b| *b == 0) {
            return Err(shape(path, "32 zero bytes".into()));
        }
        Ok(Dek::from_bytes(key))
    }

    /// Makes a new key. The file appears whole or not at all, and is on the disk when this returns.
    ///
    /// # Errors
    /// [`StoreError::Io`] if there is one already or it cannot be written.
    pub fn create(path: &Path) -> Result<Dek, StoreError> {
        let key = Dek::generate()?;
        let dir = match path.parent() {
            Some(dir) if !dir.as_os_str().is_empty() => dir,
            _ => Path::new("."),
        };
        let mut suffix = [0; 8];
        hanzo_pqc::random::fill(&mut suffix)?;
        let temporary = dir.join(format!(".key-{}.tmp", hex::encode(suffix)));
        let written = write_new(&temporary, key.expose())
            .map_err(|e| StoreError::io("write key file", &temporary, e))
            // A link is refused if the name is taken; a rename would replace another process's key.
            .and_then(|()| fs::hard_link(&temporary, path).map_err(|e| StoreError::io("create key file", path, e)));
        let cleaned = fs::remove_file(&temporary);
        written?;
        cleaned.map_err(|e| StoreError::io("remove temporary key file", &temporary, e))?;
        sync_dir(dir).map_err(|e| StoreError::io("sync directory", dir, e))?;
        Ok(key)
    }

    /// Reads the key, or makes one if there is none.
    ///
    /// # Errors
    /// As [`KeyFile::load`] and [`KeyFile::create`].
    pub fn load_or_create(path: &Path) -> Result<Dek, StoreError> {
        match Self::load(path) {
            Err(StoreError::KeyMissing { .. }) => match Self::create(path) {
                Err(StoreError::Io { source, .. }) if source.kind() == ErrorKind::AlreadyExists => Self::load(path),
                made => made,
            },
            loaded => loaded,
        }
    }
}

fn write_new(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Makes a new name in `dir` survive a power failure.
pub(crate) fn sync_dir(dir: &Path) -> std::io::Result<()> {
    File::open(dir)?.sync_all()
}

fn shape(path: &Path, got: String) -> StoreError {
    StoreError::KeyShape {
        path: path.to_owned(),
        got,
    }
}
