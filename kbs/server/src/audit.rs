//! The audit chain: one line per decision, written in the transaction that carries the decision out. Its lines are the
//! leaves of a Merkle tree too, whose heads the broker signs.

mod export;
mod fetch;
mod serve;
mod tree;

pub use export::Exported;
pub(crate) use export::export;
pub use fetch::fetch_audit;
pub(crate) use tree::signed_head;

use std::collections::BTreeMap;

use hanzo_attestation::jcs;
use hanzo_attestation::{Digest384, Nonce};
use hanzo_log::Frontier;
use hanzo_store::{Row, StoreError, Tx, Value};
use serde::{Deserialize, Serialize};

use crate::KbsError;
use crate::head::Head;
use crate::heads::ToldHeads;
use crate::vault::ToldKeks;

/// How many lines are read at a time.
const LINES_AT_ONCE: i64 = 512;

/// One decision. Canonical JSON; no secret, no evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Line {
    /// What it was about besides a key, in a few words of this program: a store's name, what an operator overrode.
    pub(crate) about: Option<String>,
    /// `grant`, `refuse`, or an admin's action: see SPEC.md.
    pub(crate) action: String,
    /// `ok`, or the code that the peer got.
    pub(crate) code: String,
    /// SHA-384 of the evidence that was judged.
    pub(crate) evidence: Option<Digest384>,
    /// Every rule that failed.
    pub(crate) failed: Vec<String>,
    pub(crate) key_id: String,
    /// 0 when there is no such key.
    pub(crate) key_version: u64,
    /// Of the admin request: it counts once.
    pub(crate) nonce: Option<Nonce>,
    /// SHA-384 of the wrapping key (grants) or name of the admin key.
    pub(crate) party: Digest384,
    /// SHA-384 of the release policy that was put, or that decided.
    pub(crate) policy: Option<Digest384>,
    pub(crate) seq: u64,
    /// Whether the evidence was simulated, if it was authentic.
    pub(crate) simulated: Option<bool>,
    /// The tier reached, if the evidence was appraised.
    pub(crate) tier: Option<u8>,
    /// The broker's clock.
    pub(crate) time: u64,
}

impl Line {
    /// A decision about no key yet: what does not apply is `null`, empty or 0.
    pub(crate) fn of(action: &str, party: Digest384, time: u64) -> Self {
        Self {
            about: None,
            action: action.to_owned(),
            code: "ok".to_owned(),
            evidence: None,
            failed: Vec::new(),
            key_id: String::new(),
            key_version: 0,
            nonce: None,
            party,
            policy: None,
            seq: 0,
            simulated: None,
            tier: None,
            time,
        }
    }
}

/// Where the chain stands.
pub(crate) fn head(tx: &Tx<'_>) -> Result<Option<Head>, StoreError> {
    tx.query_opt("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1", &[])?
        .map(|row| head_of_row(&row))
        .transpose()
}

/// The hash after decision `seq`, if the chain has it.
pub(crate) fn hash_at(tx: &Tx<'_>, seq: u64) -> Result<Option<Digest384>, StoreError> {
    let row = tx.query_opt("SELECT hash FROM audit WHERE seq = ?1", &[(seq as i64).into()])?;
    row.map(|row| row.array(0).map(Digest384)).transpose()
}

fn head_of_row(row: &Row) -> Result<Head, StoreError> {
    Ok(Head {
        seq: row.unsigned(0)?,
        hash: Digest384(row.array(1)?),
    })
}

/// Hands every stored line to `each`, in their order and with their head. Reads a part of them at a time.
pub(crate) fn each_line<E: From<StoreError>>(
    tx: &Tx<'_>,
    mut each: impl FnMut(Head, &str) -> Result<(), E>,
) -> Result<(), E> {
    let mut after = 0;
    loop {
        let sql = "SELECT seq, hash, line FROM audit WHERE seq > ?1 ORDER BY seq LIMIT ?2";
        let rows = tx.query(sql, &[after.into(), LINES_AT_ONCE.into()])?;
        for row in &rows {
            after = row.integer(0)?;
            each(head_of_row(row)?, row.text(2)?)?;
        }
        if rows.is_empty() {
            return Ok(());
        }
    }
}

/// Where chain and tree stand, as a transaction found them.
pub(crate) struct Place {
    head: Option<Head>,
    frontier: Frontier,
}

impl Place {
    /// The newest line's.
    pub(crate) fn head(&self) -> Option<Head> {
        self.head
    }
}

/// Where chain and tree stand.
pub(crate) fn newest(tx: &Tx<'_>) -> Result<Place, KbsError> {
    let (head, frontier) = tree::newest(tx)?;
    Ok(Place { head, frontier })
}

/// Appends `line` (its `seq` is set here) and returns the new head with the line's text.
pub(crate) fn append(tx: &Tx<'_>, line: Line) -> Result<(Head, String), KbsError> {
    append_after(tx, newest(tx)?, line)
}

/// As [`append`], at the place where this transaction found the end.
pub(crate) fn append_after(tx: &Tx<'_>, at: Place, mut line: Line) -> Result<(Head, String), KbsError> {
    let Place {
        head: previous,
        mut frontier,
    } = at;
    line.seq = previous.map_or(1, |h| h.seq + 1);
    let text = String::from_utf8_lossy(&jcs::to_vec("audit line", &line)?).into_owned();
    let next = Head {
        seq: line.seq,
        hash: link(previous.map(|h| h.hash), &text),
    };
    let completed = tree::push(&mut frontier, &text)?;
    tx.execute(
        "INSERT INTO audit (seq, line, hash, frontier) VALUES (?1, ?2, ?3, ?4)",
        &[
            (next.seq as i64).into(),
            (&text).into(),
            next.hash.as_bytes().into(),
            frontier.to_bytes().into(),
        ],
    )?;
    tree::store(tx, &completed)?;
    Ok((next, text))
}

fn link(previous: Option<Digest384>, line: &str) -> Digest384 {
    hanzo_log::audit::link(&previous.unwrap_or(Digest384([0; 48])), line.as_bytes())
}

/// What a replay found.
pub(crate) struct Replayed {
    /// The hash at each place that was asked for, as far as the chain reaches.
    pub(crate) hashes: BTreeMap<u64, Digest384>,
    /// The newest place.
    pub(crate) newest: u64,
}

/// What the lines of one version of a key tell of it.
struct Told {
    policy: Option<Digest384>,
    revoked: bool,
}

/// Replays the chain: every link, every line's place, and that grants, keys, policies, revocations and used nonces are
/// those that the lines tell of; that the tree and every head that was signed are theirs.
pub(crate) fn replay(tx: &Tx<'_>, at: &[u64]) -> Result<Replayed, KbsError> {
    let mut previous = None;
    let mut seq = 0;
    let (mut grants, mut nonces) = (0, 0);
    let mut hashes = BTreeMap::new();
    let mut tree = tree::Replay::new(tx)?;
    let mut keys = BTreeMap::<(String, u64), Told>::new();
    let mut keks = ToldKeks::default();
    let mut admin = crate::admin::Told::default();
    let mut heads = ToldHeads::default();
    each_line(tx, |stored, text| {
        seq += 1;
        let line: Line = jcs::from_slice("audit line", text.as_bytes(), 1 << 16)?;
        if stored.seq != seq || line.seq != seq || stored.hash != link(previous, text) {
            return Err(broken(format!("the chain is broken at decision {seq}")));
        }
        previous = Some(stored.hash);
        if at.contains(&seq) {
            hashes.insert(seq, stored.hash);
        }
        tree.push(tx, text)?;
        if let Some(nonce) = line.nonce {
            nonces += 1;
            let sql = "SELECT count(*) FROM admin_nonces WHERE nonce = ?1";
            if number(tx, sql, &[nonce.as_bytes().into()])? != 1 {
                return Err(broken(format!("the nonce of decision {seq} is not stored")));
            }
        }
        heads.hear(&line);
        for version in keks.hear(&line, keys.keys()) {
            if let Some(told) = keys.get_mut(&version) {
                told.revoked = true;
            }
        }
        admin.see(&line);
        let version = (line.key_id, line.key_version);
        match line.action.as_str() {
            "grant" => {
                grants += 1;
                let sql = "SELECT count(*) FROM grants WHERE audit_seq = ?1 AND key_id = ?2 AND key_version = ?3 AND recipient = ?4";
                let of_line = [
                    (seq as i64).into(),
                    (&version.0).into(),
                    (version.1 as i64).into(),
                    line.party.as_bytes().into(),
                ];
                if number(tx, sql, &of_line)? != 1 {
                    return Err(broken(format!(
                        "decision {seq} granted a key and its grant is not stored"
                    )));
                }
            }
            "put-key" | "set-policy" => {
                let told = keys.entry(version).or_insert(Told {
                    policy: None,
                    revoked: false,
                });
                told.policy = line.policy;
            }
            "revoke" => {
                if let Some(told) = keys.get_mut(&version) {
                    told.revoked = true;
                }
            }
            _ => {}
        }
        Ok::<_, KbsError>(())
    })?;
    for (table, told) in [
        ("grants", grants),
        ("admin_nonces", nonces),
        ("keys", keys.len() as u64),
    ] {
        let stored = number(tx, &format!("SELECT count(*) FROM {table}"), &[])?;
        if stored != told {
            return Err(broken(format!(
                "{table}: {stored} are stored, the decisions tell of {told}"
            )));
        }
    }
    keks.compare(tx)?;
    if let Some(what) = admin.differs(tx)? {
        return Err(broken(what));
    }
    heads.compare(tx)?;
    for ((key_id, version), told) in keys {
        compare(tx, &key_id, version, &told)?;
    }
    tree.finish(tx)?;
    Ok(Replayed { hashes, newest: seq })
}

fn compare(tx: &Tx<'_>, key_id: &str, version: u64, told: &Told) -> Result<(), KbsError> {
    let row = tx.query_opt(
        "SELECT policy, revoked FROM keys WHERE key_id = ?1 AND key_version = ?2",
        &[key_id.into(), (version as i64).into()],
    )?;
    let what = match row {
        None => "is not stored",
        Some(row) if row.flag(1)? != told.revoked => "is not revoked as the decisions tell",
        Some(row) if told.policy != Some(Digest384::of(row.text(0)?.as_bytes())) => {
            "has another policy than the decisions tell"
        }
        Some(_) => return Ok(()),
    };
    Err(broken(format!("key {key_id} version {version} {what}")))
}

fn number(tx: &Tx<'_>, sql: &str, of: &[Value]) -> Result<u64, StoreError> {
    tx.query_one(sql, of)?.unsigned(0)
}

pub(crate) fn broken(what: String) -> KbsError {
    KbsError::Audit { what }
}
