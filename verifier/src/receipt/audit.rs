//! A whole log of receipts, leaf by leaf: signatures, numbers, chains, the leaves of keysets, and the tree over all of it.

use std::collections::BTreeMap;

use hanzo_attestation::Digest384;
use hanzo_attestation::keyset::{Keyset, LogKeys};
use hanzo_log::tree::leaf_hash;
use hanzo_log::{AuthenticCheckpoint, Completed, Frontier, LogError, LogVerifier};

use crate::order::SignedOrder;

use super::{Fence, KeysetLeaf, Leaf, LogHead, Outcome, ReceiptError, SignedReceipt, VerifiedReceipt, verify_signed};

/// Why a log of receipts is not whole. Leaves are counted from 0, as inclusion proofs do.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ReceiptAuditError {
    /// A leaf that is none, or whose signatures, numbers or chain do not hold.
    #[error("leaf {index}: {source}")]
    Leaf {
        /// Which leaf.
        index: u64,
        /// What is wrong with it.
        source: ReceiptError,
    },
    /// A receipt before the leaf of its keyset.
    #[error("leaf {index}: keyset_digest {digest}: no leaf before it says where the receipts of this keyset begin")]
    Unannounced {
        /// Which leaf.
        index: u64,
        /// Of the keyset.
        digest: Digest384,
    },
    /// One keyset begins twice.
    #[error("leaf {index}: keyset_digest {digest}: its receipts began before, at leaf {before}")]
    Again {
        /// Which leaf.
        index: u64,
        /// Of the keyset.
        digest: Digest384,
        /// Where it began.
        before: u64,
    },
    /// The leaf of a keyset says that the log before it was another.
    #[error(
        "leaf {index}: previous: the log before it has {} leaves under {}, it says {} under {}: written after another log",
        expected.size, expected.root, got.size, got.root
    )]
    Previous {
        /// Which leaf.
        index: u64,
        /// The log before it.
        expected: LogHead,
        /// What it says.
        got: LogHead,
    },
    /// A keyset names another log, or none.
    #[error("leaf {index}: keyset.log: names another log, or none, than the one it stands in")]
    OtherLog {
        /// Which leaf.
        index: u64,
    },
    /// Fewer or more leaves than the head counts.
    #[error("the head counts {size} leaves, there are {leaves}")]
    Size {
        /// The head's.
        size: u64,
        /// Those there are.
        leaves: u64,
    },
    /// The leaves do not lead to the head.
    #[error("the leaves do not lead to the signed root of {size}: at least one is another than was signed")]
    Root {
        /// The head's size.
        size: u64,
    },
    /// An earlier head counts more.
    #[error("the log went back: an earlier head counts {since} leaves, this one {size}")]
    RolledBack {
        /// The earlier head's size.
        since: u64,
        /// The newest head's.
        size: u64,
    },
    /// The log does not contain what an earlier head counted.
    #[error("history was rewritten: the first {since} leaves are not those that the earlier head counted")]
    Rewritten {
        /// The earlier head's size.
        since: u64,
    },
    /// Two stories under one signature.
    #[error(
        "the log is forked: two heads that it signed count {size} leaves and have different roots; keep both, they prove it"
    )]
    Forked {
        /// Their size.
        size: u64,
    },
    /// A head or tile.
    #[error(transparent)]
    Log(#[from] LogError),
}

impl ReceiptAuditError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Leaf { source, .. } => source.code(),
            Self::Unannounced { .. } => "log.keyset.missing",
            Self::Again { .. } => "log.keyset.again",
            Self::Previous { .. } => "log.keyset.previous",
            Self::OtherLog { .. } => "log.keyset.log",
            Self::Size { .. } => "log.truncated",
            Self::Root { .. } => "log.root",
            Self::RolledBack { .. } => "log.rolled_back",
            Self::Rewritten { .. } => "log.rewritten",
            Self::Forked { .. } => "log.forked",
            Self::Log(e) => e.code(),
        }
    }

    /// The leaf that this is about, from 0.
    pub fn leaf(&self) -> Option<u64> {
        match self {
            Self::Leaf { index, .. }
            | Self::Unannounced { index, .. }
            | Self::Again { index, .. }
            | Self::Previous { index, .. }
            | Self::OtherLog { index } => Some(*index),
            _ => None,
        }
    }

    /// Exit code of DESIGN section 8: 10 malformed, 20 not authentic, 30 not what was there before or not of one piece.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Leaf { source, .. } => match source.code() {
                "receipt.too_large" | "receipt.malformed" | "receipt.keys" => 10,
                code if code.starts_with("receipt.signature") => 20,
                _ => 30,
            },
            Self::Log(LogError::Unsigned { .. } | LogError::Signature(_) | LogError::Origin { .. }) => 20,
            Self::Log(LogError::Cosignature { .. }) | Self::Size { .. } | Self::Root { .. } => 20,
            Self::Log(_) => 10,
            _ => 30,
        }
    }
}

/// The receipts of one keyset so far.
#[derive(Debug)]
struct Chain {
    keyset: Keyset,
    began: u64,
    last: Option<VerifiedReceipt>,
}

/// What receipts of a log add up to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReceiptCounts {
    /// Keysets that began.
    pub keysets: u64,
    /// Of them, those whose log a broker fenced.
    pub fenced: u64,
    /// Orders of administrators.
    pub orders: u64,
    /// Receipts.
    pub receipts: u64,
    /// Of them, those whose answer was cut off.
    pub cut: u64,
    /// Of them, those whose answer failed.
    pub failed: u64,
    /// Of them, those made under simulated evidence.
    pub simulated: u64,
}

/// Goes through a log from its first leaf to its last and stops at the first one that does not fit.
#[derive(Debug)]
pub struct ReceiptAudit {
    log: LogKeys,
    since: Option<AuthenticCheckpoint>,
    frontier: Frontier,
    chains: BTreeMap<Digest384, Chain>,
    counts: ReceiptCounts,
    order_sequence: u64,
    extends: bool,
}

/// A log of receipts of which every leaf was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditedReceipts {
    /// The head that covers them.
    pub head: AuthenticCheckpoint,
    /// What they add up to.
    pub counts: ReceiptCounts,
}

impl ReceiptAudit {
    /// Expects the log of this key; with `since`, one that extends what that head counted.
    pub fn new(log: &LogVerifier, since: Option<AuthenticCheckpoint>) -> Self {
        Self {
            log: log.key().to_keyset(),
            extends: since.as_ref().is_none_or(|since| since.size() == 0),
            since,
            frontier: Frontier::default(),
            chains: BTreeMap::new(),
            counts: ReceiptCounts::default(),
            order_sequence: 0,
        }
    }

    /// How many leaves were taken.
    pub fn leaves(&self) -> u64 {
        self.frontier.size()
    }

    fn head(&self) -> LogHead {
        LogHead {
            root: self.frontier.root(),
            size: self.frontier.size(),
        }
    }

    /// Takes the next leaf; what it says, and the subtrees that it completes.
    ///
    /// # Errors
    /// [`ReceiptAuditError`]; nothing after it counts.
    pub fn leaf(&mut self, bytes: &[u8]) -> Result<(Leaf, Vec<Completed>), ReceiptAuditError> {
        let index = self.leaves();
        let leaf = Leaf::parse(bytes).map_err(|source| ReceiptAuditError::Leaf { index, source })?;
        match &leaf {
            Leaf::Keyset(leaf) => self.keyset(index, leaf)?,
            Leaf::Receipt(signed) => self.receipt(index, signed)?,
            Leaf::Order(signed) => self.order(index, signed)?,
        }
        let completed = self.frontier.push(leaf_hash(&[bytes]))?;
        let here = |since: &AuthenticCheckpoint| since.size() == index + 1 && since.root() == self.frontier.root();
        self.extends |= self.since.as_ref().is_some_and(here);
        Ok((leaf, completed))
    }

    fn keyset(&mut self, index: u64, leaf: &KeysetLeaf) -> Result<(), ReceiptAuditError> {
        let expected = self.head();
        if leaf.previous != expected {
            return Err(ReceiptAuditError::Previous {
                index,
                expected,
                got: leaf.previous,
            });
        }
        if leaf.keyset.log.as_ref() != Some(&self.log) {
            return Err(ReceiptAuditError::OtherLog { index });
        }
        let digest = leaf.keyset_digest;
        if let Some(chain) = self.chains.get(&digest) {
            return Err(ReceiptAuditError::Again {
                index,
                digest,
                before: chain.began,
            });
        }
        let chain = Chain {
            keyset: leaf.keyset.clone(),
            began: index,
            last: None,
        };
        self.chains.insert(digest, chain);
        self.counts.keysets += 1;
        self.counts.fenced += u64::from(leaf.fence == Fence::Kbs);
        Ok(())
    }

    fn receipt(&mut self, index: u64, signed: &SignedReceipt) -> Result<(), ReceiptAuditError> {
        let digest = signed.receipt.keyset_digest;
        let chain = self
            .chains
            .get_mut(&digest)
            .ok_or(ReceiptAuditError::Unannounced { index, digest })?;
        let refuse = |source| ReceiptAuditError::Leaf { index, source };
        let verified = verify_signed(signed, &chain.keyset).map_err(refuse)?;
        match &chain.last {
            Some(before) => verified.follows(before).map_err(refuse)?,
            None if signed.receipt.seq != 0 => {
                return Err(refuse(ReceiptError::Chain {
                    field: "seq",
                    expected: "0".into(),
                    got: signed.receipt.seq.to_string(),
                }));
            }
            None => {}
        }
        self.counts.receipts += 1;
        self.counts.cut += u64::from(signed.receipt.outcome == Outcome::Cut);
        self.counts.failed += u64::from(signed.receipt.outcome == Outcome::Failed);
        self.counts.simulated += u64::from(signed.receipt.simulated);
        chain.last = Some(verified);
        Ok(())
    }

    /// Of a keyset that began, and later than every order before. Who may sign one is in the configuration, which this does not read.
    fn order(&mut self, index: u64, signed: &SignedOrder) -> Result<(), ReceiptAuditError> {
        let (digest, sequence) = (signed.order.keyset_digest, signed.order.sequence);
        if !self.chains.contains_key(&digest) {
            return Err(ReceiptAuditError::Unannounced { index, digest });
        }
        if sequence <= self.order_sequence {
            return Err(ReceiptAuditError::Leaf {
                index,
                source: ReceiptError::Chain {
                    field: "sequence",
                    expected: format!("more than {}", self.order_sequence),
                    got: sequence.to_string(),
                },
            });
        }
        self.order_sequence = sequence;
        self.counts.orders += 1;
        Ok(())
    }

    /// Ends under a head, which must count and cover every leaf, and extend the earlier one.
    ///
    /// # Establishes
    /// Of each keyset the receipts have all numbers from 0 on, each names the one before, and both signatures of each verify;
    /// the log's keys vouched for exactly these leaves in this order.
    ///
    /// # Does not establish
    /// That the keysets are genuine (that is in their bundles), that the newest receipts are there, or that others are shown
    /// this log.
    ///
    /// # Errors
    /// [`ReceiptAuditError`].
    pub fn finish(self, head: AuthenticCheckpoint) -> Result<AuditedReceipts, ReceiptAuditError> {
        let (size, leaves) = (head.size(), self.leaves());
        if let Some(since) = &self.since {
            if since.size() == size && since.root() != head.root() {
                return Err(ReceiptAuditError::Forked { size });
            }
            if since.size() > size {
                return Err(ReceiptAuditError::RolledBack {
                    since: since.size(),
                    size,
                });
            }
        }
        if size != leaves {
            return Err(ReceiptAuditError::Size { size, leaves });
        }
        if head.root() != self.frontier.root() {
            return Err(ReceiptAuditError::Root { size });
        }
        match (&self.since, self.extends) {
            (Some(since), false) => Err(ReceiptAuditError::Rewritten { since: since.size() }),
            _ => Ok(AuditedReceipts {
                head,
                counts: self.counts,
            }),
        }
    }
}
