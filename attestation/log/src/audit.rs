//! Audit logs: a broker's decisions, chained, in a Merkle tree, under signed heads.
//!
//! # Layout
//! An export is JSON Lines. A record is an entry, `{"hash":"<96 hex digits>","line":<line>}`, or a signed head,
//! `{"checkpoint":"<signed note>"}`, which stands after as many entries as it counts. The last record is a head. A line is a
//! canonical JSON object whose `seq` is its number, from 1. It is a leaf of the tree as it stands, and
//! `hash(n) = SHA-384(hash(n-1) || line(n))`, `hash(0)` = 48 zero bytes.

mod error;
mod record;

pub use error::AuditError;
pub use record::{RECORD_BYTES_MAX, Record, entry_record, head_record, link, sequence};

use hanzo_attestation::Digest384;

use crate::tree::leaf_hash;
use crate::{AuthenticCheckpoint, Completed, Frontier, LogVerifier, SignedCheckpoint};

/// Goes through an export from its first entry to its last and stops at the first one that does not fit.
#[derive(Debug)]
pub struct AuditVerifier<'a> {
    log: &'a LogVerifier,
    since: Option<AuthenticCheckpoint>,
    frontier: Frontier,
    chain: Digest384,
    newest: Option<AuthenticCheckpoint>,
    heads: u64,
    /// Held back for one record: a head of the same size makes it a fork.
    diverged: Option<AuditError>,
}

/// An audit log of which every line, link and head was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audited {
    /// The newest head: it covers every entry.
    pub head: AuthenticCheckpoint,
    /// End of the chain.
    pub chain: Digest384,
    /// How many signed heads were checked on the way.
    pub heads: u64,
    /// The earlier head that this log extends, if one was given.
    pub since: Option<AuthenticCheckpoint>,
}

impl<'a> AuditVerifier<'a> {
    /// Expects the log of this key; with `since`, one that extends what that head counted.
    pub fn new(log: &'a LogVerifier, since: Option<AuthenticCheckpoint>) -> Self {
        Self {
            log,
            since,
            frontier: Frontier::default(),
            chain: Digest384([0; 48]),
            newest: None,
            heads: 0,
            diverged: None,
        }
    }

    /// How many entries were taken.
    pub fn entries(&self) -> u64 {
        self.frontier.size()
    }

    /// Takes the next record; with it, for an entry, the subtrees that it completes.
    ///
    /// # Errors
    /// [`AuditError`]; nothing after it counts.
    pub fn record(&mut self, bytes: &[u8]) -> Result<(Record, Vec<Completed>), AuditError> {
        let entry = self.entries() + 1;
        let record = Record::parse(bytes).map_err(|what| AuditError::Malformed { entry, what })?;
        let completed = match &record {
            Record::Entry { line, hash } => self.entry(line, Some(hash))?,
            Record::Head { note } => self.head(note.as_bytes()).map(|()| Vec::new())?,
        };
        Ok((record, completed))
    }

    /// Takes the next entry, with its link where the export has one, and gives the subtrees that it completes.
    ///
    /// # Errors
    /// [`AuditError::Malformed`], [`AuditError::Missing`], [`AuditError::Misplaced`], [`AuditError::Altered`],
    /// [`AuditError::Diverged`].
    pub fn entry(&mut self, line: &[u8], hash: Option<&Digest384>) -> Result<Vec<Completed>, AuditError> {
        if let Some(e) = self.diverged.take() {
            return Err(e);
        }
        let entry = self.entries() + 1;
        let found = sequence(line).map_err(|what| AuditError::Malformed { entry, what })?;
        if found > entry {
            return Err(AuditError::Missing { entry, found });
        }
        if found < entry {
            return Err(AuditError::Misplaced {
                entry: found,
                position: entry,
            });
        }
        let chain = link(&self.chain, line);
        if hash.is_some_and(|hash| *hash != chain) {
            return Err(AuditError::Altered {
                entry,
                by: "the hash that chains it to the entry before",
            });
        }
        let completed = self.frontier.push(leaf_hash(&[line])).map_err(AuditError::Head)?;
        self.chain = chain;
        if self
            .since
            .as_ref()
            .is_some_and(|since| since.size() == entry && since.root() != self.frontier.root())
        {
            self.diverged = Some(AuditError::Diverged {
                since: entry,
                good: self.newest.as_ref().map_or(0, AuthenticCheckpoint::size),
            });
        }
        Ok(completed)
    }

    /// Takes a signed head, which must count the entries so far.
    ///
    /// # Errors
    /// [`AuditError::Head`], [`AuditError::Fork`], [`AuditError::Truncated`], [`AuditError::HeadMisplaced`],
    /// [`AuditError::Root`], [`AuditError::Diverged`].
    pub fn head(&mut self, note: &[u8]) -> Result<(), AuditError> {
        let signed = SignedCheckpoint::parse(note).map_err(AuditError::Head)?;
        let head = signed.verify(self.log).map_err(AuditError::Head)?;
        let (entries, size) = (self.entries(), head.size());
        // Two heads of one size with two roots: one key holder told two stories. That is worse than an alteration.
        let earlier = [self.since.as_ref(), self.newest.as_ref()];
        if earlier
            .into_iter()
            .flatten()
            .any(|e| e.size() == size && e.root() != head.root())
        {
            return Err(AuditError::Fork { size });
        }
        if let Some(e) = self.diverged.take() {
            return Err(e);
        }
        if size > entries {
            return Err(AuditError::Truncated { entries, size });
        }
        if size < entries {
            return Err(AuditError::HeadMisplaced { entries, size });
        }
        if head.root() != self.frontier.root() {
            let good = self.newest.as_ref().map_or(0, AuthenticCheckpoint::size);
            return Err(AuditError::Root { good, size });
        }
        if self.newest.as_ref() != Some(&head) {
            self.newest = Some(head);
            self.heads += 1;
        }
        Ok(())
    }

    /// Ends: every entry must stand under a head, and an earlier head must have been passed.
    ///
    /// # Errors
    /// [`AuditError::NoHead`], [`AuditError::Unsigned`], [`AuditError::RolledBack`].
    pub fn finish(self) -> Result<Audited, AuditError> {
        if let Some(e) = self.diverged {
            return Err(e);
        }
        let entries = self.frontier.size();
        let head = self.newest.ok_or(AuditError::NoHead)?;
        if head.size() != entries {
            return Err(AuditError::Unsigned {
                after: head.size(),
                entries,
            });
        }
        if let Some(since) = self.since.as_ref().filter(|since| since.size() > entries) {
            return Err(AuditError::RolledBack {
                since: since.size(),
                entries,
            });
        }
        Ok(Audited {
            head,
            chain: self.chain,
            heads: self.heads,
            since: self.since,
        })
    }
}
