//! A log's tree without its entries: that a newer head extends an earlier one, for whoever keeps hashes and may not read lines.

use std::path::Path;

use hanzo_attestation::UnixTime;
use hanzo_log::audit::AuditError;
use hanzo_log::tile::{self, Kind, Tile, decode_hashes};
use hanzo_log::{AuthenticCheckpoint, Frontier, LogError, LogVerifier, SignedCheckpoint, SignedDatedCheckpoint};

use super::tiles;
use crate::error::CliError;
use crate::trust;

/// A head whose two signatures verified.
pub(super) struct Head {
    pub(super) checkpoint: AuthenticCheckpoint,
    /// When the log signed it; release logs say so, brokers' logs do not.
    pub(super) time: Option<UnixTime>,
}

impl Head {
    /// Of either form: no note has both, and both signatures are the same keys'.
    pub(super) fn verify(note: &[u8], log: &LogVerifier) -> Result<Self, LogError> {
        if let Ok(dated) = SignedDatedCheckpoint::parse(note) {
            let head = dated.verify(log)?;
            return Ok(Self {
                checkpoint: head.checkpoint().clone(),
                time: Some(head.time()),
            });
        }
        Ok(Self {
            checkpoint: SignedCheckpoint::parse(note)?.verify(log)?,
            time: None,
        })
    }
}

/// Verifies a folder of a checkpoint and tiles of hashes; the head that they lead to.
pub(super) fn verify(
    folder: &Path,
    log: &LogVerifier,
    since: Option<&AuthenticCheckpoint>,
    fail: impl Fn(AuditError) -> CliError,
) -> Result<Head, CliError> {
    let note = trust::read(&folder.join("checkpoint"))?;
    let signed = Head::verify(&note, log).map_err(|e| fail(AuditError::Head(e)))?;
    let head = &signed.checkpoint;
    let size = head.size();
    if let Some(since) = since {
        if since.size() > size {
            return Err(fail(AuditError::RolledBack {
                since: since.size(),
                entries: size,
            }));
        }
        if since.size() == size && since.root() != head.root() {
            return Err(fail(AuditError::Fork { size }));
        }
    }
    let mut frontier = Frontier::default();
    // Roots of full tiles, level by level from 1.
    let mut above: Vec<Vec<u8>> = Vec::new();
    let mut extends = since.is_none_or(|since| since.size() == 0);
    for tile in tile::of_level(Kind::Hashes { level: 0 }, size) {
        let bytes = required(folder, &tile, &fail)?;
        let hashes = decode_hashes(&bytes, tile.width).map_err(|_| altered(&tile, &fail))?;
        for hash in hashes {
            let completed = frontier.push(hash).map_err(|e| fail(AuditError::Head(e)))?;
            for full in completed.iter().filter(|c| c.height > 0 && c.height.is_multiple_of(8)) {
                let level = (full.height / 8 - 1) as usize;
                above.resize_with(above.len().max(level + 1), Vec::new);
                if let Some(bytes) = above.get_mut(level) {
                    bytes.extend_from_slice(&full.hash.0);
                }
            }
            extends |= since.is_some_and(|s| s.size() == frontier.size() && s.root() == frontier.root());
        }
    }
    if frontier.root() != head.root() {
        return Err(fail(AuditError::Root { good: 0, size }));
    }
    if let (false, Some(since)) = (extends, since) {
        let since = since.size();
        return Err(fail(AuditError::Diverged { since, good: 0 }));
    }
    for (level, bytes) in (1..).zip(&above) {
        let mut rest = bytes.as_slice();
        for tile in tile::of_level(Kind::Hashes { level }, size) {
            let Some((expected, after)) = rest.split_at_checked(usize::from(tile.width) * 32) else {
                return Err(altered(&tile, &fail));
            };
            if required(folder, &tile, &fail)? != expected {
                return Err(altered(&tile, &fail));
            }
            rest = after;
        }
    }
    Ok(signed)
}

fn required(folder: &Path, tile: &Tile, fail: &impl Fn(AuditError) -> CliError) -> Result<Vec<u8>, CliError> {
    let missing = || AuditError::TileMissing {
        path: tile.to_string(),
        entry: tiles::first_entry(tile, 0),
    };
    tiles::read(folder, tile)?.ok_or_else(|| fail(missing()))
}

fn altered(tile: &Tile, fail: &impl Fn(AuditError) -> CliError) -> CliError {
    fail(AuditError::Tile {
        path: tile.to_string(),
        entry: tiles::first_entry(tile, 0),
    })
}
