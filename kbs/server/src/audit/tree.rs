//! The Merkle tree over the audit lines: where it stands, its tiles, its signed heads.
//!
//! With each line the frontier after it is stored, so that the next append and any head cost no walk over the lines; of
//! the hashes, only roots of full tiles are (one for 256 lines).

use hanzo_attestation::Digest256;
use hanzo_log::tile::{Kind, Tile, encode_entry};
use hanzo_log::tree::leaf_hash;
use hanzo_log::{Checkpoint, Completed, Frontier, SignedCheckpoint};
use hanzo_store::Tx;

use super::{broken, each_line, number};
use crate::KbsError;
use crate::head::Head;
use crate::identity::Identity;

/// Where chain and tree stand.
pub(super) fn newest(tx: &Tx<'_>) -> Result<(Option<Head>, Frontier), KbsError> {
    let row = tx.query_opt("SELECT seq, hash, frontier FROM audit ORDER BY seq DESC LIMIT 1", &[])?;
    let Some(row) = row else {
        return Ok((None, Frontier::default()));
    };
    let head = super::head_of_row(&row)?;
    let frontier = match row.opt_blob(2)? {
        Some(bytes) => Frontier::from_bytes(head.seq, bytes)?,
        None => from_lines(tx)?,
    };
    Ok((Some(head), frontier))
}

/// For lines from before there was a tree: builds it, once.
fn from_lines(tx: &Tx<'_>) -> Result<Frontier, KbsError> {
    let mut frontier = Frontier::default();
    each_line(tx, |_, text| {
        let completed = push(&mut frontier, text)?;
        store(tx, &completed)
    })?;
    Ok(frontier)
}

/// Appends a line; what it completes.
pub(super) fn push(frontier: &mut Frontier, text: &str) -> Result<Vec<Completed>, KbsError> {
    if text.len() > usize::from(u16::MAX) {
        return Err(hanzo_log::LogError::EntryTooLong { got: text.len() }.into());
    }
    Ok(frontier.push(leaf_hash(&[text.as_bytes()]))?)
}

/// Level and index of a full tile's root within the level above.
fn of_tile(completed: &Completed) -> Option<(i64, i64)> {
    let is_tile = completed.height > 0 && completed.height.is_multiple_of(8);
    is_tile.then(|| (i64::from(completed.height / 8), completed.index as i64))
}

/// Stores the roots of full tiles.
pub(super) fn store(tx: &Tx<'_>, completed: &[Completed]) -> Result<(), KbsError> {
    for subtree in completed {
        if let Some((level, index)) = of_tile(subtree) {
            tx.execute(
                "INSERT INTO audit_tiles (level, idx, hash) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
                &[level.into(), index.into(), (&subtree.hash.0).into()],
            )?;
        }
    }
    Ok(())
}

/// The newest head of the log with both signatures. It is kept, so that whoever compares exports finds it again.
pub(crate) fn signed_head(tx: &Tx<'_>, identity: &Identity) -> Result<(Option<Head>, String), KbsError> {
    let (head, frontier) = newest(tx)?;
    let size = frontier.size();
    if let Some(note) = stored_head(tx, size)? {
        return Ok((head, note));
    }
    let note = sign(&frontier, identity)?;
    if size > 0 {
        tx.execute(
            "INSERT INTO audit_heads (size, note) VALUES (?1, ?2)",
            &[(size as i64).into(), (&note).into()],
        )?;
    }
    Ok((head, note))
}

/// The head of so many lines, if it was signed before.
pub(super) fn stored_head(tx: &Tx<'_>, size: u64) -> Result<Option<String>, KbsError> {
    let row = tx.query_opt("SELECT note FROM audit_heads WHERE size = ?1", &[(size as i64).into()])?;
    Ok(row.map(|row| row.text(0).map(str::to_owned)).transpose()?)
}

/// Signs the head of a tree.
pub(super) fn sign(frontier: &Frontier, identity: &Identity) -> Result<String, KbsError> {
    let checkpoint = Checkpoint {
        origin: identity.log_verifier.origin().clone(),
        size: frontier.size(),
        root: frontier.root(),
    };
    let signature = identity.log.sign_note(&checkpoint.text())?;
    Ok(SignedCheckpoint::assemble(checkpoint, &identity.log_verifier, &signature)?.to_text())
}

/// The bytes of a tile; `None` if the log has no such tile.
pub(super) fn tile_bytes(tx: &Tx<'_>, tile: &Tile) -> Result<Option<Vec<u8>>, KbsError> {
    let size = super::head(tx)?.map_or(0, |h| h.seq);
    if !tile.exists_in(size) {
        return Ok(None);
    }
    let (start, width) = (tile.start() as i64, i64::from(tile.width));
    let mut bytes = Vec::new();
    let level = match tile.kind {
        Kind::Hashes { level } if level > 0 => i64::from(level),
        kind => {
            let sql = "SELECT line FROM audit WHERE seq > ?1 AND seq <= ?2 ORDER BY seq";
            for row in tx.query(sql, &[start.into(), (start + width).into()])? {
                match kind {
                    Kind::Entries => encode_entry(&mut bytes, row.text(0)?.as_bytes())?,
                    Kind::Hashes { .. } => bytes.extend_from_slice(&leaf_hash(&[row.text(0)?.as_bytes()]).0),
                }
            }
            return Ok(Some(bytes));
        }
    };
    let sql = "SELECT hash FROM audit_tiles WHERE level = ?1 AND idx >= ?2 AND idx < ?3 ORDER BY idx";
    for row in tx.query(sql, &[level.into(), start.into(), (start + width).into()])? {
        bytes.extend_from_slice(row.blob(0)?);
    }
    match bytes.len() == usize::from(tile.width) * Digest256::LEN {
        true => Ok(Some(bytes)),
        false => Err(broken(format!("{tile}: a stored hash is missing"))),
    }
}

/// Builds the tree anew and compares it with what is stored.
pub(super) struct Replay {
    frontier: Frontier,
    stored: Frontier,
    tiles: u64,
    heads: Vec<(u64, String)>,
}

impl Replay {
    pub(super) fn new(tx: &Tx<'_>) -> Result<Self, KbsError> {
        let mut heads = Vec::new();
        // Newest first, so that the next one is taken from the end.
        for row in tx.query("SELECT size, note FROM audit_heads ORDER BY size DESC", &[])? {
            heads.push((row.unsigned(0)?, row.text(1)?.to_owned()));
        }
        let row = tx.query_opt("SELECT seq, frontier FROM audit ORDER BY seq DESC LIMIT 1", &[])?;
        let stored = match &row {
            Some(row) => match row.opt_blob(1)? {
                Some(bytes) => Frontier::from_bytes(row.unsigned(0)?, bytes)?,
                None => Frontier::default(),
            },
            None => Frontier::default(),
        };
        Ok(Self {
            frontier: Frontier::default(),
            stored,
            tiles: 0,
            heads,
        })
    }

    pub(super) fn push(&mut self, tx: &Tx<'_>, text: &str) -> Result<(), KbsError> {
        let completed = push(&mut self.frontier, text)?;
        for subtree in &completed {
            let Some((level, index)) = of_tile(subtree) else {
                continue;
            };
            let sql = "SELECT count(*) FROM audit_tiles WHERE level = ?1 AND idx = ?2 AND hash = ?3";
            let found = number(tx, sql, &[level.into(), index.into(), (&subtree.hash.0).into()])?;
            self.tiles += found;
        }
        let size = self.frontier.size();
        while let Some((_, note)) = self.heads.pop_if(|(at, _)| *at == size) {
            let claimed = SignedCheckpoint::parse(note.as_bytes())?;
            if claimed.claimed().size != size || claimed.claimed().root != self.frontier.root() {
                return Err(broken(format!(
                    "a signed head of {size} decisions is not that of the chain"
                )));
            }
        }
        Ok(())
    }

    pub(super) fn finish(self, tx: &Tx<'_>) -> Result<(), KbsError> {
        // Lines from before there was a tree have none; the next append builds it.
        let is_stored = self.stored.size() > 0 || self.frontier.size() == 0;
        if is_stored && self.stored != self.frontier {
            return Err(broken("the stored tree is not that of the chain".into()));
        }
        if let Some((size, _)) = self.heads.first() {
            return Err(broken(format!(
                "a head of {size} decisions was signed, and they are not there"
            )));
        }
        let tiles = number(tx, "SELECT count(*) FROM audit_tiles", &[])?;
        match is_stored && tiles != self.tiles {
            true => Err(broken("the stored tiles are not those of the chain".into())),
            false => Ok(()),
        }
    }
}
