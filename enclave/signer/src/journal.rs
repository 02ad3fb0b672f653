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
//!
//! The head is the number of records and the last chain hash. What follows the newest head that a freshness source confirmed was
//! never answered for: a torn end is cut off there, and nowhere else.

use std::sync::Arc;

use crate::codec::{Cursor, sha256};
use crate::error::SignerError;
use crate::freshness::Head;
use crate::guard::{Floor, SigningGuard};
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
            _ => None,
        }
    }
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

    /// Reads a journal and holds it against the newest head.
    ///
    /// # Establishes
    /// The records that `newest` counts are those that were written, in their order, and none is missing.
    ///
    /// # Errors
    /// [`SignerError::Older`], [`SignerError::Diverged`], [`SignerError::Corrupt`], [`SignerError::OtherJournal`].
    pub(crate) fn open(
        mut storage: S,
        newest: Head,
        owner: &Record,
        guard: &mut SigningGuard,
    ) -> Result<Self, SignerError> {
        let bytes = storage.read(JOURNAL_BYTES_MAX)?;
        let mut c = Cursor::new(&bytes);
        let (mut head, mut good) = (Head::EMPTY, 0_u64);
        let mut intents = Intents::default();
        let mut chain = [0; 32];
        while c.left() > 0 {
            let at = head.count + 1;
            let read = next(&mut c, &chain, at);
            let (record, hash) = match read {
                Ok(found) => found,
                // Beyond the newest head nothing was answered for: the last write did not get through.
                Err(_) if head.count >= newest.count => break,
                Err(rule) => return Err(short_or_corrupt(rule, at, newest)),
            };
            chain = hash;
            head = Head { count: at, hash };
            good = (bytes.len() - c.left()) as u64;
            if at == newest.count && head != newest {
                return Err(SignerError::Diverged { at });
            }
            intents.apply(record, at, owner, guard)?;
        }
        if head.count < newest.count {
            return Err(SignerError::Older {
                local: head.count,
                fenced: newest.count,
            });
        }
        if good < bytes.len() as u64 {
            storage.truncate(good)?;
        }
        Ok(Self {
            storage,
            head,
            bytes: good,
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
        let (mut out, mut head) = (Vec::new(), self.head);
        let mut chain = if head == Head::EMPTY { [0; 32] } else { head.hash };
        for record in records {
            let body = record.body();
            let len = u32::try_from(body.len()).unwrap_or(u32::MAX);
            let from = out.len();
            out.extend_from_slice(&len.to_be_bytes());
            out.extend_from_slice(&body);
            chain = chained(&chain, out.get(from..).unwrap_or_default());
            out.extend_from_slice(&chain);
            head = Head {
                count: head.count + 1,
                hash: chain,
            };
        }
        let got = self.bytes + out.len() as u64;
        if got > JOURNAL_BYTES_MAX {
            let limit = JOURNAL_BYTES_MAX;
            return Err(SignerError::JournalFull { got, limit });
        }
        self.storage.append(&out)?;
        (self.head, self.bytes) = (head, got);
        Ok(head)
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

fn next(c: &mut Cursor<'_>, before: &[u8; 32], at: u64) -> Result<(Record, [u8; 32]), &'static str> {
    let len = c.array::<4>().ok_or(CUT)?;
    let body_len = u32::from_be_bytes(len) as usize;
    if body_len > BODY_BYTES_MAX {
        return Err("its length is out of bounds");
    }
    let body = c.take(body_len).ok_or(CUT)?;
    let hash = c.array::<32>().ok_or(CUT)?;
    let framed = [&len[..], body].concat();
    if hash != chained(before, &framed) {
        return Err("its chain hash is not that of its content");
    }
    let record = Record::parse(body).ok_or("it is no record")?;
    match (&record, at) {
        (Record::Owner(_), 1) => Ok((record, hash)),
        (Record::Owner(_), _) | (_, 1) => Err("the first record, and no other, says whose journal it is"),
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
