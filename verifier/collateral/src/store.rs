//! What was fetched and proved itself, on disk.
//!
//! # Layout
//! The directory is 0700, files are 0600. `objects/<SHA-256>` holds the bytes of an item under their own digest.
//! `index.json` says which item has which digest. `lock` is held while the two change. Every file is written whole under
//! another name, flushed to the disk and renamed into place, the objects before the index: a process that is killed leaves
//! the old state or the new one.
//!
//! # Does not establish
//! That an item is authentic or fresh: whoever reads one checks it again. Freshness is what the vendor signed, so the index
//! holds no dates.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use hanzo_attestation::Digest256;
use serde::{Deserialize, Serialize};

use crate::error::CollateralError;
use crate::key::Key;

/// Longest item in bytes.
pub const ITEM_BYTES_MAX: usize = 4 << 20;
/// Longest index in bytes: some ten thousand items.
const INDEX_BYTES_MAX: usize = 4 << 20;

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Index {
    version: u32,
    /// SHA-256 by the name of the item, lower-case hex.
    items: BTreeMap<String, String>,
}

/// An open cache directory.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
}

/// Makes the names of temporary files of one process differ.
static TEMPORARY: AtomicU64 = AtomicU64::new(0);

impl Store {
    /// `$XDG_CACHE_HOME/hanzo/collateral`, or `~/.cache/hanzo/collateral`; `None` if neither variable is set.
    pub fn default_path() -> Option<PathBuf> {
        let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
        absolute("XDG_CACHE_HOME")
            .or_else(|| absolute("HOME").map(|home| home.join(".cache")))
            .map(|base| base.join("hanzo/collateral"))
    }

    /// Opens the directory; makes it and its parts if they are missing.
    ///
    /// # Errors
    /// [`CollateralError::Cache`]; [`CollateralError::CacheMode`] if others may write to it.
    pub fn open(root: &Path) -> Result<Self, CollateralError> {
        for dir in [root.to_path_buf(), root.join("objects")] {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&dir)
                .map_err(|e| failed("create", &dir, e))?;
            let got = fs::metadata(&dir).map_err(|e| failed("look at", &dir, e))?.mode() & 0o777;
            if got & 0o077 != 0 {
                return Err(CollateralError::CacheMode { path: dir, got });
            }
        }
        Ok(Self {
            root: root.to_path_buf(),
        })
    }

    /// Where it is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The bytes kept for `key`. A copy that is damaged or gone counts as none, and is warned of.
    ///
    /// # Errors
    /// [`CollateralError::Cache`] if the directory cannot be read.
    pub fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, CollateralError> {
        let name = key.to_string();
        // Once more if a writer replaced the item between index and object.
        for last in [false, true] {
            let Some(digest) = self.index()?.items.remove(&name) else {
                return Ok(None);
            };
            let path = self.object(&digest);
            let bytes = match read(&path, ITEM_BYTES_MAX) {
                Ok(bytes) => Some(bytes),
                Err(e) if e.kind() == io::ErrorKind::NotFound => None,
                Err(e) => return Err(failed("read", &path, e)),
            };
            match bytes {
                Some(bytes) if Digest256::of(&bytes).to_string() == digest => return Ok(Some(bytes)),
                _ if !last => {}
                damaged => tracing::warn!(
                    "cache: {name}: the copy in {} is {}: not used, and fetched again when asked for",
                    path.display(),
                    if damaged.is_some() { "damaged" } else { "gone" }
                ),
            }
        }
        Ok(None)
    }

    /// Keeps `bytes` for `key`, in place of what was there.
    ///
    /// # Errors
    /// [`CollateralError::Cache`].
    pub fn put(&self, key: &Key, bytes: &[u8]) -> Result<(), CollateralError> {
        let digest = Digest256::of(bytes).to_string();
        self.change(|store, index| {
            store.write(&store.object(&digest), bytes)?;
            index.items.insert(key.to_string(), digest);
            Ok(())
        })
    }

    /// Keeps nothing for `key` any more.
    ///
    /// # Errors
    /// [`CollateralError::Cache`].
    pub fn remove(&self, key: &Key) -> Result<(), CollateralError> {
        self.change(|_, index| {
            index.items.remove(&key.to_string());
            Ok(())
        })
    }

    /// Every item that is kept.
    ///
    /// # Errors
    /// [`CollateralError::Cache`].
    pub fn keys(&self) -> Result<Vec<Key>, CollateralError> {
        Ok(self.index()?.items.keys().filter_map(|k| k.parse().ok()).collect())
    }

    /// Changes the index under the lock, then sweeps what it no longer names.
    fn change(
        &self,
        edit: impl FnOnce(&Self, &mut Index) -> Result<(), CollateralError>,
    ) -> Result<(), CollateralError> {
        let path = self.root.join("lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(|e| failed("open", &path, e))?;
        // Released when the file is closed, also by a process that is killed.
        lock.lock().map_err(|e| failed("lock", &path, e))?;
        let mut index = self.index()?;
        index.version = 1;
        edit(self, &mut index)?;
        let path = self.root.join("index.json");
        let bytes = serde_json::to_vec_pretty(&index).map_err(|e| failed("write", &path, e.into()))?;
        self.write(&path, &bytes)?;
        self.sweep(&index);
        Ok(())
    }

    /// An index that cannot be read counts as empty, and is warned of: all it says can be fetched again.
    fn index(&self) -> Result<Index, CollateralError> {
        let path = self.root.join("index.json");
        let bytes = match read(&path, INDEX_BYTES_MAX) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Index::default()),
            Err(e) => return Err(failed("read", &path, e)),
        };
        match serde_json::from_slice::<Index>(&bytes) {
            Ok(index) if index.version == 1 && index.items.values().all(|d| Digest256::from_hex(d).is_some()) => {
                Ok(index)
            }
            _ => {
                tracing::warn!(
                    "cache: {} is damaged or of another version: starting anew",
                    path.display()
                );
                Ok(Index::default())
            }
        }
    }

    fn object(&self, digest: &str) -> PathBuf {
        self.root.join("objects").join(digest)
    }

    /// Removes objects that no item names and what killed processes left. The lock is held.
    fn sweep(&self, index: &Index) {
        for dir in [self.root.clone(), self.root.join("objects")] {
            let Ok(entries) = fs::read_dir(&dir) else { continue };
            for entry in entries.flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                let unused = Digest256::from_hex(&name).is_some() && !index.items.values().any(|d| *d == name);
                if unused || name.ends_with(".tmp") {
                    let _ = fs::remove_file(entry.path());
                }
            }
        }
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), CollateralError> {
        let number = TEMPORARY.fetch_add(1, Ordering::Relaxed);
        let temporary = path.with_extension(format!("{}.{number}.tmp", std::process::id()));
        let written = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)
            .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
            .and_then(|()| fs::rename(&temporary, path))
            .and_then(|()| path.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all()));
        written.map_err(|e| {
            let _ = fs::remove_file(&temporary);
            failed("write", path, e)
        })
    }
}

fn failed(action: &'static str, path: &Path, source: io::Error) -> CollateralError {
    CollateralError::Cache {
        action,
        path: path.to_path_buf(),
        source,
    }
}

fn read(path: &Path, limit: usize) -> io::Result<Vec<u8>> {
    let limit = limit as u64;
    let mut bytes = Vec::new();
    File::open(path)?
        .take(limit.saturating_add(1))
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "larger than anything that is kept",
        ));
    }
    Ok(bytes)
}
