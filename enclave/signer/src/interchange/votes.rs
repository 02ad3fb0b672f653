//! Our votes as blocks and attestations of EIP-3076.

use super::{Entry, Interchange, SignedAttestation, SignedBlock, SigningRoot, ValidatorKey};
use crate::error::SignerError;
use crate::guard::{Floor, SigningGuard, UNKNOWN};
use crate::history::{Form, HistoryError, SigningHistory};
use crate::journal::Record;
use crate::request::{Kind, Network};

/// Bits of a slot that are the view.
const VIEW_BITS: u32 = 40;

/// A slot of a view.
fn slot(epoch: u64, view: u64) -> Result<u64, HistoryError> {
    if epoch >= 1 << (64 - VIEW_BITS) || view >= 1 << VIEW_BITS {
        return Err(HistoryError::Range { epoch, view });
    }
    Ok(epoch << VIEW_BITS | view)
}

/// The epoch and view of a slot.
fn place(slot: u64) -> (u64, u64) {
    (slot >> VIEW_BITS, slot & ((1 << VIEW_BITS) - 1))
}

/// A slot and the content of its vote, if it is known.
type Told = (u64, Option<[u8; 32]>);

/// The votes of one key, and the views at and below which nothing is known.
#[derive(Default)]
pub(crate) struct VoteHistory {
    notarized: Vec<Told>,
    /// The root of a finalization; none for a nullification, or if it is not known which it was.
    decided: Vec<Told>,
    floors: [Option<u64>; 2],
}

fn content(root: Option<&SigningRoot>, what: impl Fn() -> String) -> Result<Option<[u8; 32]>, HistoryError> {
    let Some(root) = root else { return Ok(None) };
    let content = root.as_bytes().try_into().map_err(|_| HistoryError::NoVote {
        what: what(),
        rule: "its signing root has 32 bytes",
    })?;
    Ok(Some(content))
}

fn known(content: [u8; 32]) -> Option<[u8; 32]> {
    (content != UNKNOWN).then_some(content)
}

impl VoteHistory {
    /// Reads the votes of `key` in a file of `network`.
    ///
    /// # Errors
    /// [`HistoryError`]: another chain, conflicts within the file, messages that are no votes.
    pub(crate) fn read(file: &Interchange, network: &Network, key: &[u8; 48]) -> Result<Self, HistoryError> {
        // The whole file must hold together, not this key's part alone.
        SigningHistory::new(Form::Complete, network.genesis).import(file)?;
        let mut votes = Self::default();
        for entry in file.entries.iter().filter(|entry| entry.key.0 == *key) {
            for SignedBlock { slot, root } in &entry.blocks {
                let root = content(root.as_ref(), || format!("block at slot {slot}"))?;
                votes.notarized.push((*slot, root));
            }
            for SignedAttestation { source, target, root } in &entry.attestations {
                let what = || format!("attestation {source} -> {target}");
                if source != target {
                    return Err(HistoryError::NoVote {
                        what: what(),
                        rule: "source and target of a vote are its view",
                    });
                }
                votes.decided.push((*target, content(root.as_ref(), what)?));
            }
        }
        let low = |votes: &[(u64, _)]| votes.iter().map(|(slot, _)| *slot).min();
        // What another signer decided in views that it notarized and that the file does not decide is not known.
        let undecided = votes.notarized.iter().map(|(slot, _)| *slot).max();
        let undecided = undecided.filter(|_| votes.decided.is_empty());
        votes.floors = [low(&votes.notarized), low(&votes.decided).max(undecided)];
        Ok(votes)
    }

    /// The votes that a guard remembers.
    ///
    /// # Errors
    /// [`HistoryError::Range`].
    pub(crate) fn of(guard: &SigningGuard) -> Result<Self, HistoryError> {
        let mut votes = Self::default();
        for (kind, epoch, view, content) in guard.votes() {
            let slot = slot(epoch, view)?;
            match kind {
                Kind::Notarize => votes.notarized.push((slot, known(content))),
                Kind::Finalize => votes.decided.push((slot, known(content))),
                _ => votes.decided.push((slot, None)),
            }
        }
        for (floor, known) in votes.floors.iter_mut().zip(guard.vote_floors()) {
            *floor = known.map(|(epoch, view)| slot(epoch, view)).transpose()?;
        }
        Ok(votes)
    }

    /// As a file with one entry.
    pub(crate) fn write(&self, network: &Network, key: [u8; 48]) -> Interchange {
        let root = |content: &Option<[u8; 32]>| content.as_ref().and_then(|c| SigningRoot::new(c));
        let floor = |floor: Option<u64>| floor.map(|slot| (slot, None)).into_iter();
        let [notarized, decided] = self.floors;
        let blocks = floor(notarized).chain(self.notarized.iter().copied());
        let attestations = floor(decided).chain(self.decided.iter().copied());
        let entry = Entry {
            key: ValidatorKey(key),
            blocks: blocks
                .map(|(slot, content)| SignedBlock {
                    slot,
                    root: root(&content),
                })
                .collect(),
            attestations: attestations
                .map(|(slot, content)| SignedAttestation {
                    source: slot,
                    target: slot,
                    root: root(&content),
                })
                .collect(),
        };
        Interchange {
            genesis: network.genesis,
            entries: vec![entry],
        }
    }

    /// What a journal remembers of them, in the order in which it takes effect.
    pub(crate) fn records(&self) -> Vec<Record> {
        let mut records = Vec::new();
        for (kind, votes, floor) in self.parts() {
            for (slot, root) in votes {
                let (epoch, view) = place(*slot);
                let content = root.unwrap_or(UNKNOWN);
                records.push(Record::Foreign {
                    kind,
                    epoch,
                    view,
                    content,
                });
            }
            records.extend(floor.map(Record::Floor));
        }
        records
    }

    /// The same, for a guard.
    ///
    /// # Errors
    /// [`SignerError::Refused`] where the guard holds another content.
    pub(crate) fn apply(&self, guard: &mut SigningGuard) -> Result<(), SignerError> {
        for record in self.records() {
            match record {
                Record::Foreign {
                    kind,
                    epoch,
                    view,
                    content,
                } => guard.adopt(kind, epoch, view, content)?,
                Record::Floor(floor) => guard.raise(floor),
                _ => {}
            }
        }
        Ok(())
    }

    fn parts(&self) -> [(Kind, &[Told], Option<Floor>); 2] {
        let [notarized, decided] = self.floors.map(|floor| floor.map(place));
        [
            (
                Kind::Notarize,
                &self.notarized,
                notarized.map(|(epoch, view)| Floor::Notarizations { epoch, view }),
            ),
            (
                Kind::Finalize,
                &self.decided,
                decided.map(|(epoch, view)| Floor::Decisions { epoch, view }),
            ),
        ]
    }
}
