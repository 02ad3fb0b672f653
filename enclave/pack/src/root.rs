//! The model directory as sealing sees it, and its weights root without sealing.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use hanzo_attestation::Digest256;
use rustix::fs::OFlags;

use crate::OnProgress;
use crate::cipher::TAG_BYTES;
use crate::error::PackError;
use crate::header::CHUNKS_MAX;
use crate::parallel::for_each_chunk;
use crate::table::{DataChunk, FILES_MAX, FileName, PackedFile, Table, chunk_leaf, data_chunks, table_bytes};

/// An opened model directory.
pub(crate) struct Source {
    pub(crate) files: Vec<PackedFile>,
    handles: Vec<(PathBuf, File)>,
}

impl Source {
    /// Opens every file of a flat directory, in byte order of names.
    pub(crate) fn open(dir: &Path) -> Result<Self, PackError> {
        let mut found = Vec::new();
        for entry in fs::read_dir(dir).map_err(PackError::io("reading directory", dir))? {
            let path = entry.map_err(PackError::io("reading directory", dir))?.path();
            let kind = fs::symlink_metadata(&path).map_err(PackError::io("reading", &path))?;
            if !kind.is_file() {
                return Err(PackError::SourceKind { path });
            }
            let Some(name) = path.file_name().and_then(|n| n.to_str()).and_then(FileName::new) else {
                return Err(PackError::SourceName { path });
            };
            found.push((name, path));
            size_ok(dir, "files", found.len() as u64, FILES_MAX as u64)?;
        }
        found.sort();
        let (mut files, mut handles) = (Vec::new(), Vec::new());
        for (name, path) in found {
            let file = fs::OpenOptions::new()
                .read(true)
                .custom_flags(OFlags::NOFOLLOW.bits() as i32) // the entry may have become a link meanwhile
                .open(&path)
                .map_err(PackError::io("opening", &path))?;
            let meta = file.metadata().map_err(PackError::io("reading", &path))?;
            if !meta.is_file() {
                return Err(PackError::SourceKind { path });
            }
            files.push(PackedFile { name, size: meta.len() });
            handles.push((path, file));
        }
        let chunks = files.iter().fold(0_u64, |sum, f| sum.saturating_add(f.chunks()));
        size_ok(dir, "files", files.len() as u64, FILES_MAX as u64)?;
        size_ok(dir, "chunks of 1 MiB", chunks, CHUNKS_MAX)?;
        debug_assert!(table_bytes(&files) <= crate::TABLE_BYTES_MAX);
        Ok(Self { files, handles })
    }

    /// Reads one chunk into `buffer`.
    pub(crate) fn read(&self, chunk: &DataChunk, buffer: &mut Vec<u8>) -> Result<(), PackError> {
        let Some((path, file)) = self.handles.get(chunk.file) else {
            return Err(PackError::Cipher { what: "a file number" });
        };
        // Room for the tag: growing later would copy. What is left of the last chunk is overwritten.
        buffer.reserve((chunk.len + TAG_BYTES).saturating_sub(buffer.len()));
        buffer.resize(chunk.len, 0);
        file.read_exact_at(buffer, chunk.offset).map_err(|e| match e.kind() {
            std::io::ErrorKind::UnexpectedEof => PackError::SourceChanged { path: path.clone() },
            _ => PackError::io("reading", path)(e),
        })
    }

    /// Fails if a file has another size than at the start.
    pub(crate) fn unchanged(&self) -> Result<(), PackError> {
        for ((path, file), packed) in self.handles.iter().zip(&self.files) {
            let now = file.metadata().map_err(PackError::io("reading", path))?.len();
            if now != packed.size {
                return Err(PackError::SourceChanged { path: path.clone() });
            }
        }
        Ok(())
    }
}

fn size_ok(dir: &Path, what: &'static str, got: u64, most: u64) -> Result<(), PackError> {
    if (1..=most).contains(&got) {
        return Ok(());
    }
    Err(PackError::SourceSize {
        path: dir.to_owned(),
        what,
        expected: format!("1 to {most}"),
        got,
    })
}

/// The weights root of the model in `dir`: what a configuration names and a pack of it will have.
///
/// # Errors
/// [`PackError`] with a `pack.source.*` code for a directory that cannot be sealed, `pack.io` otherwise.
pub fn weights_root(dir: &Path, progress: OnProgress<'_>) -> Result<Digest256, PackError> {
    let source = Source::open(dir)?;
    let chunks = data_chunks(&source.files);
    let leaves = Leaves::new(chunks.len());
    for_each_chunk(&chunks, progress, &|number, chunk, buffer| {
        source.read(chunk, buffer)?;
        leaves.set(number, chunk_leaf(buffer));
        Ok(())
    })?;
    source.unchanged()?;
    Ok(leaves.into_table(source.files).weights_root())
}

/// Leaf hashes as the workers find them.
pub(crate) struct Leaves(Mutex<Vec<Digest256>>);

impl Leaves {
    pub(crate) fn new(count: usize) -> Self {
        Self(Mutex::new(vec![Digest256([0; 32]); count]))
    }

    pub(crate) fn set(&self, number: usize, leaf: Digest256) {
        let mut leaves = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(slot) = leaves.get_mut(number) {
            *slot = leaf;
        }
    }

    pub(crate) fn into_table(self, files: Vec<PackedFile>) -> Table {
        let leaves = self.0.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
        Table { files, leaves }
    }
}
