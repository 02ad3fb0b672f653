//! The audit chain: one line per decision, written in the transaction that carries the decision out.

use hanzo_attestation::Digest384;
use hanzo_attestation::jcs;
use hanzo_store::StoreError;
use hanzo_store::rusqlite::{Connection, OptionalExtension};
use serde::{Deserialize, Serialize};

use crate::KbsError;
use crate::head::Head;

/// One decision. Canonical JSON; no secret, no evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Line {
    /// `grant`, `refuse`, `put-key`, `set-policy` or `revoke`.
    pub(crate) action: String,
    /// `ok`, or the code that the peer got.
    pub(crate) code: String,
    /// Every rule that failed.
    pub(crate) failed: Vec<String>,
    pub(crate) key_id: String,
    /// 0 when there is no such key.
    pub(crate) key_version: u64,
    /// SHA-384 of the wrapping key (grants) or name of the admin key.
    pub(crate) party: Digest384,
    pub(crate) seq: u64,
    /// For grants: whether the evidence was simulated.
    pub(crate) simulated: Option<bool>,
    /// For grants: the tier reached.
    pub(crate) tier: Option<u8>,
    /// The broker's clock.
    pub(crate) time: u64,
}

/// Where the chain stands.
pub(crate) fn head(connection: &Connection) -> Result<Option<Head>, StoreError> {
    connection
        .query_row("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1", [], head_of_row)
        .optional()
        .map_err(StoreError::from)
}

fn head_of_row(row: &hanzo_store::rusqlite::Row<'_>) -> hanzo_store::rusqlite::Result<Head> {
    Ok(Head {
        seq: row.get::<_, i64>(0)? as u64,
        hash: Digest384(row.get::<_, [u8; 48]>(1)?),
    })
}

/// Appends `line` (its `seq` is set here) and returns the new head with the line's text.
pub(crate) fn append(connection: &Connection, mut line: Line) -> Result<(Head, String), KbsError> {
    let previous = head(connection)?;
    line.seq = previous.map_or(1, |h| h.seq + 1);
    let text = String::from_utf8_lossy(&jcs::to_vec("audit line", &line)?).into_owned();
    let next = Head {
        seq: line.seq,
        hash: link(previous.map(|h| h.hash), &text),
    };
    connection
        .execute(
            "INSERT INTO audit (seq, line, hash) VALUES (?1, ?2, ?3)",
            (next.seq as i64, &text, next.hash.as_bytes().as_slice()),
        )
        .map_err(StoreError::from)?;
    Ok((next, text))
}

fn link(previous: Option<Digest384>, line: &str) -> Digest384 {
    let mut bytes = previous.map_or(vec![0; 48], |h| h.0.to_vec());
    bytes.extend_from_slice(line.as_bytes());
    Digest384::of(&bytes)
}

/// Replays the chain: every link, every line's place, and that grants and keys are those that the lines tell of.
/// Returns the hash at `at`, if the chain reaches that far, and the newest place.
pub(crate) fn replay(connection: &Connection, at: Option<u64>) -> Result<(Option<Digest384>, u64), KbsError> {
    let broken = |what: String| KbsError::Audit { what };
    let mut previous = None;
    let mut seq = 0;
    let mut grants = 0u64;
    let mut hash_there = None;
    let mut newest_versions = std::collections::BTreeMap::<String, u64>::new();
    let mut statement = connection
        .prepare("SELECT seq, hash, line FROM audit ORDER BY seq")
        .map_err(StoreError::from)?;
    let rows = statement
        .query_map([], |row| Ok((head_of_row(row)?, row.get::<_, String>(2)?)))
        .map_err(StoreError::from)?;
    for row in rows {
        let (stored, text) = row.map_err(StoreError::from)?;
        seq += 1;
        let line: Line = jcs::from_slice("audit line", text.as_bytes(), 1 << 16)?;
        if stored.seq != seq || line.seq != seq || stored.hash != link(previous, &text) {
            return Err(broken(format!("the chain is broken at decision {seq}")));
        }
        previous = Some(stored.hash);
        if at == Some(seq) {
            hash_there = previous;
        }
        match line.action.as_str() {
            "grant" => {
                grants += 1;
                let matching: i64 = connection
                    .query_row(
                        "SELECT count(*) FROM grants WHERE audit_seq = ?1 AND key_id = ?2 AND key_version = ?3 AND recipient = ?4",
                        (seq as i64, &line.key_id, line.key_version as i64, line.party.as_bytes().as_slice()),
                        |row| row.get(0),
                    )
                    .map_err(StoreError::from)?;
                if matching != 1 {
                    return Err(broken(format!(
                        "decision {seq} granted a key and its grant is not stored"
                    )));
                }
            }
            "put-key" => {
                newest_versions.insert(line.key_id, line.key_version);
            }
            _ => {}
        }
    }
    let stored: i64 = connection
        .query_row("SELECT count(*) FROM grants", [], |row| row.get(0))
        .map_err(StoreError::from)?;
    if stored as u64 != grants {
        return Err(broken(format!(
            "{stored} grants are stored, the decisions tell of {grants}"
        )));
    }
    for (key_id, version) in newest_versions {
        let newest: Option<i64> = connection
            .query_row(
                "SELECT max(key_version) FROM keys WHERE key_id = ?1",
                [&key_id],
                |row| row.get(0),
            )
            .map_err(StoreError::from)?;
        if newest.unwrap_or(0) as u64 != version {
            return Err(broken(format!(
                "key {key_id} is stored in version {}, the decisions tell of {version}",
                newest.unwrap_or(0)
            )));
        }
    }
    Ok((hash_there, seq))
}
