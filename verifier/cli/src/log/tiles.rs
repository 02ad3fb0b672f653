//! The tiles of an export: compared with what its lines hash to, or read in place of them.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use hanzo_log::audit::{AuditError, AuditVerifier, Audited};
use hanzo_log::tile::{self, Kind, Tile, TileWriter, decode_entries};
use hanzo_log::{Completed, LogVerifier, SignedCheckpoint};

use crate::error::CliError;
use crate::trust;

/// Longest tile: a bundle of 256 entries of 65,535 bytes.
const TILE_BYTES_MAX: u64 = 256 * (65_535 + 2);

/// Builds every tile again and compares it with its file.
pub(super) struct TileCheck {
    folder: PathBuf,
    writer: TileWriter,
}

impl TileCheck {
    pub(super) fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_path_buf(),
            writer: TileWriter::default(),
        }
    }

    pub(super) fn push(
        &mut self,
        line: &[u8],
        completed: &[Completed],
        fail: impl Fn(AuditError) -> CliError,
    ) -> Result<(), CliError> {
        let full = self.writer.push(line, completed);
        let full = full.map_err(|e| fail(AuditError::Head(e)))?;
        self.compare(&full, fail)
    }

    pub(super) fn finish(mut self, fail: impl Fn(AuditError) -> CliError) -> Result<(), CliError> {
        let partial = std::mem::take(&mut self.writer).finish();
        self.compare(&partial, fail)
    }

    fn compare(&self, tiles: &[(Tile, Vec<u8>)], fail: impl Fn(AuditError) -> CliError) -> Result<(), CliError> {
        for (tile, expected) in tiles {
            let path = tile.to_string();
            match read(&self.folder, tile)? {
                None => {
                    let entry = first_entry(tile, 0);
                    return Err(fail(AuditError::TileMissing { path, entry }));
                }
                Some(found) if found != *expected => {
                    let entry = first_entry(tile, first_difference(tile, expected, &found));
                    return Err(fail(AuditError::Tile { path, entry }));
                }
                Some(_) => {}
            }
        }
        Ok(())
    }
}

pub(super) fn read(folder: &Path, tile: &Tile) -> Result<Option<Vec<u8>>, CliError> {
    let path = folder.join(tile.to_string());
    let io = |source| CliError::Io {
        action: "read",
        path: path.clone(),
        source,
    };
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(io(e)),
    };
    let mut bytes = Vec::new();
    file.take(TILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(io)?;
    Ok(Some(bytes))
}

/// Which hash or entry of the tile is the first to differ, from 0.
fn first_difference(tile: &Tile, expected: &[u8], found: &[u8]) -> u64 {
    let position = match tile.kind {
        Kind::Hashes { .. } => expected.chunks(32).zip(found.chunks(32)).position(|(a, b)| a != b),
        Kind::Entries => decode_entries(expected, tile.width)
            .ok()
            .zip(decode_entries(found, tile.width).ok())
            .and_then(|(a, b)| a.iter().zip(b).position(|(a, b)| *a != b)),
    };
    position.unwrap_or(0) as u64
}

/// The number of the first entry under a hash or entry of a tile, from 1.
pub(super) fn first_entry(tile: &Tile, within: u64) -> u64 {
    ((tile.start() + within) << tile.height()) + 1
}

/// Verifies a folder that has tiles and a checkpoint and no lines.
pub(super) fn verify(
    mut verifier: AuditVerifier<'_>,
    folder: &Path,
    log: &LogVerifier,
    fail: impl Fn(AuditError) -> CliError,
) -> Result<Audited, CliError> {
    let note = trust::read(&folder.join("checkpoint"))?;
    let signed = SignedCheckpoint::parse(&note).map_err(|e| fail(AuditError::Head(e)))?;
    let head = signed.verify(log).map_err(|e| fail(AuditError::Head(e)))?;
    let mut check = TileCheck::new(folder);
    for bundle in tile::of_level(Kind::Entries, head.size()) {
        let missing = || AuditError::TileMissing {
            path: bundle.to_string(),
            entry: first_entry(&bundle, 0),
        };
        let bytes = read(folder, &bundle)?.ok_or_else(|| fail(missing()))?;
        let entries = decode_entries(&bytes, bundle.width).map_err(|e| {
            fail(AuditError::Malformed {
                entry: first_entry(&bundle, 0),
                what: format!("{bundle}: {e}"),
            })
        })?;
        for entry in entries {
            let completed = verifier.entry(entry, None).map_err(&fail)?;
            check.push(entry, &completed, &fail)?;
        }
    }
    check.finish(&fail)?;
    verifier.head(&note).map_err(&fail)?;
    verifier.finish().map_err(fail)
}
