//! Conflicting votes that the engine saw become transactions: one report for a key, of this validator's account.
//!
//! Every validator may see the same votes. They take turns, by their places in the committee after the offender's, a few blocks apart,
//! so that one of them mostly reports. A report is kept in a file until the chain has it, and made again with the account's next nonce
//! if another transaction of the account came first.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use hanzo_attestation::Digest256;
use hanzo_chain::{AIChainVote, Fault, VoteSignature};
use hanzo_ledger::{
    Action, Address, Ballot, Canonical, Fixed, List, PublicKey, ReportConflict, SignedTx, SignedVote, Skipped, State,
    Tx, Vote, key_digest,
};

use crate::error::NodeError;
use crate::files;

/// Reports that are kept at most: more than a committee has members.
pub const REPORTS_MAX: usize = 64;
/// Longest file of them in bytes: a list of reports, each a key and two votes.
const FILE_BYTES_MAX: usize = 2 + REPORTS_MAX * (1952 + 2 * (1 + 8 + 8 + 8 + 32 + 3309));
/// Keys whose fate is remembered, so that further votes of theirs change nothing.
const DONE_MAX: usize = 1024;
/// Blocks from one validator's turn to the next one's.
const TURN_BLOCKS: u64 = 3;
/// Blocks that a report may wait.
const EXPIRES_AFTER: u64 = 10_000;

struct Held {
    report: ReportConflict,
    /// Height at which its turns began to be counted.
    since: Option<u64>,
    made: Option<SignedTx>,
}

/// Reports that the chain does not have yet.
pub struct Reports {
    path: PathBuf,
    held: Vec<Held>,
    done: BTreeSet<Digest256>,
}

fn signed(vote: &AIChainVote, signature: &VoteSignature) -> Option<SignedVote> {
    let ballot = |p: &hanzo_chain_types::Proposal| Ballot {
        epoch: p.epoch,
        view: p.view,
        parent: p.parent,
        block: p.block,
    };
    let vote = match vote {
        AIChainVote::Notarize(proposal) => Vote::Notarize(ballot(proposal)),
        AIChainVote::Finalize(proposal) => Vote::Finalize(ballot(proposal)),
        AIChainVote::Nullify { epoch, view } => Vote::Nullify(Skipped {
            epoch: *epoch,
            view: *view,
        }),
    };
    Some(SignedVote {
        vote,
        signature: Fixed::new(signature)?,
    })
}

/// The ledger's report of what the engine saw.
pub fn report_of(fault: &Fault) -> Option<ReportConflict> {
    Some(ReportConflict {
        key: fault.key.clone(),
        first: signed(&fault.first.0, &fault.first.1)?,
        second: signed(&fault.second.0, &fault.second.1)?,
    })
}

/// How many others' turns come before `me`'s to report `offender`: members of the committee after it, in the order of accounts.
fn turns_before(state: &State, offender: &Address, me: &Address) -> u64 {
    let members = state.committee(state.head().beacon.epoch);
    let members: Vec<&Address> = members
        .iter()
        .flat_map(|c| c.members.iter())
        .map(|m| &m.validator)
        .collect();
    let after = members.iter().filter(|m| **m > offender);
    let before = members.iter().filter(|m| **m < offender);
    let place = after.chain(before).position(|m| *m == me);
    u64::try_from(place.unwrap_or(members.len())).unwrap_or(u64::MAX)
}

impl Reports {
    /// Those that an earlier boot left in this file; none without it.
    ///
    /// # Errors
    /// [`NodeError::File`]; [`NodeError::Part`] for a file that is none of reports.
    pub fn load(path: &Path) -> Result<Self, NodeError> {
        let max = u64::try_from(FILE_BYTES_MAX).unwrap_or(u64::MAX);
        let bytes = files::read_if_there(path, max)?;
        let list: List<ReportConflict, REPORTS_MAX> = match bytes {
            None => List::default(),
            Some(bytes) => List::from_bytes("reports", &bytes, FILE_BYTES_MAX).map_err(|e| {
                let text = format!(
                    "{}: {e}: take the file away, what it reports is then reported by others",
                    path.display()
                );
                NodeError::part("reports", "node.reports", text)
            })?,
        };
        let held = list.iter().map(|report| Held {
            report: report.clone(),
            since: None,
            made: None,
        });
        Ok(Self {
            path: path.to_owned(),
            held: held.collect(),
            done: BTreeSet::new(),
        })
    }

    /// How many the chain does not have yet.
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether the chain has all of them.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Keeps what the engine saw; false if the key's votes are known, or there is no room.
    pub fn hear(&mut self, fault: &Fault) -> bool {
        let key = key_digest(&fault.key);
        let known = self.held.iter().any(|held| held.report.key == fault.key) || self.done.contains(&key);
        let Some(report) = report_of(fault).filter(|_| !known && self.held.len() < REPORTS_MAX) else {
            return false;
        };
        self.held.push(Held {
            report,
            since: None,
            made: None,
        });
        self.keep();
        true
    }

    /// A crash loses a report at most, and others have it too: a disk that fails here stops nothing.
    fn keep(&self) {
        let all = List::<ReportConflict, REPORTS_MAX>::new(self.held.iter().map(|held| held.report.clone()).collect());
        let Some(all) = all else { return };
        if let Err(error) = files::write(&self.path, &all.to_bytes()) {
            tracing::warn!("reports of conflicting votes are not on the disk: {error}");
        }
    }

    /// Drops what the chain has, or would never take; transactions of the account `me`, to be signed, for those whose turn has come.
    pub fn due(&mut self, state: &State, me: &PublicKey) -> Vec<Tx> {
        let (before, height, mut due) = (self.held.len(), state.head().height, Vec::new());
        let account = Address::of(me);
        let nonce = state.account(&account).nonce;
        let mut left = Vec::new();
        for mut held in std::mem::take(&mut self.held) {
            let digest = key_digest(&held.report.key);
            let Some(key) = state.consensus_key(&digest).filter(|key| !key.slashed) else {
                if self.done.len() >= DONE_MAX {
                    self.done.pop_first();
                }
                self.done.insert(digest);
                continue;
            };
            let since = *held.since.get_or_insert(height);
            let turn = turns_before(state, &key.validator, &account).saturating_mul(TURN_BLOCKS);
            let stale = held
                .made
                .as_ref()
                .is_none_or(|tx| tx.tx.nonce < nonce || tx.tx.expires <= height);
            if height >= since.saturating_add(turn) && stale {
                held.made = None;
                due.push(Tx {
                    network: *state.network(),
                    sender: me.clone(),
                    nonce,
                    fee: 0,
                    expires: height.saturating_add(EXPIRES_AFTER),
                    action: Action::ReportConflict(held.report.clone()),
                });
            }
            left.push(held);
        }
        self.held = left;
        if self.held.len() != before {
            self.keep();
        }
        due
    }

    /// A transaction that [`Reports::due`] gave was signed.
    pub fn signed(&mut self, tx: SignedTx) {
        if let Action::ReportConflict(report) = &tx.tx.action
            && let Some(held) = self.held.iter_mut().find(|held| held.report == *report)
        {
            held.made = Some(tx);
        }
    }

    /// Signed transactions that are not included yet.
    pub fn ready(&self) -> Vec<SignedTx> {
        self.held.iter().filter_map(|held| held.made.clone()).collect()
    }

    /// A transaction for it was refused for ever: it is dropped.
    pub fn refused(&mut self, tx: &SignedTx) {
        let Action::ReportConflict(report) = &tx.tx.action else {
            return;
        };
        self.held.retain(|held| held.report.key != report.key);
        self.done.insert(key_digest(&report.key));
        self.keep();
    }
}
