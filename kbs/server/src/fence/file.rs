//! A head in a file: beside the store, or better on another disk.
//!
//! # Layout
//! One line: `hanzo-kbs-head v1 <seq> <SHA-384, 96 hex digits>`, replaced atomically and synced.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use hanzo_store::StoreError;

use super::Fence;
use crate::KbsError;
use crate::head::Head;

pub(super) struct FileFence {
    path: PathBuf,
}

impl FileFence {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }
}

impl Fence for FileFence {
    fn place(&self) -> String {
        self.path.display().to_string()
    }

    fn read(&self) -> Result<Option<Head>, KbsError> {
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(StoreError::io("read head file", &self.path, e).into()),
        };
        let head = text.strip_suffix('\n').and_then(Head::parse);
        head.map(Some).ok_or_else(|| KbsError::File {
            what: "head file",
            path: self.path.clone(),
            detail: "not a head file of this version".into(),
        })
    }

    /// A file beside it, made, synced and removed.
    fn probe(&self) -> Result<(), KbsError> {
        let probe = self.path.with_extension("probe");
        let write = || -> std::io::Result<()> {
            let mut options = OpenOptions::new();
            let mut file = options
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&probe)?;
            file.write_all(b"probe\n")?;
            file.sync_all()?;
            fs::remove_file(&probe)
        };
        Ok(write().map_err(|e| StoreError::io("write", &probe, e))?)
    }

    fn write(&self, head: Head) -> Result<(), KbsError> {
        let temporary = self.path.with_extension("tmp");
        let write = || -> std::io::Result<()> {
            let mut file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&temporary)?;
            writeln!(file, "{head}")?;
            file.sync_all()?;
            fs::rename(&temporary, &self.path)?;
            let dir = self.path.parent().filter(|d| !d.as_os_str().is_empty());
            File::open(dir.unwrap_or(Path::new(".")))?.sync_all()
        };
        Ok(write().map_err(|e| StoreError::io("write head file", &self.path, e))?)
    }
}
