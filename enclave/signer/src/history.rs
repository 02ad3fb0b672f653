//! Histories of signed blocks and attestations under the conditions of EIP-3076, in its two forms.
//!
//! A *complete* history remembers every message and refuses only what is slashable, or not known not to be; a *minimal* one
//! remembers the greatest slot, source and target. Both enforce the conditions at all times, not after an import alone.
//!
//! In a complete history without double votes and surrounds, sources do not fall as targets grow. So an attestation surrounds
//! none and is surrounded by none if it fits between the next lower and the next higher target: two look-ups, however long
//! the history is.

use std::collections::BTreeMap;

use crate::interchange::{Entry, Interchange, SignedAttestation, SignedBlock, SigningRoot, ValidatorKey};

/// What is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Every message.
    Complete,
    /// The greatest slot, source and target.
    Minimal,
}

/// What may be done with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permit {
    /// It is new: remember it, then sign.
    New,
    /// This very message was signed.
    Repeat,
}

/// Why a message or a file is refused. The history is as it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HistoryError {
    /// Of another chain.
    #[error("history: genesis {got}, expected {expected}: the file is another chain's")]
    Genesis {
        /// Ours, hex.
        expected: String,
        /// The file's, hex.
        got: String,
    },
    /// Two messages for one slot.
    #[error("block at slot {slot}: another message was signed there, or it is not known which")]
    DoubleBlock {
        /// The slot.
        slot: u64,
    },
    /// At or below the lowest slot.
    #[error("block at slot {slot}: at or below {floor}, where what was signed is not known")]
    BlockFloor {
        /// The slot.
        slot: u64,
        /// The lowest.
        floor: u64,
    },
    /// Two messages for one target.
    #[error(
        "attestation {source_epoch} -> {target_epoch}: another message was signed for this target, or it is not known which"
    )]
    DoubleVote {
        /// Source.
        source_epoch: u64,
        /// Target.
        target_epoch: u64,
    },
    /// One vote around another.
    #[error(
        "attestation {source_epoch} -> {target_epoch}: surrounds, or is surrounded by, the signed {other_source} -> {other_target}"
    )]
    Surround {
        /// Source.
        source_epoch: u64,
        /// Target.
        target_epoch: u64,
        /// Source of the other.
        other_source: u64,
        /// Target of the other.
        other_target: u64,
    },
    /// Below the lowest source.
    #[error("attestation {source_epoch} -> {target_epoch}: its source is below {floor}")]
    SourceFloor {
        /// Source.
        source_epoch: u64,
        /// Target.
        target_epoch: u64,
        /// The lowest.
        floor: u64,
    },
    /// At or below the lowest target.
    #[error(
        "attestation {source_epoch} -> {target_epoch}: its target is at or below {floor}, where what was signed is not known"
    )]
    TargetFloor {
        /// Source.
        source_epoch: u64,
        /// Target.
        target_epoch: u64,
        /// The lowest.
        floor: u64,
    },
    /// Source after target.
    #[error("attestation {source_epoch} -> {target_epoch}: its source is after its target")]
    SourceAfterTarget {
        /// Source.
        source_epoch: u64,
        /// Target.
        target_epoch: u64,
    },
    /// A message that is none of our votes.
    #[error("history: {what}: no vote of this chain: {rule}")]
    NoVote {
        /// Which message.
        what: String,
        /// What a vote is.
        rule: &'static str,
    },
    /// A view or epoch beyond what the format can say.
    #[error("history: view {view} of epoch {epoch}: the format says epochs below 2^24 and views below 2^40")]
    Range {
        /// Epoch.
        epoch: u64,
        /// View.
        view: u64,
    },
}

impl HistoryError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Genesis { .. } => "signer.history.genesis",
            Self::DoubleBlock { .. } => "signer.history.double_block",
            Self::BlockFloor { .. } => "signer.history.block_floor",
            Self::DoubleVote { .. } => "signer.history.double_vote",
            Self::Surround { .. } => "signer.history.surround",
            Self::SourceFloor { .. } => "signer.history.source_floor",
            Self::TargetFloor { .. } => "signer.history.target_floor",
            Self::SourceAfterTarget { .. } => "signer.history.source_after_target",
            Self::NoVote { .. } => "signer.history.no_vote",
            Self::Range { .. } => "signer.history.range",
        }
    }
}

/// The histories of all validators of one chain.
#[derive(Debug, Clone)]
pub struct SigningHistory {
    form: Form,
    genesis: [u8; 32],
    tracks: BTreeMap<ValidatorKey, Track>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Track {
    /// By slot.
    blocks: BTreeMap<u64, Root>,
    /// At or below it nothing is signed.
    slot_floor: Option<u64>,
    /// By target: source and root.
    attestations: BTreeMap<u64, (u64, Root)>,
    /// Below it no source is signed.
    source_floor: Option<u64>,
    /// At or below it no target is signed.
    target_floor: Option<u64>,
    /// At or below it blocks are forgotten, so no account of them is taken any more.
    pruned_slot: Option<u64>,
    /// At or below it attestations are forgotten.
    pruned_target: Option<u64>,
}

impl SigningHistory {
    /// An empty history of the chain with that genesis.
    pub fn new(form: Form, genesis: [u8; 32]) -> Self {
        let tracks = BTreeMap::new();
        Self { form, genesis, tracks }
    }

    /// Takes a file: all of it or nothing.
    ///
    /// A complete history refuses files that conflict with themselves or with it. A minimal one takes their greatest numbers.
    /// One message named with its root and without counts as one without: nobody knows that they are the same.
    ///
    /// # Errors
    /// [`HistoryError::Genesis`]; [`HistoryError::DoubleBlock`], [`HistoryError::DoubleVote`], [`HistoryError::Surround`].
    pub fn import(&mut self, file: &Interchange) -> Result<(), HistoryError> {
        if file.genesis != self.genesis {
            return Err(HistoryError::Genesis {
                expected: hex::encode(self.genesis),
                got: hex::encode(file.genesis),
            });
        }
        let mut lows: BTreeMap<ValidatorKey, Lows> = BTreeMap::new();
        for entry in &file.entries {
            lows.entry(entry.key).or_default().lower(entry);
        }
        let mut changed: BTreeMap<ValidatorKey, Track> = BTreeMap::new();
        for entry in &file.entries {
            let track = changed
                .entry(entry.key)
                .or_insert_with(|| self.tracks.get(&entry.key).cloned().unwrap_or_default());
            match self.form {
                Form::Complete => track.merge(entry)?,
                Form::Minimal => track.maximise(entry),
            }
        }
        if self.form == Form::Complete {
            // Each import is a period of its own, and between two nobody knows: the lowest of the newest counts.
            for (key, low) in lows {
                if let Some(track) = changed.get_mut(&key) {
                    track.slot_floor = track.slot_floor.max(low.slot);
                    track.source_floor = track.source_floor.max(low.source);
                    track.target_floor = track.target_floor.max(low.target);
                }
            }
        }
        self.tracks.append(&mut changed);
        Ok(())
    }

    /// Whether a block may be signed. Changes nothing.
    ///
    /// # Errors
    /// [`HistoryError::DoubleBlock`], [`HistoryError::BlockFloor`].
    pub fn check_block(&self, key: &ValidatorKey, block: &SignedBlock) -> Result<Permit, HistoryError> {
        self.tracks
            .get(key)
            .map_or(Ok(Permit::New), |track| track.check_block(block))
    }

    /// [`SigningHistory::check_block`], and remembers it if it is new.
    ///
    /// # Errors
    /// As there.
    pub fn sign_block(&mut self, key: &ValidatorKey, block: &SignedBlock) -> Result<Permit, HistoryError> {
        let permit = self.check_block(key, block)?;
        if permit == Permit::New {
            let track = self.tracks.entry(*key).or_default();
            match self.form {
                Form::Complete => {
                    track.blocks.insert(block.slot, Root::of(&block.root));
                    track.slot_floor = track.slot_floor.or(Some(block.slot));
                }
                Form::Minimal => track.slot_floor = Some(block.slot),
            }
        }
        Ok(permit)
    }

    /// Whether an attestation may be signed. Changes nothing.
    ///
    /// # Errors
    /// [`HistoryError::SourceAfterTarget`], [`HistoryError::DoubleVote`], [`HistoryError::Surround`],
    /// [`HistoryError::SourceFloor`], [`HistoryError::TargetFloor`].
    pub fn check_attestation(&self, key: &ValidatorKey, vote: &SignedAttestation) -> Result<Permit, HistoryError> {
        let none = Track::default();
        self.tracks.get(key).unwrap_or(&none).check_attestation(vote)
    }

    /// [`SigningHistory::check_attestation`], and remembers it if it is new.
    ///
    /// # Errors
    /// As there.
    pub fn sign_attestation(&mut self, key: &ValidatorKey, vote: &SignedAttestation) -> Result<Permit, HistoryError> {
        let permit = self.check_attestation(key, vote)?;
        if permit == Permit::New {
            let track = self.tracks.entry(*key).or_default();
            match self.form {
                Form::Complete => {
                    track
                        .attestations
                        .insert(vote.target, (vote.source, Root::of(&vote.root)));
                    track.source_floor = track.source_floor.or(Some(vote.source));
                    track.target_floor = track.target_floor.or(Some(vote.target));
                }
                Form::Minimal => {
                    track.source_floor = Some(vote.source);
                    track.target_floor = Some(vote.target);
                }
            }
        }
        Ok(permit)
    }

    /// Forgets blocks up to `slot` and attestations up to `target`; what is forgotten is refused for ever.
    pub fn prune(&mut self, key: &ValidatorKey, slot: u64, target: u64) {
        let Some(track) = self.tracks.get_mut(key) else { return };
        let (old, kept) = split(std::mem::take(&mut track.blocks), slot);
        track.blocks = kept;
        track.pruned_slot = track.pruned_slot.max(old.keys().next_back().copied());
        track.slot_floor = track.slot_floor.max(track.pruned_slot);
        let (old, kept) = split(std::mem::take(&mut track.attestations), target);
        track.attestations = kept;
        track.pruned_target = track.pruned_target.max(old.keys().next_back().copied());
        track.target_floor = track.target_floor.max(track.pruned_target);
        track.source_floor = track.source_floor.max(old.values().map(|(source, _)| *source).max());
    }

    /// The history as a file. Stop the signer before its key signs elsewhere.
    pub fn export(&self) -> Interchange {
        let entries = self.tracks.iter().map(|(key, track)| track.export(*key)).collect();
        Interchange {
            genesis: self.genesis,
            entries,
        }
    }
}

fn split<V>(mut all: BTreeMap<u64, V>, at: u64) -> (BTreeMap<u64, V>, BTreeMap<u64, V>) {
    let kept = at
        .checked_add(1)
        .map_or_else(BTreeMap::new, |next| all.split_off(&next));
    (all, kept)
}

/// The lowest numbers of what one file says of one validator.
#[derive(Default)]
struct Lows {
    slot: Option<u64>,
    source: Option<u64>,
    target: Option<u64>,
}

impl Lows {
    fn lower(&mut self, entry: &Entry) {
        let low = |held: Option<u64>, new: Option<u64>| held.into_iter().chain(new).min();
        self.slot = low(self.slot, entry.blocks.iter().map(|b| b.slot).min());
        self.source = low(self.source, entry.attestations.iter().map(|a| a.source).min());
        self.target = low(self.target, entry.attestations.iter().map(|a| a.target).min());
    }
}

/// What is known of the content of one message.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Root {
    known: Option<SigningRoot>,
    /// Not once it was told without its root: nobody knows then that both were one message.
    is_certain: bool,
}

impl Root {
    fn of(root: &Option<SigningRoot>) -> Self {
        Self {
            known: root.clone(),
            is_certain: root.is_some(),
        }
    }

    /// Takes another account of it; whether the two can be of one message.
    fn join(&mut self, told: &Option<SigningRoot>) -> bool {
        self.is_certain &= told.is_some();
        match (&self.known, told) {
            (Some(known), Some(told)) => known == told,
            (None, Some(_)) => {
                self.known.clone_from(told);
                true
            }
            (_, None) => true,
        }
    }

    fn is_repeated_by(&self, new: &Option<SigningRoot>) -> bool {
        self.is_certain && self.known == *new
    }

    fn certain(&self) -> Option<SigningRoot> {
        self.known.clone().filter(|_| self.is_certain)
    }
}

impl Track {
    fn merge(&mut self, entry: &Entry) -> Result<(), HistoryError> {
        for SignedBlock { slot, root } in &entry.blocks {
            if Some(*slot) <= self.pruned_slot {
                continue;
            }
            if !self.blocks.entry(*slot).or_insert_with(|| Root::of(root)).join(root) {
                return Err(HistoryError::DoubleBlock { slot: *slot });
            }
        }
        for vote in &entry.attestations {
            let (source, target) = (vote.source, vote.target);
            if Some(target) <= self.pruned_target {
                self.source_floor = self.source_floor.max(Some(source));
                continue;
            }
            if let Some((held_source, held)) = self.attestations.get_mut(&target) {
                if *held_source != source || !held.join(&vote.root) {
                    return Err(HistoryError::DoubleVote {
                        source_epoch: source,
                        target_epoch: target,
                    });
                }
                continue;
            }
            self.is_between(vote)?;
            self.attestations.insert(target, (source, Root::of(&vote.root)));
        }
        Ok(())
    }

    fn maximise(&mut self, entry: &Entry) {
        self.slot_floor = self.slot_floor.max(entry.blocks.iter().map(|b| b.slot).max());
        self.source_floor = self.source_floor.max(entry.attestations.iter().map(|a| a.source).max());
        self.target_floor = self.target_floor.max(entry.attestations.iter().map(|a| a.target).max());
    }

    fn check_block(&self, block: &SignedBlock) -> Result<Permit, HistoryError> {
        let slot = block.slot;
        match self.blocks.get(&slot) {
            Some(held) if held.is_repeated_by(&block.root) => return Ok(Permit::Repeat),
            Some(_) => return Err(HistoryError::DoubleBlock { slot }),
            None => {}
        }
        match self.slot_floor {
            Some(floor) if slot <= floor => Err(HistoryError::BlockFloor { slot, floor }),
            _ => Ok(Permit::New),
        }
    }

    fn check_attestation(&self, vote: &SignedAttestation) -> Result<Permit, HistoryError> {
        let (source_epoch, target_epoch) = (vote.source, vote.target);
        if source_epoch > target_epoch {
            return Err(HistoryError::SourceAfterTarget {
                source_epoch,
                target_epoch,
            });
        }
        let is_repeat = match self.attestations.get(&target_epoch) {
            Some((source, held)) if *source == source_epoch && held.is_repeated_by(&vote.root) => true,
            Some(_) => {
                return Err(HistoryError::DoubleVote {
                    source_epoch,
                    target_epoch,
                });
            }
            None => false,
        };
        self.is_between(vote)?;
        if let Some(floor) = self.source_floor.filter(|floor| source_epoch < *floor) {
            return Err(HistoryError::SourceFloor {
                source_epoch,
                target_epoch,
                floor,
            });
        }
        match self.target_floor {
            _ if is_repeat => Ok(Permit::Repeat),
            Some(floor) if target_epoch <= floor => Err(HistoryError::TargetFloor {
                source_epoch,
                target_epoch,
                floor,
            }),
            _ => Ok(Permit::New),
        }
    }

    /// Whether the sources still do not fall as targets grow.
    fn is_between(&self, vote: &SignedAttestation) -> Result<(), HistoryError> {
        let lower = self.attestations.range(..vote.target).next_back();
        let upper = vote
            .target
            .checked_add(1)
            .and_then(|next| self.attestations.range(next..).next());
        let around = lower.filter(|(_, (source, _))| *source > vote.source);
        let inside = upper.filter(|(_, (source, _))| *source < vote.source);
        match around.or(inside) {
            None => Ok(()),
            Some((target, (source, _))) => Err(HistoryError::Surround {
                source_epoch: vote.source,
                target_epoch: vote.target,
                other_source: *source,
                other_target: *target,
            }),
        }
    }

    /// Everything that is remembered; what was forgotten as one message without root.
    fn export(&self, key: ValidatorKey) -> Entry {
        let mut blocks: Vec<_> = self
            .blocks
            .iter()
            .map(|(slot, root)| SignedBlock {
                slot: *slot,
                root: root.certain(),
            })
            .filter(|block| Some(block.slot) >= self.slot_floor)
            .collect();
        if let Some(slot) = self.slot_floor.filter(|floor| !self.blocks.contains_key(floor)) {
            blocks.insert(0, SignedBlock { slot, root: None });
        }
        // Votes whose source is below the floor are told by their target alone: all up to it counts as forgotten.
        let under = self
            .attestations
            .iter()
            .filter(|(_, (s, _))| Some(*s) < self.source_floor);
        let low = self.target_floor.max(under.map(|(target, _)| *target).max());
        let mut attestations: Vec<_> = self
            .attestations
            .iter()
            .filter(|(target, (source, _))| Some(**target) >= low && Some(*source) >= self.source_floor)
            .map(|(target, (source, root))| SignedAttestation {
                source: *source,
                target: *target,
                root: root.certain(),
            })
            .collect();
        if let (Some(source), Some(target)) = (self.source_floor, low)
            && attestations.first().is_none_or(|vote| vote.target != target)
        {
            let root = None;
            attestations.insert(0, SignedAttestation { source, target, root });
        }
        Entry {
            key,
            blocks,
            attestations,
        }
    }
}
