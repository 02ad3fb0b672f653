//! The directory of plaintext: opened models and engine sockets, gone when the guest ends.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::options::PlaintextStorage;

/// `struct statfs` f_type of tmpfs and ramfs (linux/magic.h).
const TMPFS_MAGIC: i64 = 0x0102_1994;
const RAMFS_MAGIC: i64 = 0x8584_58f6;
/// Longest path of a Unix socket (`sun_path` less its NUL).
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// Why there is no place for plaintext.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeDirError {
    /// A file operation failed.
    #[error("runtime directory {path}: {source}")]
    Io {
        /// Where.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// It would lie on a disk.
    #[error(
        "runtime directory {path}: expected tmpfs or ramfs, got another file system: decrypted weights would lie on the host's disk. Mount a tmpfs there"
    )]
    NotMemory {
        /// Where.
        path: PathBuf,
    },
    /// No socket fits below it.
    #[error("runtime directory {path}: too long for a Unix socket below it; use a shorter path")]
    TooLong {
        /// Where.
        path: PathBuf,
    },
}

impl RuntimeDirError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Io { .. } => "runtime_dir.io",
            Self::NotMemory { .. } => "runtime_dir.not_memory",
            Self::TooLong { .. } => "runtime_dir.too_long",
        }
    }
}

/// A fresh directory of mode 0700; removed with all it holds when dropped.
#[derive(Debug)]
pub struct RuntimeDir {
    places: Places,
}

/// What lies in a [`RuntimeDir`], for whoever outlives no part of it.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    path: PathBuf,
}

impl RuntimeDir {
    /// Makes one below `parent`, which is made if it is missing.
    ///
    /// # Errors
    /// [`RuntimeDirError`].
    pub fn create(parent: &Path, storage: PlaintextStorage) -> Result<Self, RuntimeDirError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source: std::io::Error| RuntimeDirError::Io { path, source }
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(parent)
            .map_err(failed(parent))?;
        if storage == PlaintextStorage::MemoryOnly {
            let kind = rustix::fs::statfs(parent).map_err(|e| failed(parent)(e.into()))?.f_type;
            if !matches!(kind as i64, TMPFS_MAGIC | RAMFS_MAGIC) {
                return Err(RuntimeDirError::NotMemory {
                    path: parent.to_owned(),
                });
            }
        }
        let mut name = [0; 4];
        hanzo_pqc::random::fill(&mut name).map_err(|_| failed(parent)(std::io::ErrorKind::Other.into()))?;
        let path = parent.join(format!("boot-{}", hex::encode(name)));
        DirBuilder::new().mode(0o700).create(&path).map_err(failed(&path))?;
        Ok(Self {
            places: Places { path },
        })
    }

    /// Its places.
    pub(crate) fn places(&self) -> &Places {
        &self.places
    }
}

impl Places {
    /// A directory for the files of model `index`.
    ///
    /// # Errors
    /// [`RuntimeDirError::Io`].
    pub(crate) fn model(&self, index: usize) -> Result<PathBuf, RuntimeDirError> {
        self.dir(format!("model-{index}"))
    }

    /// The same where it may be there already, empty.
    ///
    /// # Errors
    /// [`RuntimeDirError::Io`].
    pub(crate) fn model_again(&self, index: usize) -> Result<PathBuf, RuntimeDirError> {
        let path = self.path.join(format!("model-{index}"));
        match path.is_dir() {
            true => Ok(path),
            false => self.model(index),
        }
    }

    /// A directory for the base's files with the delta of model `index` on them.
    ///
    /// # Errors
    /// [`RuntimeDirError::Io`].
    pub(crate) fn merged(&self, index: usize) -> Result<PathBuf, RuntimeDirError> {
        self.dir(format!("merged-{index}"))
    }

    /// An empty directory for the root of engine `index`.
    ///
    /// # Errors
    /// [`RuntimeDirError::Io`].
    pub(crate) fn root(&self, index: usize) -> Result<PathBuf, RuntimeDirError> {
        self.dir(format!("root-{index}"))
    }

    /// A socket path for engine `index`, in a fresh directory that holds nothing else.
    ///
    /// # Errors
    /// [`RuntimeDirError::TooLong`], [`RuntimeDirError::Io`].
    pub(crate) fn socket(&self, index: usize) -> Result<PathBuf, RuntimeDirError> {
        let dir = format!("engine-{index}");
        let path = self.path.join(&dir).join("sock");
        if path.as_os_str().len() > SOCKET_PATH_BYTES_MAX {
            return Err(RuntimeDirError::TooLong {
                path: self.path.clone(),
            });
        }
        self.dir(dir)?;
        Ok(path)
    }

    /// Takes away what engine `index` had, once it is gone.
    pub(crate) fn remove_engine(&self, index: usize) {
        for name in [format!("engine-{index}"), format!("root-{index}")] {
            let path = self.path.join(name);
            match fs::remove_dir_all(&path) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                    tracing::error!(path = %path.display(), error = %e, "an engine's directory could not be removed");
                }
                _ => {}
            }
        }
    }

    fn dir(&self, name: String) -> Result<PathBuf, RuntimeDirError> {
        let path = self.path.join(name);
        match DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => Ok(path),
            Err(source) => Err(RuntimeDirError::Io { path, source }),
        }
    }
}

impl Drop for RuntimeDir {
    fn drop(&mut self) {
        let path = &self.places.path;
        if let Err(e) = fs::remove_dir_all(path) {
            tracing::error!(path = %path.display(), error = %e, "the runtime directory could not be removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn it_is_private_in_memory_if_asked_and_gone_afterwards() {
        let parent = tempfile::tempdir().unwrap();
        let dir = RuntimeDir::create(parent.path(), PlaintextStorage::AnyFileSystem).unwrap();
        assert_eq!(
            fs::metadata(&dir.places.path).unwrap().permissions().mode() & 0o777,
            0o700
        );
        fs::write(dir.places().model(0).unwrap().join("x"), b"weights").unwrap();
        let path = dir.places.path.clone();
        drop(dir);
        assert!(!path.exists());

        let proc = RuntimeDir::create(Path::new("/proc"), PlaintextStorage::MemoryOnly)
            .err()
            .unwrap();
        assert_eq!(proc.code(), "runtime_dir.not_memory");
        let long = parent.path().join("x".repeat(120));
        let dir = RuntimeDir::create(&long, PlaintextStorage::AnyFileSystem).unwrap();
        assert_eq!(dir.places().socket(0).unwrap_err().code(), "runtime_dir.too_long");
    }
}
