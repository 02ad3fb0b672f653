//! What is wrong with an audit log, in words that need no manual.

use crate::LogError;

/// The first thing that is wrong with an audit log.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum AuditError {
    /// Something that is no entry stands where one should.
    #[error("entry {entry} is unreadable: {what}")]
    Malformed {
        /// Which should stand there.
        entry: u64,
        /// What is wrong with what does.
        what: String,
    },
    /// An entry was taken out.
    #[error("entry {entry} is missing: entry {found} stands in its place")]
    Missing {
        /// Which.
        entry: u64,
        /// What follows.
        found: u64,
    },
    /// Entries are in another order, or one stands there twice.
    #[error("entry {entry} is out of order: it stands at place {position}")]
    Misplaced {
        /// Which.
        entry: u64,
        /// Where it stands, counted from 1.
        position: u64,
    },
    /// An entry does not hash to what was recorded of it.
    #[error("entry {entry} was altered: its text does not fit {by}")]
    Altered {
        /// Which.
        entry: u64,
        /// What tells.
        by: &'static str,
    },
    /// The hashes agree with each other and not with what was signed.
    #[error(
        "entries {} to {size} are not those that the broker signed: at least one was altered, removed or reordered, and the hashes after it were written anew",
        good + 1
    )]
    Root {
        /// How many entries from the start are good.
        good: u64,
        /// The signed head that does not fit.
        size: u64,
    },
    /// The signed head counts more entries than there are.
    #[error("entries {} to {size} are missing: the log ends at entry {entries}, and the broker signed {size}", entries + 1)]
    Truncated {
        /// How many are there.
        entries: u64,
        /// How many were signed.
        size: u64,
    },
    /// A head stands behind entries that it does not count.
    #[error("signed head: it counts {size} entries and stands behind entry {entries}")]
    HeadMisplaced {
        /// Where it stands.
        entries: u64,
        /// What it counts.
        size: u64,
    },
    /// Entries that nobody signed.
    #[error("entries {} to {entries} are not signed: the newest signed head counts {after}", after + 1)]
    Unsigned {
        /// What the newest head counts.
        after: u64,
        /// How many are there.
        entries: u64,
    },
    /// No head at all.
    #[error("no signed head: without one, anybody could have written this log")]
    NoHead,
    /// A head was refused.
    #[error("signed head: {0}")]
    Head(#[from] LogError),
    /// A file of the tree does not hold what the entries hash to.
    #[error("{path} was altered: it does not hold what entry {entry} hashes to")]
    Tile {
        /// Which file.
        path: String,
        /// The first entry concerned.
        entry: u64,
    },
    /// A file of the tree is not there.
    #[error("{path} is missing: entry {entry} should be in it")]
    TileMissing {
        /// Which file.
        path: String,
        /// The first entry concerned.
        entry: u64,
    },
    /// An earlier head counts more entries than there are now.
    #[error("the log went back: it had {since} entries, and has {entries}")]
    RolledBack {
        /// Then.
        since: u64,
        /// Now.
        entries: u64,
    },
    /// The log does not contain what an earlier head of it counted.
    #[error(
        "history was rewritten: of the first {since} entries, at least one after entry {good} is another than when the earlier head was signed"
    )]
    Diverged {
        /// What the earlier head counted.
        since: u64,
        /// Up to where nothing is known to have changed.
        good: u64,
    },
    /// Two stories under one signature.
    #[error(
        "the log is forked: two heads, both signed by the broker, count {size} entries and have different roots; keep both files, they prove it"
    )]
    Fork {
        /// Their size.
        size: u64,
    },
}

impl AuditError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed { .. } => "log.entry.malformed",
            Self::Missing { .. } => "log.entry.missing",
            Self::Misplaced { .. } => "log.entry.misplaced",
            Self::Altered { .. } => "log.entry.altered",
            Self::Root { .. } => "log.root",
            Self::Truncated { .. } => "log.truncated",
            Self::HeadMisplaced { .. } => "log.head.misplaced",
            Self::Unsigned { .. } => "log.unsigned",
            Self::NoHead => "log.head.none",
            Self::Head(e) => e.code(),
            Self::Tile { .. } => "log.tile.altered",
            Self::TileMissing { .. } => "log.tile.missing",
            Self::RolledBack { .. } => "log.rolled_back",
            Self::Diverged { .. } => "log.rewritten",
            Self::Fork { .. } => "log.forked",
        }
    }

    /// The first entry that is removed, altered, reordered or unsigned, where one can be named.
    pub fn entry(&self) -> Option<u64> {
        match self {
            Self::Malformed { entry, .. }
            | Self::Missing { entry, .. }
            | Self::Misplaced { entry, .. }
            | Self::Altered { entry, .. }
            | Self::Tile { entry, .. }
            | Self::TileMissing { entry, .. } => Some(*entry),
            Self::Root { good, .. } | Self::Diverged { good, .. } => Some(good + 1),
            Self::Truncated { entries, .. } | Self::RolledBack { entries, .. } => Some(entries + 1),
            Self::Unsigned { after, .. } => Some(after + 1),
            Self::HeadMisplaced { .. } | Self::NoHead | Self::Head(_) | Self::Fork { .. } => None,
        }
    }

    /// Exit code of DESIGN section 8: 10 malformed, 20 not authentic, 30 not what was there before.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Malformed { .. } => 10,
            Self::Head(e) => match e {
                LogError::Unsigned { .. } | LogError::Signature(_) | LogError::Origin { .. } => 20,
                _ => 10,
            },
            Self::RolledBack { .. } | Self::Diverged { .. } | Self::Fork { .. } => 30,
            _ => 20,
        }
    }

    /// The same finding, once the entry that seemed to be missing turned up at `position`.
    pub fn found_at(self, position: u64) -> Self {
        match self {
            Self::Missing { entry, .. } => Self::Misplaced { entry, position },
            other => other,
        }
    }
}
