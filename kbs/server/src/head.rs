//! The newest audit head, kept outside the store.
//!
//! # Layout
//! One line: `hanzo-kbs-head v1 <seq> <SHA-384, 96 hex digits>`, replaced atomically and synced after each commit and
//! before its reply. A store whose chain does not contain this head was put back.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use hanzo_attestation::Digest384;
use hanzo_store::StoreError;

use crate::KbsError;

const LINE_START: &str = "hanzo-kbs-head v1 ";

/// The place in the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) seq: u64,
    pub(crate) hash: Digest384,
}

/// The file that holds it.
pub(crate) struct HeadFile {
    path: PathBuf,
    newest: Mutex<u64>,
}

impl HeadFile {
    pub(crate) fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            newest: Mutex::new(0),
        }
    }

    pub(crate) fn read(&self) -> Result<Option<Head>, KbsError> {
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(StoreError::io("read head file", &self.path, e).into()),
        };
        let parsed = text.strip_prefix(LINE_START).and_then(|rest| {
            let (seq, hash) = rest.trim_end().split_once(' ')?;
            Some(Head {
                seq: seq.parse().ok()?,
                hash: Digest384::from_hex(hash)?,
            })
        });
        parsed.map(Some).ok_or_else(|| KbsError::File {
            what: "head file",
            path: self.path.clone(),
            detail: "not a head file of this version".into(),
        })
    }

    /// Writes `head` unless a newer one was written.
    pub(crate) fn advance(&self, head: Head) -> Result<(), StoreError> {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        if *newest >= head.seq {
            return Ok(());
        }
        let temporary = self.path.with_extension("tmp");
        let write = || -> std::io::Result<()> {
            let mut file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&temporary)?;
            writeln!(file, "{LINE_START}{} {}", head.seq, head.hash)?;
            file.sync_all()?;
            fs::rename(&temporary, &self.path)?;
            let dir = self.path.parent().filter(|d| !d.as_os_str().is_empty());
            File::open(dir.unwrap_or(Path::new(".")))?.sync_all()
        };
        write().map_err(|e| StoreError::io("write head file", &self.path, e))?;
        *newest = head.seq;
        Ok(())
    }
}
