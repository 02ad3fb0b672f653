//! One live writer per store, and a memory of which key the store was made with.
//!
//! # Layout
//! `<store>.lock`: an advisory lock (flock) for the life of the process, and one line
//! `hanzo-store v1 key-check <32 hex digits>` once the store exists; the digits are HKDF of the key and tell a wrong
//! key from a damaged file. They say nothing about the key itself. Never delete the file while the store exists.

use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hanzo_pqc::{Dek, kdf};

use crate::StoreError;

const LOCK_TRIES: u32 = 10;
const LOCK_PAUSE: Duration = Duration::from_millis(50);
const LINE_START: &str = "hanzo-store v1 key-check ";

/// What the lock file remembers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Remembered {
    /// There was no store yet.
    Nothing,
    /// A store under this key.
    SameKey,
    /// A store under another key.
    OtherKey,
}

/// The right to write; released when dropped or when the process dies.
#[derive(Debug)]
pub(crate) struct LiveWriter {
    file: File,
    path: PathBuf,
}

impl LiveWriter {
    pub(crate) fn acquire(store: &Path) -> Result<Self, StoreError> {
        let mut name = OsString::from(store);
        name.push(".lock");
        let path = PathBuf::from(name);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(|e| StoreError::io("open lock file", &path, e))?;
        // A predecessor that is just ending, or a child between fork and exec, may hold it for a moment.
        for _ in 0..LOCK_TRIES {
            match file.try_lock() {
                Ok(()) => return Ok(Self { file, path }),
                Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
                Err(TryLockError::Error(e)) => return Err(StoreError::io("lock", &path, e)),
            }
        }
        Err(StoreError::InUse { path: store.to_owned() })
    }

    pub(crate) fn remembered(&mut self, key: &Dek) -> Result<Remembered, StoreError> {
        let mut text = String::new();
        self.file
            .seek(SeekFrom::Start(0))
            .and_then(|_| (&self.file).take(256).read_to_string(&mut text))
            .map_err(|e| StoreError::io("read lock file", &self.path, e))?;
        let expected = key_check(key)?;
        Ok(match text.strip_prefix(LINE_START) {
            Some(check) if check.trim_end() == expected => Remembered::SameKey,
            Some(_) => Remembered::OtherKey,
            None => Remembered::Nothing,
        })
    }

    pub(crate) fn remember(&mut self, key: &Dek) -> Result<(), StoreError> {
        let line = format!("{LINE_START}{}\n", key_check(key)?);
        self.file
            .set_len(0)
            .and_then(|()| self.file.seek(SeekFrom::Start(0)))
            .and_then(|_| self.file.write_all(line.as_bytes()))
            .and_then(|()| self.file.sync_all())
            .map_err(|e| StoreError::io("write lock file", &self.path, e))
    }
}

fn key_check(key: &Dek) -> Result<String, StoreError> {
    let mut check = [0; 16];
    kdf::hkdf_sha256(b"", key.expose(), b"hanzo/store-key-check/v1", &mut check)?;
    Ok(hex::encode(check))
}
