//! The log's tree in the store: where it stands, what is appended, its tiles and proofs.

use hanzo_attestation::name::Name;
use hanzo_attestation::{Digest256, Digest384};
use hanzo_log::proof::{self, Subtree};
use hanzo_log::tile::{Kind, Tile, encode_entry};
use hanzo_log::tree::leaf_hash;
use hanzo_log::{Completed, Frontier};
use hanzo_verifier::receipt::{LogHead, ReceiptId};
use rusqlite::{Connection, OptionalExtension, params};

use crate::{ReceiptLogError, accounts};

pub(crate) fn broken(what: impl Into<String>) -> ReceiptLogError {
    ReceiptLogError::Tree { what: what.into() }
}

/// What a leaf is of.
pub(crate) enum Of<'a> {
    Keyset(&'a Digest384, &'a [u8]),
    Receipt(&'a ReceiptId, &'a [u8], Option<&'a Charge<'a>>),
    /// By the digest of the document. It stands where leaves of keysets do.
    Order(&'a Digest384, &'a [u8]),
}

/// Whose usage a receipt is, and how much. It stands in the row of the leaf's hash: no page of the store has one without the other.
pub(crate) struct Charge<'a> {
    pub(crate) account: &'a Name,
    pub(crate) prompt_tokens: u64,
    pub(crate) completion_tokens: u64,
}

/// Where the tree stands.
pub(crate) fn newest(db: &Connection) -> Result<Frontier, ReceiptLogError> {
    let row: Option<(i64, Vec<u8>)> = db
        .query_row("SELECT idx, frontier FROM log ORDER BY idx DESC LIMIT 1", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    match row {
        Some((index, bytes)) => Ok(Frontier::from_bytes(index as u64 + 1, &bytes)?),
        None => Ok(Frontier::default()),
    }
}

pub(crate) fn head_of(frontier: &Frontier) -> LogHead {
    LogHead {
        root: frontier.root(),
        size: frontier.size(),
    }
}

/// Level and index of a full tile's root within the level above.
fn of_tile(completed: &Completed) -> Option<(i64, i64)> {
    let is_tile = completed.height > 0 && completed.height.is_multiple_of(8);
    is_tile.then(|| (i64::from(completed.height / 8), completed.index as i64))
}

/// Appends a leaf after `frontier` within the caller's transaction.
pub(crate) fn append(tx: &Connection, frontier: &mut Frontier, leaf: &Of<'_>) -> Result<(), ReceiptLogError> {
    let (Of::Keyset(_, bytes) | Of::Receipt(_, bytes, _) | Of::Order(_, bytes)) = leaf;
    // What no bundle can hold is no leaf.
    encode_entry(&mut Vec::new(), bytes)?;
    let hash = leaf_hash(&[bytes]);
    let index = frontier.size() as i64;
    let completed = frontier.push(hash)?;
    for (level, index, hash) in completed.iter().filter_map(|c| of_tile(c).map(|(l, i)| (l, i, c.hash))) {
        tx.prepare_cached("INSERT INTO log_tiles (level, idx, hash) VALUES (?1, ?2, ?3)")?
            .execute(params![level, index, hash.0])?;
    }
    let (keyset_digest, keyset, receipt, charge) = match leaf {
        Of::Keyset(digest, bytes) | Of::Order(digest, bytes) => (Some(digest.0), Some(*bytes), None, None),
        Of::Receipt(id, _, charge) => (None, None, Some(id.0), *charge),
    };
    tx.prepare_cached(
        "INSERT INTO log (idx, hash, frontier, keyset_digest, keyset, receipt, account, prompt_tokens, completion_tokens)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?
    .execute(params![
        index,
        hash.0,
        frontier.to_bytes(),
        keyset_digest,
        keyset,
        receipt,
        charge.map(|c| c.account.as_str()),
        charge.map(|c| accounts::count(c.prompt_tokens)),
        charge.map(|c| accounts::count(c.completion_tokens))
    ])?;
    Ok(())
}

/// Whether the leaf of this keyset is there.
pub(crate) fn has_keyset(db: &Connection, digest: &Digest384) -> Result<bool, ReceiptLogError> {
    let found: i64 = db.query_row(
        "SELECT count(*) FROM log WHERE keyset_digest = ?1",
        params![digest.0],
        |row| row.get(0),
    )?;
    Ok(found > 0)
}

/// Which leaf a receipt is.
pub(crate) fn index_of(db: &Connection, id: &ReceiptId) -> Result<Option<u64>, ReceiptLogError> {
    let found: Option<i64> = db
        .query_row("SELECT idx FROM log WHERE receipt = ?1", params![id.0], |row| {
            row.get(0)
        })
        .optional()?;
    Ok(found.map(|index| index as u64))
}

/// Hashes of one level, `from` on; as many as were asked for, or the store is damaged.
fn hashes(db: &Connection, level: u8, from: u64, count: u64) -> Result<Vec<Digest256>, ReceiptLogError> {
    let sql = match level {
        0 => "SELECT hash FROM log WHERE ?1 = 0 AND idx >= ?2 AND idx < ?3 ORDER BY idx",
        _ => "SELECT hash FROM log_tiles WHERE level = ?1 AND idx >= ?2 AND idx < ?3 ORDER BY idx",
    };
    let mut statement = db.prepare_cached(sql)?;
    let rows = statement.query_map(params![level, from as i64, (from + count) as i64], |row| {
        row.get::<_, [u8; 32]>(0)
    })?;
    let hashes: Vec<Digest256> = rows.map(|row| row.map(Digest256)).collect::<Result<_, _>>()?;
    match hashes.len() as u64 == count {
        true => Ok(hashes),
        false => Err(broken(format!("level {level}: a hash from {from} on is missing"))),
    }
}

fn subtree(db: &Connection, at: Subtree) -> Result<Digest256, ReceiptLogError> {
    let within = at.height % 8;
    // No log is higher than 53 levels.
    let level = (at.height / 8) as u8;
    let hashes = hashes(db, level, at.index << within, 1 << within)?;
    Ok(hanzo_log::tree::root(&hashes))
}

/// The root when the log had `size` leaves; `None` if it has not so many.
pub(crate) fn head_at(db: &Connection, size: u64) -> Result<Option<LogHead>, ReceiptLogError> {
    if size > newest(db)?.size() {
        return Ok(None);
    }
    let root = proof::root(size, &mut |at| subtree(db, at))?;
    Ok(Some(LogHead { root, size }))
}

/// The path of leaf `index` in the tree of `size` leaves.
pub(crate) fn inclusion(db: &Connection, index: u64, size: u64) -> Result<Option<Vec<Digest256>>, ReceiptLogError> {
    proof::inclusion(index, size, &mut |at| subtree(db, at))
}

/// The bytes of a tile; `None` if a log of `size` leaves has no such tile.
pub(crate) fn tile_bytes(db: &Connection, tile: &Tile, size: u64) -> Result<Option<Vec<u8>>, ReceiptLogError> {
    if !tile.exists_in(size) {
        return Ok(None);
    }
    let (start, width) = (tile.start(), u64::from(tile.width));
    let mut bytes = Vec::new();
    match tile.kind {
        Kind::Hashes { level } => {
            for hash in hashes(db, level, start, width)? {
                bytes.extend_from_slice(&hash.0);
            }
        }
        Kind::Entries => {
            for (hash, entry) in entries(db, start, width)? {
                if leaf_hash(&[&entry]) != hash {
                    return Err(broken(format!("{tile}: a leaf is not what was appended")));
                }
                encode_entry(&mut bytes, &entry)?;
            }
        }
    }
    Ok(Some(bytes))
}

fn entries(db: &Connection, from: u64, count: u64) -> Result<Vec<(Digest256, Vec<u8>)>, ReceiptLogError> {
    let mut statement = db.prepare_cached(
        "SELECT l.hash, coalesce(l.keyset, r.document) FROM log l LEFT JOIN receipts r ON r.id = l.receipt
         WHERE l.idx >= ?1 AND l.idx < ?2 ORDER BY l.idx",
    )?;
    let rows = statement.query_map(params![from as i64, (from + count) as i64], |row| {
        Ok((Digest256(row.get(0)?), row.get(1)?))
    })?;
    let entries: Vec<_> = rows.collect::<Result<_, _>>()?;
    match entries.len() as u64 == count {
        true => Ok(entries),
        false => Err(broken(format!("a leaf from {from} on is missing"))),
    }
}

/// Builds the tree anew from its leaves' hashes and compares it with what is stored: a single older page that was put back
/// shows here, one of the accounts' too. Documents are compared when they are read.
pub(crate) fn replay(db: &Connection) -> Result<Frontier, ReceiptLogError> {
    let stored = newest(db)?;
    let mut frontier = Frontier::default();
    let mut statement = db.prepare("SELECT idx, hash FROM log ORDER BY idx")?;
    let mut rows = statement.query([])?;
    let mut tiles = 0_u64;
    while let Some(row) = rows.next()? {
        if row.get::<_, i64>(0)? as u64 != frontier.size() {
            return Err(broken(format!("leaf {} is missing", frontier.size())));
        }
        for subtree in frontier.push(Digest256(row.get(1)?))? {
            let Some((level, index)) = of_tile(&subtree) else {
                continue;
            };
            tiles += 1;
            if hashes(db, level as u8, index as u64, 1)? != [subtree.hash] {
                return Err(broken(format!("level {level}: hash {index} is not that of its tile")));
            }
        }
    }
    let counted: i64 = db.query_row("SELECT count(*) FROM log_tiles", [], |row| row.get(0))?;
    if frontier != stored || counted as u64 != tiles {
        return Err(broken("the stored tree is not that of its leaves"));
    }
    accounts::check(db)?;
    Ok(frontier)
}
