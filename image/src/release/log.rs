//! The release log's directory: entries, tiles, and a dated head.
//!
//! # Layout
//! `tile/<L>/<N>[.p/<W>]` and `tile/entries/<N>[.p/<W>]` of C2SP tlog-tiles, and `checkpoint`, written last. A writer holds
//! `lock`. Before anything is signed, every entry is hashed again and the root compared with the head that is there: a log
//! that somebody changed is not continued.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};

use hanzo_attestation::Digest256;
use hanzo_log::tile::{self, Kind, TileWriter};
use hanzo_log::{Checkpoint, DatedCheckpoint, Frontier, SignedDatedCheckpoint, tree};
use hanzo_policy::release::{BUNDLE_TYPE, ReleaseBundle, ReleaseEntry};

use super::keys::LogHolder;
use super::sign::SignedRelease;
use super::{ReleaseToolError, now, read, write};
use crate::ImageError;

const HEAD: &str = "checkpoint";
const LOCK: &str = "lock";
const HEAD_BYTES_MAX: u64 = 128 * 1024;
const TILE_BYTES_MAX: u64 = 256 * (2 + 65_535);

/// A log that is being written.
pub struct ReleaseLog<'k> {
    dir: PathBuf,
    holder: &'k LogHolder,
    entries: Vec<Vec<u8>>,
    /// Removed when this is dropped.
    _lock: Lock,
}

struct Lock(PathBuf);

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

impl<'k> ReleaseLog<'k> {
    /// Opens a log, or begins one in a directory without a head, and checks it whole.
    ///
    /// # Errors
    /// [`ReleaseToolError::Busy`], [`ReleaseToolError::Broken`], [`ReleaseToolError::Log`].
    pub fn open(dir: &Path, holder: &'k LogHolder) -> Result<Self, ImageError> {
        fs::create_dir_all(dir).map_err(ImageError::io(dir))?;
        let path = dir.join(LOCK);
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(|e| match e.kind() {
                std::io::ErrorKind::AlreadyExists => ReleaseToolError::Busy { path: path.clone() }.into(),
                _ => ImageError::io(&path)(e),
            })?;
        let lock = Lock(path);
        let mut log = Self {
            dir: dir.to_owned(),
            holder,
            entries: Vec::new(),
            _lock: lock,
        };
        if dir.join(HEAD).exists() {
            log.load()?;
        }
        Ok(log)
    }

    fn broken(&self, what: &'static str) -> ImageError {
        ReleaseToolError::Broken {
            path: self.dir.clone(),
            what,
        }
        .into()
    }

    fn load(&mut self) -> Result<(), ImageError> {
        let note = read(&self.dir.join(HEAD), HEAD_BYTES_MAX)?;
        let head = SignedDatedCheckpoint::parse(&note)
            .and_then(|signed| signed.verify(&self.holder.verifier))
            .map_err(ReleaseToolError::from)?;
        let size = head.checkpoint().size();
        for bundle in tile::of_level(Kind::Entries, size) {
            let bytes = read(&self.dir.join(bundle.to_string()), TILE_BYTES_MAX)?;
            let entries = tile::decode_entries(&bytes, bundle.width).map_err(ReleaseToolError::from)?;
            self.entries.extend(entries.into_iter().map(<[u8]>::to_vec));
        }
        match tree::root(&self.leaves()) == head.checkpoint().root() {
            true => Ok(()),
            false => Err(self.broken("the entries are not those that the head was signed over")),
        }
    }

    fn leaves(&self) -> Vec<Digest256> {
        self.entries.iter().map(|entry| tree::leaf_hash(&[entry])).collect()
    }

    /// How many entries there are.
    pub fn size(&self) -> usize {
        self.entries.len()
    }

    /// Takes an entry; its number. One that is there already is not taken twice.
    ///
    /// # Errors
    /// [`ReleaseToolError::Log`] for an entry that no tile holds.
    pub fn push(&mut self, entry: Vec<u8>) -> Result<usize, ImageError> {
        if let Some(at) = self.entries.iter().position(|known| *known == entry) {
            return Ok(at);
        }
        self.entries.push(entry);
        Ok(self.entries.len() - 1)
    }

    /// Writes tiles and a new head, dated by this machine's clock; the head's note.
    ///
    /// # Errors
    /// [`ImageError`]; the head before still stands then.
    pub fn commit(&self) -> Result<String, ImageError> {
        let (mut frontier, mut writer) = (Frontier::default(), TileWriter::default());
        let mut tiles = Vec::new();
        for entry in &self.entries {
            let completed = frontier
                .push(tree::leaf_hash(&[entry]))
                .map_err(ReleaseToolError::from)?;
            tiles.extend(writer.push(entry, &completed).map_err(ReleaseToolError::from)?);
        }
        tiles.extend(writer.finish());
        for (tile, bytes) in tiles {
            let path = self.dir.join(tile.to_string());
            // A tile never changes.
            if !path.exists() {
                if let Some(parent) = path.parent() {
                    fs::create_dir_all(parent).map_err(ImageError::io(parent))?;
                }
                write(&path, &bytes)?;
            }
        }
        let dated = DatedCheckpoint {
            checkpoint: Checkpoint {
                origin: self.holder.verifier.origin().clone(),
                size: frontier.size(),
                root: frontier.root(),
            },
            time: now(),
        };
        let signature = self
            .holder
            .keys
            .sign_note(&dated.text())
            .map_err(ReleaseToolError::from)?;
        let note = SignedDatedCheckpoint::assemble(dated, &self.holder.verifier, &signature)
            .map_err(ReleaseToolError::from)?
            .to_text();
        write(&self.dir.join(HEAD), note.as_bytes())?;
        Ok(note)
    }

    fn proven(&self, leaves: &[Digest256], entry: &mut ReleaseEntry) -> Result<(), ImageError> {
        let text = entry.manifest.log_entry().map_err(ReleaseToolError::from)?;
        let index = self.entries.iter().position(|known| *known == text);
        let index = index.ok_or_else(|| self.broken("a release of the bundle is not in it"))?;
        entry.index = index as u64;
        entry.path = tree::inclusion_path(leaves, index).unwrap_or_default();
        Ok(())
    }

    /// Proves all that a bundle holds under a head that is signed now.
    ///
    /// # Errors
    /// [`ReleaseToolError::Broken`] if a release of it is not in this log.
    pub fn refresh(&self, mut bundle: ReleaseBundle) -> Result<ReleaseBundle, ImageError> {
        let leaves = self.leaves();
        for entry in bundle.rotations.iter_mut().chain([&mut bundle.release]) {
            self.proven(&leaves, entry)?;
        }
        bundle.checkpoint = self.commit()?;
        Ok(bundle)
    }

    /// Takes a signed release in and makes its bundle. From the bundle before come the rotations, and that release itself
    /// if it named new keys.
    ///
    /// # Errors
    /// As [`ReleaseLog::refresh`].
    pub fn append(
        &mut self,
        signed: SignedRelease,
        before: Option<ReleaseBundle>,
    ) -> Result<ReleaseBundle, ImageError> {
        self.push(signed.manifest.log_entry().map_err(ReleaseToolError::from)?)?;
        let mut rotations = Vec::new();
        if let Some(before) = before {
            rotations = before.rotations;
            if before.release.manifest.next_keys.is_some() {
                rotations.push(before.release);
            }
        }
        self.refresh(ReleaseBundle {
            checkpoint: String::new(),
            release: ReleaseEntry {
                index: 0,
                manifest: signed.manifest,
                path: Vec::new(),
                signatures: signed.signatures,
            },
            rotations,
            kind: BUNDLE_TYPE.to_owned(),
        })
    }
}
