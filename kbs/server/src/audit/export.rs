//! The audit log as files, for auditors: `attestation/log/SPEC.md`, "Audit log".

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use hanzo_log::audit::{entry_record, head_record};
use hanzo_log::tile::{Tile, TileWriter};
use hanzo_log::{Frontier, SignedCheckpoint};
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
    progress: impl FnMut(u64, u64),
) -> Result<Exported, KbsError> {
    let folder = Folder::make(dir)?;
    fill(tx, note, &folder, progress).inspect_err(|_| folder.clear())
}

fn fill(tx: &Tx<'_>, note: &str, folder: &Folder, mut progress: impl FnMut(u64, u64)) -> Result<Exported, KbsError> {
    let dir = &folder.dir;
    let size = SignedCheckpoint::parse(note.as_bytes())?.claimed().size;
    let mut heads = BTreeMap::new();
    for row in tx.query("SELECT size, note FROM audit_heads", &[])? {
        heads.insert(row.unsigned(0)?, row.text(1)?.to_owned());
    }
    heads.insert(size, note.to_owned());
    let path = dir.join("log.jsonl");
    let io = |e| StoreError::io("write", &path, e);
    let mut lines = BufWriter::new(File::create_new(&path).map_err(io)?);
    let (mut frontier, mut writer) = (Frontier::default(), TileWriter::default());
    if size == 0 {
        writeln!(lines, "{}", head_record(note)).map_err(io)?;
    }
    each_line(tx, |head, text| {
        if head.seq > size {
            return Ok(());
        }
        writeln!(lines, "{}", entry_record(text, &head.hash)).map_err(io)?;
        let completed = tree::push(&mut frontier, text)?;
        folder.write(&writer.push(text.as_bytes(), &completed)?)?;
        if let Some(note) = heads.get(&head.seq) {
            writeln!(lines, "{}", head_record(note)).map_err(io)?;
        }
        progress(head.seq, size);
        Ok::<_, KbsError>(())
    })?;
    folder.write(&writer.finish())?;
    lines.flush().map_err(io)?;
    folder.put("checkpoint", note.as_bytes())?;
    Ok(Exported {
        entries: size,
        checkpoint: note.to_owned(),
    })
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

    /// Half an export is none, and would be in the way of the next.
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
