//! The hash-chained log of one signer.
//!
//! # Layout
//! Records one after the other: length of the body (u32, big endian), body, chain hash (32 bytes). The chain hash of record n is
//! `SHA-256(SHA-256("hanzo/signer-journal/v1") || chain hash of record n - 1 || length || body)`; before the first stand 32 zeros.
//! The first byte of a body says what it is:
//!
//! | byte | record | fields |
//! |---|---|---|
//! | 0 | whose journal | version 1, role, tag of the level, network (41 bytes), digest of the public key (32) |
//! | 1 | intent: this is about to be signed | the request |
//! | 2 | signature: this was signed | digest of the request (32), the signature |
//! | 3 | floor | which (1), two numbers (16) |
//! | 4 | vote of another signer | kind (1), epoch (8), view (8), content (32) |
//! | 5 | checkpoint; the first of a compacted journal | head before it (8, 32), records that belong to it (8), whose journal |
//! | 6 | of a checkpoint: a remembered place | what for (1, fields), kind (1), content (32), the signature if there is one |
//! | 7 | of a checkpoint: terms of a teleport | teleport (32), digest of the terms (32) |
//!
//! The head is the number of records, those that a checkpoint stands for included, and the last chain hash. What follows the newest head that a freshness source confirmed was
//! never answered for: a torn end is cut off there, and nowhere else.

use std::sync::Arc;

use crate::checkpoint::{self, Checkpoint, read_place, write_place};
use crate::codec::{Cursor, sha256};
use crate::error::SignerError;
use crate::freshness::Head;
use crate::guard::{Floor, Remembered, SigningGuard};
use crate::key::PublicKey;
use crate::request::{Kind, Network, Role, SignRequest};
use crate::storage::Storage;

const DOMAIN: &str = "hanzo/signer-journal/v1";
const VERSION: u8 = 1;
/// Longest body of a record in bytes: a signature of ML-DSA-87 and its request fit twice.
const BODY_BYTES_MAX: usize = 16 * 1024;
/// Longest journal in bytes.
pub const JOURNAL_BYTES_MAX: u64 = 1 << 30;

/// What a record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Record {
    Owner(Vec<u8>),
    Intent(Box<SignRequest>),
    Signature {
        request: [u8; 32],
        signature: Arc<[u8]>,
    },
    Floor(Floor),
    Foreign {
        kind: Kind,
        epoch: u64,
        view: u64,
        content: [u8; 32],
    },
    Checkpoint(Checkpoint),
    Place(Remembered),
    Terms {
        teleport: [u8; 32],
        terms: [u8; 32],
    },
}

impl Record {
    pub(crate) fn owner(role: Role, network: &Network, key: &PublicKey) -> Self {
        let mut out = vec![VERSION, role.tag(), key.level().tag()];
        out.extend_from_slice(&network.encode());
        out.extend_from_slice(&key.digest());
        Self::Owner(out)
    }

    fn body(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Owner(owner) => {
                out.push(0);
                out.extend_from_slice(owner);
            }
            Self::Intent(request) => {
                out.push(1);
                out.extend_from_slice(&request.encode());
            }
            Self::Signature { request, signature } => {
                out.push(2);
                out.extend_from_slice(request);
                out.extend_from_slice(signature);
            }
            Self::Floor(floor) => {
                let (which, first, second) = match *floor {
                    Floor::Votes { epoch, view } => (0, epoch, view),
                    Floor::Notarizations { epoch, view } => (1, epoch, view),
                    Floor::Decisions { epoch, view } => (2, epoch, view),
                    Floor::Receipts(seq) => (3, seq, 0),
                    Floor::Transactions(nonce) => (4, nonce, 0),
                };
                out.extend_from_slice(&[3, which]);
                out.extend_from_slice(&first.to_be_bytes());
                out.extend_from_slice(&second.to_be_bytes());
            }
            Self::Foreign {
                kind,
                epoch,
                view,
                content,
            } => {
                out.extend_from_slice(&[4, kind.tag()]);
                out.extend_from_slice(&epoch.to_be_bytes());
                out.extend_from_slice(&view.to_be_bytes());
                out.extend_from_slice(content);
            }
            Self::Checkpoint(checkpoint) => {
                out.push(5);
                checkpoint.write(&mut out);
            }
            Self::Place(place) => {
                out.push(6);
                write_place(place, &mut out);
            }
            Self::Terms { teleport, terms } => {
                out.push(7);
                out.extend_from_slice(teleport);
                out.extend_from_slice(terms);
            }
        }
        out
    }

    fn parse(body: &[u8]) -> Option<Self> {
        let mut c = Cursor::new(body);
        match c.u8()? {
            0 => Some(Self::Owner(c.rest().to_vec())),
            1 => SignRequest::parse(c.rest()).ok().map(Box::new).map(Self::Intent),
            2 => Some(Self::Signature {
                request: c.array()?,
                signature: c.rest().into(),
            }),
            3 => {
                let (which, first, second) = (c.u8()?, c.u64()?, c.u64()?);
                let (epoch, view) = (first, second);
                let floor = match which {
                    0 => Floor::Votes { epoch, view },
                    1 => Floor::Notarizations { epoch, view },
                    2 => Floor::Decisions { epoch, view },
                    3 => Floor::Receipts(first),
                    4 => Floor::Transactions(first),
                    _ => return None,
                };
                c.done(Self::Floor(floor))
            }
            4 => {
                let tag = c.u8()?;
                let kind = [Kind::Notarize, Kind::Nullify, Kind::Finalize];
                let kind = kind.into_iter().find(|kind| kind.tag() == tag)?;
                let (epoch, view, content) = (c.u64()?, c.u64()?, c.array()?);
                c.done(Self::Foreign {
                    kind,
                    epoch,
                    view,
                    content,
                })
            }
            5 => Checkpoint::read(&mut c).map(Self::Checkpoint),
            6 => read_place(&mut c).map(Self::Place),
            7 => {
                let (teleport, terms) = (c.array()?, c.array()?);
                c.done(Self::Terms { teleport, terms })
            }
            _ => None,
        }
    }
}

/// Records as they follow `head` in the file, and the head behind them.
fn framed(records: &[Record], mut head: Head) -> (Vec<u8>, Head) {
    let mut out = Vec::new();
    for record in records {
        let body = record.body();
        let len = u32::try_from(body.len()).unwrap_or(u32::MAX);
        let from = out.len();
        out.extend_from_slice(&len.to_be_bytes());
        out.extend_from_slice(&body);
        let hash = chained(&chain_of(head), out.get(from..).unwrap_or_default());
        out.extend_from_slice(&hash);
        head = Head {
            count: head.count + 1,
            hash,
        };
    }
    (out, head)
}

/// What the next record's chain hash is made over.
fn chain_of(head: Head) -> [u8; 32] {
    if head == Head::EMPTY { [0; 32] } else { head.hash }
}

fn chained(before: &[u8; 32], framed: &[u8]) -> [u8; 32] {
    sha256(&[&sha256(&[DOMAIN.as_bytes()]), before, framed])
}

/// The log, open at its end.
pub struct Journal<S> {
    storage: S,
    head: Head,
    bytes: u64,
}

impl<S: Storage> Journal<S> {
    /// Begins a journal on empty storage.
    pub(crate) fn begin(storage: S) -> Self {
        Self {
            storage,
            head: Head::EMPTY,
            bytes: 0,
        }
    }

    /// Reads a journal and holds it against the newest head. Of a compaction that was interrupted, the newest head says which of the
    /// two files is the journal.
    ///
    /// # Establishes
    /// The records that `newest` counts are those that were written, in their order, and none is missing but those that a
    /// checkpoint which it counts stands for.
    ///
    /// # Errors
    /// [`SignerError::Older`], [`SignerError::Diverged`], [`SignerError::Corrupt`], [`SignerError::Unfenced`],
    /// [`SignerError::OtherJournal`].
    pub(crate) fn open(
        mut storage: S,
        newest: Head,
        owner: &Record,
        guard: &mut SigningGuard,
    ) -> Result<Self, SignerError> {
        let bytes = storage.read(JOURNAL_BYTES_MAX)?;
        let read = match Replayed::of(&bytes, newest, owner) {
            // What is staged stays until the next compaction: the source may yet hear of it.
            Ok(read) => read,
            Err(error) => {
                // The head may have moved to the compacted journal, which had not taken the place of this one yet.
                let staged = storage.staged(JOURNAL_BYTES_MAX)?;
                let staged = staged.and_then(|staged| Replayed::of(&staged, newest, owner).ok());
                let read = staged.ok_or(error)?;
                storage.adopt()?;
                read
            }
        };
        if read.is_torn {
            storage.truncate(read.good)?;
        }
        *guard = read.guard;
        Ok(Self {
            storage,
            head: read.head,
            bytes: read.good,
        })
    }

    /// Where the journal stands.
    pub fn head(&self) -> Head {
        self.head
    }

    /// Appends records, synced.
    ///
    /// # Errors
    /// [`SignerError::JournalFull`]; [`SignerError::Storage`], after which what is stored is not known.
    pub(crate) fn append(&mut self, records: &[Record]) -> Result<Head, SignerError> {
        let (out, head) = framed(records, self.head);
        let got = self.bytes + out.len() as u64;
        if got > JOURNAL_BYTES_MAX {
            let limit = JOURNAL_BYTES_MAX;
            return Err(SignerError::JournalFull { got, limit });
        }
        self.storage.append(&out)?;
        (self.head, self.bytes) = (head, got);
        Ok(head)
    }

    /// Whether so much was written that is not remembered any more that a checkpoint is worth its writing.
    pub(crate) fn has_grown(&self, guard: &SigningGuard, signature_bytes: usize) -> bool {
        let each = checkpoint::PLACE_BYTES.saturating_add(signature_bytes as u64);
        checkpoint::is_worth_it(self.bytes, (guard.places() as u64).saturating_mul(each))
    }

    /// Writes, beside the journal, the one that takes its place: what `guard` remembers, in the same chain. Nothing has changed then.
    ///
    /// # Errors
    /// [`SignerError::JournalFull`], [`SignerError::Storage`].
    pub(crate) fn stage(&mut self, owner: &Record, guard: &SigningGuard) -> Result<Staged, SignerError> {
        let Record::Owner(owner) = owner else {
            return Err(SignerError::OtherJournal { what: "owner" });
        };
        let (bytes, head) = framed(&Checkpoint::of(owner.clone(), self.head, guard), self.head);
        let (got, limit) = (bytes.len() as u64, JOURNAL_BYTES_MAX);
        if got > limit {
            return Err(SignerError::JournalFull { got, limit });
        }
        self.storage.stage(&bytes)?;
        Ok(Staged { head, bytes: got })
    }

    /// Puts the staged journal in the place of this one. Only once the newest head counts it.
    ///
    /// # Errors
    /// [`SignerError::Storage`].
    pub(crate) fn adopt(&mut self, staged: &Staged) -> Result<(), SignerError> {
        self.storage.adopt()?;
        (self.head, self.bytes) = (staged.head, staged.bytes);
        Ok(())
    }

    /// Bytes that are stored.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// A compacted journal that waits beside the one whose place it takes.
pub(crate) struct Staged {
    /// Where it stands.
    pub(crate) head: Head,
    bytes: u64,
}

/// What reading a journal gave.
struct Replayed {
    guard: SigningGuard,
    head: Head,
    /// Length of the whole records in bytes.
    good: u64,
    is_torn: bool,
}

impl Replayed {
    fn of(bytes: &[u8], newest: Head, owner: &Record) -> Result<Self, SignerError> {
        let mut c = Cursor::new(bytes);
        let (mut guard, mut intents) = (SigningGuard::new(), Intents::default());
        let (mut head, mut good, mut checkpoint_end) = (Head::EMPTY, 0_u64, 0_u64);
        while c.left() > 0 {
            let is_first = good == 0;
            let (record, hash) = match next(&mut c, &mut head, is_first) {
                Ok(found) => found,
                // Beyond the newest head nothing was answered for: the last write did not get through.
                Err(_) if head.count >= newest.count => break,
                Err(rule) => return Err(short_or_corrupt(rule, head.count + 1, newest)),
            };
            let at = head.count + 1;
            if let Record::Checkpoint(checkpoint) = &record {
                checkpoint.is_counted_by(newest)?;
                checkpoint_end = checkpoint.end().unwrap_or(u64::MAX);
            }
            head = Head { count: at, hash };
            good = (bytes.len() - c.left()) as u64;
            if at == newest.count && head != newest {
                return Err(SignerError::Diverged { at });
            }
            if matches!(record, Record::Place(_) | Record::Terms { .. }) && at > checkpoint_end {
                let rule = "it belongs to a checkpoint, and stands outside of one";
                return Err(SignerError::Corrupt { at, rule });
            }
            intents.apply(record, at, owner, &mut guard)?;
        }
        if head.count < newest.count {
            return Err(SignerError::Older {
                local: head.count,
                fenced: newest.count,
            });
        }
        Ok(Self {
            guard,
            head,
            good,
            is_torn: good < bytes.len() as u64,
        })
    }
}

/// A record that cannot be read below the newest head: cut off, or changed.
fn short_or_corrupt(rule: &'static str, at: u64, newest: Head) -> SignerError {
    if rule == CUT {
        let (local, fenced) = (at - 1, newest.count);
        SignerError::Older { local, fenced }
    } else {
        SignerError::Corrupt { at, rule }
    }
}

const CUT: &str = "it is cut off";

/// The next record and its chain hash. A checkpoint moves `head` to the one that it goes on from.
fn next(c: &mut Cursor<'_>, head: &mut Head, is_first: bool) -> Result<(Record, [u8; 32]), &'static str> {
    let len = c.array::<4>().ok_or(CUT)?;
    let body_len = u32::from_be_bytes(len) as usize;
    if body_len > BODY_BYTES_MAX {
        return Err("its length is out of bounds");
    }
    let body = c.take(body_len).ok_or(CUT)?;
    let hash = c.array::<32>().ok_or(CUT)?;
    let framed = [&len[..], body].concat();
    // A checkpoint says itself what it is chained to; the newest head, which counts it, says that it is true.
    let before = match (is_first, Record::parse(body)) {
        (true, Some(Record::Checkpoint(checkpoint))) => checkpoint.before,
        _ => *head,
    };
    if hash != chained(&chain_of(before), &framed) {
        return Err("its chain hash is not that of its content");
    }
    let record = Record::parse(body).ok_or("it is no record")?;
    *head = before;
    match (&record, is_first) {
        (Record::Owner(_) | Record::Checkpoint(_), true) => Ok((record, hash)),
        (Record::Owner(_) | Record::Checkpoint(_), false) | (_, true) => {
            Err("the first record, and no other, says whose journal it is")
        }
        _ => Ok((record, hash)),
    }
}

/// Intents that were read and may get a signature.
#[derive(Default)]
struct Intents(std::collections::BTreeMap<[u8; 32], SignRequest>);

impl Intents {
    fn apply(&mut self, record: Record, at: u64, owner: &Record, guard: &mut SigningGuard) -> Result<(), SignerError> {
        let refused = |_| SignerError::Corrupt {
            at,
            rule: "the guard would have refused it",
        };
        match record {
            Record::Owner(_) if record != *owner => {
                return Err(SignerError::OtherJournal {
                    what: "role, network or public key",
                });
            }
            Record::Owner(_) => {}
            Record::Checkpoint(checkpoint) if Record::Owner(checkpoint.owner.clone()) != *owner => {
                return Err(SignerError::OtherJournal {
                    what: "role, network or public key",
                });
            }
            Record::Checkpoint(_) => {}
            Record::Place(place) => guard.restore(place).map_err(refused)?,
            Record::Terms { teleport, terms } => guard.restore_terms(teleport, terms).map_err(refused)?,
            Record::Intent(request) => {
                guard.record(&request).map_err(refused)?;
                self.0.insert(request.digest(), *request);
            }
            Record::Signature { request, signature } => {
                let request = self.0.remove(&request).ok_or(SignerError::Corrupt {
                    at,
                    rule: "a signature without its intent",
                })?;
                guard.keep(&request, signature).map_err(refused)?;
            }
            Record::Floor(floor) => guard.raise(floor),
            Record::Foreign {
                kind,
                epoch,
                view,
                content,
            } => guard.adopt(kind, epoch, view, content).map_err(refused)?,
        }
        Ok(())
    }
}
