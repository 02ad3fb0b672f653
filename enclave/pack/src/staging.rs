//! Results appear whole or not at all: written under a temporary name, renamed at the end, removed on any failure.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::error::PackError;

/// A temporary file or directory that is removed unless it was renamed.
pub(crate) struct Staged {
    path: PathBuf,
    is_dir: bool,
    kept: bool,
}

fn temporary_name(kind: &str) -> Result<String, PackError> {
    let mut random = [0; 8];
    hanzo_pqc::random::fill(&mut random).map_err(|_| PackError::Random)?;
    Ok(format!(".hanzo-{kind}-{}", hex::encode(random)))
}

impl Staged {
    /// A fresh directory inside `parent`, mode 0700.
    pub(crate) fn dir_in(parent: &Path) -> Result<Self, PackError> {
        let path = parent.join(temporary_name("opening")?);
        DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .map_err(PackError::io("creating directory", &path))?;
        Ok(Self {
            path,
            is_dir: true,
            kept: false,
        })
    }

    /// A fresh file beside `target`, mode 0600.
    pub(crate) fn file_beside(target: &Path) -> Result<(Self, File), PackError> {
        let path = parent_of(target).join(temporary_name("sealing")?);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(PackError::io("creating", &path))?;
        let staged = Self {
            path,
            is_dir: false,
            kept: false,
        };
        Ok((staged, file))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Gives it its final name.
    pub(crate) fn rename(mut self, target: &Path) -> Result<(), PackError> {
        fs::rename(&self.path, target).map_err(|e| match e.kind() {
            std::io::ErrorKind::DirectoryNotEmpty | std::io::ErrorKind::AlreadyExists => PackError::OutputExists {
                path: target.to_owned(),
            },
            _ => PackError::io("renaming to", target)(e),
        })?;
        self.kept = true;
        Ok(())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.kept {
            // Best effort: the failure that brought us here is the one to report.
            let _ = if self.is_dir {
                fs::remove_dir_all(&self.path)
            } else {
                fs::remove_file(&self.path)
            };
        }
    }
}

/// The directory that `path` lies in.
pub(crate) fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Makes a rename in `dir` durable.
pub(crate) fn sync_dir(dir: &Path) -> Result<(), PackError> {
    File::open(dir)
        .and_then(|d| d.sync_all())
        .map_err(PackError::io("syncing directory", dir))
}
