//! The audit log as files, for auditors: `attestation/log/SPEC.md`, "Audit log".

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use hanzo_attestation::Digest384;
use hanzo_log::audit::{entry_record, head_record};
use hanzo_log::tile::{Tile, TileWriter};
use hanzo_log::{Completed, Frontier, SignedCheckpoint};
use hanzo_store::{StoreError, Tx};

use super::{each_line, tree};
use crate::KbsError;

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// How many entries.
    pub entries: u64,
    /// The newest head, as `checkpoint` in the folder says it.
    pub checkpoint: String,
}

/// Writes every line up to the signed head `note` into `dir`, which must be empty or missing. After an error it is empty.
pub(crate) fn export(
    tx: &Tx<'_>,
    note: &str,
    dir: &Path,
    mut progress: impl FnMut(u64, u64),
) -> Result<Exported, KbsError> {
    let size = SignedCheckpoint::parse(note.as_bytes())?.claimed().size;
    let mut heads = BTreeMap::new();
    for row in tx.query("SELECT size, note FROM audit_heads", &[])? {
        heads.insert(row.unsigned(0)?, row.text(1)?.to_owned());
    }
    heads.remove(&size);
    let (mut export, mut frontier) = (Export::begin(dir)?, Frontier::default());
    each_line(tx, |head, text| {
        if head.seq > size {
            return Ok(());
        }
        export.entry(text, &head.hash, &tree::push(&mut frontier, text)?)?;
        if let Some(note) = heads.get(&head.seq) {
            export.head(note)?;
        }
        progress(head.seq, size);
        Ok::<_, KbsError>(())
    })?;
    export.finish(note)?;
    Ok(Exported {
        entries: size,
        checkpoint: note.to_owned(),
    })
}

/// An export that is being written.
pub(crate) struct Export {
    folder: Folder,
    path: PathBuf,
    lines: BufWriter<File>,
    tiles: TileWriter,
    is_whole: bool,
}

/// Half an export is none, and would be in the way of the next.
impl Drop for Export {
    fn drop(&mut self) {
        if !self.is_whole {
            self.folder.clear();
        }
    }
}

impl Export {
    /// Into `dir`, which must be empty or missing, and is empty again unless this comes to its end.
    pub(crate) fn begin(dir: &Path) -> Result<Self, KbsError> {
        let folder = Folder::make(dir)?;
        let path = dir.join("log.jsonl");
        let lines = File::create_new(&path).map_err(|e| StoreError::io("write", &path, e))?;
        Ok(Self {
            folder,
            path,
            lines: BufWriter::new(lines),
            tiles: TileWriter::default(),
            is_whole: false,
        })
    }

    /// The next line, with its link and what it completes.
    pub(crate) fn entry(&mut self, text: &str, hash: &Digest384, completed: &[Completed]) -> Result<(), KbsError> {
        self.record(&entry_record(text, hash))?;
        self.folder.write(&self.tiles.push(text.as_bytes(), completed)?)
    }

    /// The signed head of the lines so far.
    pub(crate) fn head(&mut self, note: &str) -> Result<(), KbsError> {
        self.record(&head_record(note))
    }

    /// Ends with the newest head.
    pub(crate) fn finish(mut self, note: &str) -> Result<(), KbsError> {
        self.head(note)?;
        self.folder.write(&std::mem::take(&mut self.tiles).finish())?;
        let flushed = self.lines.flush();
        flushed.map_err(|e| StoreError::io("write", &self.path, e))?;
        self.folder.put("checkpoint", note.as_bytes())?;
        self.is_whole = true;
        Ok(())
    }

    fn record(&mut self, record: &str) -> Result<(), KbsError> {
        Ok(writeln!(self.lines, "{record}").map_err(|e| StoreError::io("write", &self.path, e))?)
    }
}

struct Folder {
    dir: PathBuf,
}

impl Folder {
    fn make(dir: &Path) -> Result<Self, KbsError> {
        fs::create_dir_all(dir).map_err(|e| StoreError::io("make folder", dir, e))?;
        let mut there = fs::read_dir(dir).map_err(|e| StoreError::io("read folder", dir, e))?;
        if let Some(Ok(entry)) = there.next() {
            return Err(KbsError::Exists { path: entry.path() });
        }
        Ok(Self { dir: dir.to_owned() })
    }

    fn clear(&self) {
        for entry in fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            let path = entry.path();
            let _ = match path.is_dir() {
                true => fs::remove_dir_all(path),
                false => fs::remove_file(path),
            };
        }
    }

    fn write(&self, tiles: &[(Tile, Vec<u8>)]) -> Result<(), KbsError> {
        tiles
            .iter()
            .try_for_each(|(tile, bytes)| self.put(&tile.to_string(), bytes))
    }

    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), KbsError> {
        let path = self.dir.join(name);
        let parent = path.parent().unwrap_or(&self.dir);
        let write = fs::create_dir_all(parent).and_then(|()| fs::write(&path, bytes));
        Ok(write.map_err(|e| StoreError::io("write", &path, e))?)
    }
}
