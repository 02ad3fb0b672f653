//! Heads of guests' stores: who may write one, and where it stands.
//!
//! A guest may lease the head of a store whose data key it was granted, by the very wrapping key of that grant. Each
//! lease, move, renewal, release and refusal of a guest that proved itself has its line in the audit chain, written with
//! it; the replay compares them.

use std::collections::BTreeMap;

use hanzo_attestation::name::KeyId;
use hanzo_attestation::{Digest256, Digest384, jcs};
use hanzo_kbs_protocol::heads::{HeadAction, HeadError, HeadRequest, HeadState, LeaseKey, LeaseReply, StoreHead};
use hanzo_store::{StoreError, Tx};

use crate::KbsError;
use crate::audit::{self, Line, broken};
use crate::broker::{Broker, newest, now};
use crate::head::Head;
use crate::sessions::Attested;

/// Why a head was not leased or moved.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HeadRefusal {
    #[error("head: the request is for another store than its path")]
    Path,
    #[error("head: a session is needed to acquire a lease, and an HPKE wrapping key")]
    Session,
    #[error("head: this guest was not granted the store's data key, or the key is revoked")]
    NoGrant,
    #[error("head: another writer has the lease for {left_s} s more")]
    Held { left_s: u64 },
    #[error("head: token: the lease is another writer's now, or there is none")]
    Token,
    #[error("head: the lease is over: acquire it again")]
    Over,
    #[error("head: old: the head is not where the request says: it has {size} entries")]
    Conflict { size: u64 },
    #[error("head: new: heads only move forward: from {old} entries to {new}")]
    Backward { old: u64, new: u64 },
    #[error(transparent)]
    Message(#[from] HeadError),
    #[error(transparent)]
    Broker(#[from] KbsError),
}

impl From<StoreError> for HeadRefusal {
    fn from(e: StoreError) -> Self {
        Self::Broker(e.into())
    }
}

impl HeadRefusal {
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Path => "kbs.head.path",
            Self::Session => "kbs.head.session",
            Self::NoGrant => "kbs.head.no_grant",
            Self::Held { .. } => "kbs.head.held",
            Self::Token => "kbs.head.token",
            Self::Over => "kbs.head.lease_over",
            Self::Conflict { .. } => "kbs.head.conflict",
            Self::Backward { .. } => "kbs.head.backward",
            Self::Message(_) => "kbs.head.message",
            Self::Broker(_) => "kbs.internal",
        }
    }

    /// Whether it is a decision about a guest that proved who it is.
    fn is_decision(&self) -> bool {
        matches!(
            self,
            Self::NoGrant | Self::Held { .. } | Self::Over | Self::Conflict { .. } | Self::Backward { .. }
        )
    }
}

/// A stored head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Fenced {
    head: StoreHead,
    token: u64,
    writer: Digest384,
    until: u64,
}

/// What a transaction comes to: the outcome and, if it is a decision, its line.
type Decided<T> = (Result<T, HeadRefusal>, Option<(Head, String)>);

impl Broker {
    /// Carries a request about the store `path` out; it is on the disk, and every fence holds it, when this returns.
    pub(crate) fn head(&self, path: &KeyId, body: &[u8], by: Option<&Attested>) -> Result<Vec<u8>, HeadRefusal> {
        let request = HeadRequest::parse(body)?;
        if request.ask.store != *path {
            return Err(HeadRefusal::Path);
        }
        match (&request.ask.action, by) {
            (HeadAction::Acquire { lease_s }, Some(by)) => self.acquire(&request, *lease_s, by),
            (HeadAction::Acquire { .. }, None) => Err(HeadRefusal::Session),
            _ => self.under_lease(&request),
        }
    }

    fn acquire(&self, request: &HeadRequest, lease_s: u64, by: &Attested) -> Result<Vec<u8>, HeadRefusal> {
        let (store, now) = (&request.ask.store, now().0);
        let writer_key = by.body.wrap_key.hpke().ok_or(HeadRefusal::Session)?;
        let writer = by.body.wrap_key.recipient();
        let fenced = self.decide_head(store, writer, "head-acquire", now, |tx| {
            may_write(tx, store, &writer)?;
            let was = read(tx, store)?;
            if let Some(other) = was.filter(|f| f.until > now && f.writer != writer) {
                return Err(HeadRefusal::Held {
                    left_s: other.until - now,
                });
            }
            Ok(Fenced {
                head: was.map_or(StoreHead::empty(), |f| f.head),
                token: was.map_or(0, |f| f.token) + 1,
                writer,
                until: now + lease_s,
            })
        })?;
        let key = LeaseKey::derive(self.identity.lease_secret()?.as_ref(), store, fenced.token, &writer)?;
        let reply = LeaseReply::seal(state(request, &fenced, now), &key, writer_key, &self.identity.signer)?;
        Ok(jcs::to_vec("lease", &reply).map_err(KbsError::from)?)
    }

    fn under_lease(&self, request: &HeadRequest) -> Result<Vec<u8>, HeadRefusal> {
        let (store, now) = (&request.ask.store, now().0);
        let (name, token) = match &request.ask.action {
            HeadAction::Advance { token, .. } => ("head-advance", *token),
            HeadAction::Renew { token, .. } => ("head-renew", *token),
            HeadAction::Release { token } => ("head-release", *token),
            HeadAction::Acquire { .. } => return Err(HeadRefusal::Session),
        };
        // Of no lease but the newest is the writer known, and with it the key.
        let held = self.db.read(|tx| read(tx, store))?.filter(|f| f.token == token);
        let writer = held.ok_or(HeadRefusal::Token)?.writer;
        let key = LeaseKey::derive(self.identity.lease_secret()?.as_ref(), store, token, &writer)?;
        key.check_request(request)?;
        let fenced = self.decide_head(store, writer, name, now, |tx| {
            may_write(tx, store, &writer)?;
            // Another may have come between.
            let held = read(tx, store)?
                .filter(|f| f.token == token)
                .ok_or(HeadRefusal::Token)?;
            step(&request.ask.action, held, now)
        })?;
        let reply = key.reply(state(request, &fenced, now))?;
        Ok(jcs::to_vec("head reply", &reply).map_err(KbsError::from)?)
    }

    /// One transaction: the decision, the row, the line.
    fn decide_head(
        &self,
        store: &KeyId,
        writer: Digest384,
        name: &str,
        now: u64,
        decide: impl FnOnce(&Tx<'_>) -> Result<Fenced, HeadRefusal>,
    ) -> Result<Fenced, HeadRefusal> {
        let (outcome, line): Decided<Fenced> = self.db.write(|tx| {
            let mut line = Line::of(name, writer, now);
            line.key_id = store.to_string();
            match decide(tx) {
                Ok(fenced) => {
                    write(tx, store, &fenced)?;
                    line.about = Some(told(&fenced));
                    Ok::<_, HeadRefusal>((Ok(fenced), Some(audit::append(tx, line)?)))
                }
                Err(refusal) if refusal.is_decision() => {
                    line.action = "head-refuse".into();
                    line.code = refusal.code().into();
                    line.about = Some(name.to_owned());
                    Ok((Err(refusal), Some(audit::append(tx, line)?)))
                }
                Err(refusal) => Err(refusal),
            }
        })?;
        if let Some((head, text)) = line {
            self.record(head, &text)?;
        }
        outcome
    }
}

/// What a request under a lease leads to.
fn step(action: &HeadAction, held: Fenced, now: u64) -> Result<Fenced, HeadRefusal> {
    if held.until <= now {
        return Err(HeadRefusal::Over);
    }
    match action {
        HeadAction::Advance { lease_s, new, old, .. } => {
            // The reply to the same request was lost.
            let again = held.head == *new && old.size < new.size;
            if held.head != *old && !again {
                return Err(HeadRefusal::Conflict { size: held.head.size });
            }
            if new.size <= old.size {
                return Err(HeadRefusal::Backward {
                    old: old.size,
                    new: new.size,
                });
            }
            Ok(Fenced {
                head: *new,
                until: now + lease_s,
                ..held
            })
        }
        HeadAction::Renew { lease_s, .. } => Ok(Fenced {
            until: now + lease_s,
            ..held
        }),
        HeadAction::Release { .. } => Ok(Fenced { until: now, ..held }),
        HeadAction::Acquire { .. } => Err(HeadRefusal::Session),
    }
}

fn state(request: &HeadRequest, fenced: &Fenced, now: u64) -> HeadState {
    HeadState {
        head: fenced.head,
        lease_s: fenced.until.saturating_sub(now),
        nonce: request.ask.nonce,
        store: request.ask.store.clone(),
        token: fenced.token,
    }
}

/// A guest writes what it can read: the newest version of the store's data key was granted to its wrapping key, and the
/// key lives.
fn may_write(tx: &Tx<'_>, store: &KeyId, writer: &Digest384) -> Result<(), HeadRefusal> {
    let key = newest(tx, store)?.filter(|key| !key.revoked);
    let granted = tx
        .query_one(
            "SELECT count(*) FROM grants WHERE key_id = ?1 AND recipient = ?2",
            &[store.to_string().into(), writer.as_bytes().into()],
        )?
        .unsigned(0)?;
    match key.is_some() && granted > 0 {
        true => Ok(()),
        false => Err(HeadRefusal::NoGrant),
    }
}

fn read(tx: &Tx<'_>, store: &KeyId) -> Result<Option<Fenced>, StoreError> {
    let sql = "SELECT size, root, token, writer, lease_until FROM store_heads WHERE store = ?1";
    let row = tx.query_opt(sql, &[store.to_string().into()])?;
    row.map(|row| {
        Ok(Fenced {
            head: StoreHead {
                size: row.unsigned(0)?,
                root: Digest256(row.array(1)?),
            },
            token: row.unsigned(2)?,
            writer: Digest384(row.array(3)?),
            until: row.unsigned(4)?,
        })
    })
    .transpose()
}

fn write(tx: &Tx<'_>, store: &KeyId, fenced: &Fenced) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO store_heads (store, size, root, token, writer, lease_until) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (store) DO UPDATE SET size = ?2, root = ?3, token = ?4, writer = ?5, lease_until = ?6",
        &[
            store.to_string().into(),
            (fenced.head.size as i64).into(),
            (&fenced.head.root.0).into(),
            (fenced.token as i64).into(),
            fenced.writer.as_bytes().into(),
            (fenced.until as i64).into(),
        ],
    )
    .map(drop)
}

/// The line of an operator who set a store's head.
pub(crate) const ACCEPTED: &str = "accept-store-head";

/// Whether there is this version of a key.
pub(crate) fn has_version(tx: &Tx<'_>, key_id: &KeyId, version: u64) -> Result<bool, StoreError> {
    let sql = "SELECT count(*) FROM keys WHERE key_id = ?1 AND key_version = ?2";
    let version = i64::try_from(version).unwrap_or(i64::MAX);
    let row = tx.query_one(sql, &[key_id.to_string().into(), version.into()])?;
    Ok(row.unsigned(0)? > 0)
}

/// How the head of a store stands, as a line tells it.
pub(crate) fn told_of(tx: &Tx<'_>, store: &KeyId) -> Result<Option<String>, StoreError> {
    Ok(read(tx, store)?.map(|fenced| told(&fenced)))
}

/// Sets the head of a store to what its guest has, and ends every lease of it; how the line tells of it. `None` if there is no
/// head of this store.
pub(crate) fn accept(
    tx: &Tx<'_>,
    store: &KeyId,
    head: StoreHead,
    (by, now): (Digest384, u64),
) -> Result<Option<String>, StoreError> {
    let Some(was) = read(tx, store)? else { return Ok(None) };
    let fenced = Fenced {
        head,
        token: was.token + 1,
        writer: by,
        until: now,
    };
    write(tx, store, &fenced)?;
    Ok(Some(told(&fenced)))
}

/// How a line tells of a head: size, root, token, end of the lease.
fn told(fenced: &Fenced) -> String {
    format!(
        "{} {} {} {}",
        fenced.head.size, fenced.head.root, fenced.token, fenced.until
    )
}

/// What the lines tell of heads.
#[derive(Default)]
pub(crate) struct ToldHeads(BTreeMap<String, (String, Digest384)>);

impl ToldHeads {
    /// Takes a line into account.
    pub(crate) fn hear(&mut self, line: &Line) {
        let moves = ["head-acquire", "head-advance", "head-renew", "head-release", ACCEPTED];
        if let (true, Some(about)) = (moves.contains(&line.action.as_str()), &line.about) {
            self.0.insert(line.key_id.clone(), (about.clone(), line.party));
        }
    }

    /// Compares the table with them.
    pub(crate) fn compare(self, tx: &Tx<'_>) -> Result<(), KbsError> {
        let stored = tx.query_one("SELECT count(*) FROM store_heads", &[])?.unsigned(0)?;
        if stored != self.0.len() as u64 {
            return Err(broken(format!(
                "store_heads: {stored} are stored, the decisions tell of {}",
                self.0.len()
            )));
        }
        for (store, (about, writer)) in self.0 {
            let id = KeyId::new(&store).map_err(|_| broken(format!("a head of {store}, which names no store")))?;
            let same = read(tx, &id)?.is_some_and(|f| told(&f) == about && f.writer == writer);
            if !same {
                return Err(broken(format!("the head of {store} is not where the decisions put it")));
            }
        }
        Ok(())
    }
}
