//! The double-sign guard: what was signed where, and whether one more signature may be. Pure: no file, no key.
//!
//! # Rules
//! 1. One notarized proposal per (epoch, view); one finalized proposal per (epoch, view).
//! 2. A view is finalized or nullified, never both.
//! 3. One content per sequence number of a receipt key, per nonce of an account, per burn nonce of a contract, per
//!    (validator, incarnation); incarnations of a validator only grow.
//! 4. One content per (teleport, claim epoch), and the same terms in every claim epoch.
//! 5. At or below a floor nothing is signed, except the same content again where it is still remembered.
//! 6. The same content again is no new signature: the stored one is returned.
//!
//! Rules 1 and 2 are the attributable faults of simplex: conflicting notarize, conflicting finalize, nullify with finalize.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::error::{Place, Refusal};
use crate::request::{Claim, Kind, Observed, SignRequest, Subject};

/// Most places remembered at once.
pub const PLACES_MAX: usize = 1 << 20;

/// The content of a vote of which nothing is known but that it was cast: no request has it, so every request conflicts with it.
pub(crate) const UNKNOWN: [u8; 32] = [0; 32];

/// What the guard answers to a request that it does not refuse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Nothing is recorded here: record, then sign.
    Sign,
    /// This content is recorded and no signature of it: sign, then record the signature.
    Resume,
    /// This content was signed: here is that signature.
    Replay(Arc<[u8]>),
}

/// Below and at which nothing is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Floor {
    /// For all votes.
    Votes {
        /// Epoch.
        epoch: u64,
        /// View.
        view: u64,
    },
    /// For nullify and finalize alone: where another signer's history is known in part.
    Decisions {
        /// Epoch.
        epoch: u64,
        /// View.
        view: u64,
    },
    /// For notarize alone.
    Notarizations {
        /// Epoch.
        epoch: u64,
        /// View.
        view: u64,
    },
    /// For mining receipts.
    Receipts(u64),
    /// For transactions.
    Transactions(u64),
}

/// What one signature is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Slot {
    Notarize(u64, u64),
    /// Both, because a view has one of them.
    NullifyOrFinalize(u64, u64),
    Possession([u8; 32], u64),
    Receipt(u64),
    Transaction(u64),
    RotateKey([u8; 32], u64),
    Claim([u8; 32], u64),
    Observed(u64, [u8; 20], u64),
}

#[derive(Debug, Clone)]
struct Cast {
    kind: Kind,
    content: [u8; 32],
    signature: Option<Arc<[u8]>>,
}

/// One remembered place, as a checkpoint has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Remembered {
    pub(crate) slot: Slot,
    pub(crate) kind: Kind,
    pub(crate) content: [u8; 32],
    pub(crate) signature: Option<Arc<[u8]>>,
}

/// The guard of one key.
#[derive(Debug, Clone, Default)]
pub struct SigningGuard {
    casts: BTreeMap<Slot, Cast>,
    terms: BTreeMap<[u8; 32], [u8; 32]>,
    notarized: Option<(u64, u64)>,
    decided: Option<(u64, u64)>,
    receipts: Option<u64>,
    transactions: Option<u64>,
}

fn slot(subject: &Subject) -> Slot {
    match *subject {
        Subject::Notarize(vote) => Slot::Notarize(vote.epoch, vote.view),
        Subject::Nullify { epoch, view } => Slot::NullifyOrFinalize(epoch, view),
        Subject::Finalize(vote) => Slot::NullifyOrFinalize(vote.epoch, vote.view),
        Subject::Possession {
            validator, incarnation, ..
        } => Slot::Possession(validator, incarnation),
        Subject::MiningReceipt { seq, .. } => Slot::Receipt(seq),
        Subject::Transaction { nonce, .. } => Slot::Transaction(nonce),
        Subject::RotateKey {
            validator, incarnation, ..
        } => Slot::RotateKey(validator, incarnation),
        Subject::TeleportClaim(Claim {
            teleport_id,
            claim_epoch,
            ..
        }) => Slot::Claim(teleport_id, claim_epoch),
        Subject::EvmObserved(Observed {
            chain_id,
            contract,
            burn_nonce,
            ..
        }) => Slot::Observed(chain_id, contract, burn_nonce),
    }
}

impl Slot {
    /// Whether requests of `kind` are for such places.
    pub(crate) fn is_of(self, kind: Kind) -> bool {
        match self {
            Self::Notarize(..) => kind == Kind::Notarize,
            Self::NullifyOrFinalize(..) => matches!(kind, Kind::Nullify | Kind::Finalize),
            Self::Possession(..) => kind == Kind::Possession,
            Self::Receipt(_) => kind == Kind::MiningReceipt,
            Self::Transaction(_) => kind == Kind::Transaction,
            Self::RotateKey(..) => kind == Kind::RotateKey,
            Self::Claim(..) => kind == Kind::TeleportClaim,
            Self::Observed(..) => kind == Kind::EvmObserved,
        }
    }

    fn place(self) -> Place {
        match self {
            Self::Notarize(epoch, view) | Self::NullifyOrFinalize(epoch, view) => Place::View { epoch, view },
            Self::Possession(_, number)
            | Self::Receipt(number)
            | Self::Transaction(number)
            | Self::RotateKey(_, number)
            | Self::Claim(_, number)
            | Self::Observed(_, _, number) => Place::Number(number),
        }
    }
}

impl SigningGuard {
    /// A guard that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether `request` may be signed. Changes nothing.
    ///
    /// # Establishes
    /// Unless refused, no recorded content is for the same place, or the recorded one is this very content.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn decide(&self, request: &SignRequest) -> Result<Decision, Refusal> {
        let (kind, slot) = (request.kind(), slot(&request.subject));
        if let Some(cast) = self.casts.get(&slot) {
            return cast.again(kind, &request.digest(), slot.place());
        }
        self.above_floor(kind, slot)?;
        if let Subject::TeleportClaim(claim) = &request.subject
            && self
                .terms
                .get(&claim.teleport_id)
                .is_some_and(|terms| *terms != claim.terms())
        {
            return Err(Refusal::OtherTerms);
        }
        self.newest_incarnation(kind, slot)?;
        if self.casts.len() >= PLACES_MAX {
            return Err(Refusal::Full { limit: PLACES_MAX });
        }
        Ok(Decision::Sign)
    }

    fn above_floor(&self, kind: Kind, slot: Slot) -> Result<(), Refusal> {
        let view = |floor: Option<(u64, u64)>| floor.map(|(epoch, view)| Place::View { epoch, view });
        let (is_below, floor) = match slot {
            Slot::Notarize(epoch, v) => (Some((epoch, v)) <= self.notarized, view(self.notarized)),
            Slot::NullifyOrFinalize(epoch, v) => (Some((epoch, v)) <= self.decided, view(self.decided)),
            Slot::Receipt(seq) => (Some(seq) <= self.receipts, self.receipts.map(Place::Number)),
            Slot::Transaction(nonce) => (Some(nonce) <= self.transactions, self.transactions.map(Place::Number)),
            _ => (false, None),
        };
        match floor {
            Some(floor) if is_below => Err(Refusal::BelowFloor {
                kind: kind.name(),
                place: slot.place(),
                floor,
            }),
            _ => Ok(()),
        }
    }

    fn newest_incarnation(&self, kind: Kind, slot: Slot) -> Result<(), Refusal> {
        let (newest, got) = match slot {
            Slot::Possession(validator, got) => {
                let all = Slot::Possession(validator, 0)..=Slot::Possession(validator, u64::MAX);
                (self.casts.range(all).next_back(), got)
            }
            Slot::RotateKey(validator, got) => {
                let all = Slot::RotateKey(validator, 0)..=Slot::RotateKey(validator, u64::MAX);
                (self.casts.range(all).next_back(), got)
            }
            _ => return Ok(()),
        };
        match newest {
            Some((Slot::Possession(_, newest) | Slot::RotateKey(_, newest), _)) if *newest > got => {
                Err(Refusal::OldIncarnation {
                    kind: kind.name(),
                    got,
                    newest: *newest,
                })
            }
            _ => Ok(()),
        }
    }

    /// Takes note that `request` is going to be signed.
    ///
    /// # Errors
    /// As [`SigningGuard::decide`].
    pub fn record(&mut self, request: &SignRequest) -> Result<(), Refusal> {
        if self.decide(request)? == Decision::Sign {
            let cast = Cast {
                kind: request.kind(),
                content: request.digest(),
                signature: None,
            };
            self.casts.insert(slot(&request.subject), cast);
            if let Subject::TeleportClaim(claim) = &request.subject {
                self.terms.insert(claim.teleport_id, claim.terms());
            }
        }
        Ok(())
    }

    /// Keeps the signature of a recorded request.
    ///
    /// # Errors
    /// As [`SigningGuard::decide`].
    pub fn keep(&mut self, request: &SignRequest, signature: Arc<[u8]>) -> Result<(), Refusal> {
        self.record(request)?;
        if let Some(cast) = self.casts.get_mut(&slot(&request.subject))
            && cast.signature.is_none()
        {
            cast.signature = Some(signature);
        }
        Ok(())
    }

    /// Raises a floor and forgets what is at or below it. A floor never sinks.
    pub fn raise(&mut self, floor: Floor) {
        match floor {
            Floor::Votes { epoch, view } => {
                self.raise(Floor::Notarizations { epoch, view });
                self.raise(Floor::Decisions { epoch, view });
            }
            Floor::Notarizations { epoch, view } => {
                self.notarized = self.notarized.max(Some((epoch, view)));
                let floor = self.notarized;
                self.casts
                    .retain(|slot, _| !matches!(slot, Slot::Notarize(e, v) if Some((*e, *v)) <= floor));
            }
            Floor::Decisions { epoch, view } => {
                self.decided = self.decided.max(Some((epoch, view)));
                let floor = self.decided;
                self.casts
                    .retain(|slot, _| !matches!(slot, Slot::NullifyOrFinalize(e, v) if Some((*e, *v)) <= floor));
            }
            Floor::Receipts(seq) => {
                self.receipts = self.receipts.max(Some(seq));
                let floor = self.receipts;
                self.casts
                    .retain(|slot, _| !matches!(slot, Slot::Receipt(s) if Some(*s) <= floor));
            }
            Floor::Transactions(nonce) => {
                self.transactions = self.transactions.max(Some(nonce));
                let floor = self.transactions;
                self.casts
                    .retain(|slot, _| !matches!(slot, Slot::Transaction(n) if Some(*n) <= floor));
            }
        }
    }

    /// How many places are remembered.
    pub fn places(&self) -> usize {
        self.casts.len()
    }

    /// Greatest (epoch, view) of any vote that is remembered or below a floor.
    pub fn highest_vote(&self) -> Option<(u64, u64)> {
        let casts = self.casts.keys().filter_map(|slot| match slot {
            Slot::Notarize(epoch, view) | Slot::NullifyOrFinalize(epoch, view) => Some((*epoch, *view)),
            _ => None,
        });
        casts.max().max(self.notarized).max(self.decided)
    }

    /// The floors of votes: of notarizations, and of decisions.
    pub fn vote_floors(&self) -> [Option<(u64, u64)>; 2] {
        [self.notarized, self.decided]
    }

    /// Remembered votes: kind, epoch, view and [`SignRequest::digest`], in order.
    pub(crate) fn votes(&self) -> impl Iterator<Item = (Kind, u64, u64, [u8; 32])> {
        self.casts.iter().filter_map(|(slot, cast)| match *slot {
            Slot::Notarize(epoch, view) | Slot::NullifyOrFinalize(epoch, view) => {
                Some((cast.kind, epoch, view, cast.content))
            }
            _ => None,
        })
    }

    /// Every floor that is set.
    pub(crate) fn floors(&self) -> Vec<Floor> {
        let all = [
            self.notarized.map(|(epoch, view)| Floor::Notarizations { epoch, view }),
            self.decided.map(|(epoch, view)| Floor::Decisions { epoch, view }),
            self.receipts.map(Floor::Receipts),
            self.transactions.map(Floor::Transactions),
        ];
        all.into_iter().flatten().collect()
    }

    /// Every remembered place, in order.
    pub(crate) fn remembered(&self) -> impl Iterator<Item = Remembered> {
        self.casts.iter().map(|(slot, cast)| Remembered {
            slot: *slot,
            kind: cast.kind,
            content: cast.content,
            signature: cast.signature.clone(),
        })
    }

    /// The terms of every teleport that was claimed.
    pub(crate) fn terms(&self) -> impl Iterator<Item = ([u8; 32], [u8; 32])> {
        self.terms.iter().map(|(teleport, terms)| (*teleport, *terms))
    }

    /// Takes a place out of a checkpoint.
    ///
    /// # Errors
    /// [`Refusal::Full`]; [`Refusal::Conflict`] for a place that is there.
    pub(crate) fn restore(&mut self, place: Remembered) -> Result<(), Refusal> {
        if self.casts.len() >= PLACES_MAX {
            return Err(Refusal::Full { limit: PLACES_MAX });
        }
        let cast = Cast {
            kind: place.kind,
            content: place.content,
            signature: place.signature,
        };
        match self.casts.insert(place.slot, cast) {
            None => Ok(()),
            Some(_) => Err(Refusal::Conflict {
                kind: place.kind.name(),
                place: place.slot.place(),
            }),
        }
    }

    /// Takes the terms of a teleport out of a checkpoint.
    ///
    /// # Errors
    /// [`Refusal::OtherTerms`] if it has others.
    pub(crate) fn restore_terms(&mut self, teleport: [u8; 32], terms: [u8; 32]) -> Result<(), Refusal> {
        match self.terms.insert(teleport, terms) {
            None => Ok(()),
            Some(_) => Err(Refusal::OtherTerms),
        }
    }

    /// Takes a vote from another signer's history: its content alone is known. At or below a floor it changes nothing.
    ///
    /// # Errors
    /// [`Refusal::Conflict`] and its kin if another content is recorded.
    pub(crate) fn adopt(&mut self, kind: Kind, epoch: u64, view: u64, content: [u8; 32]) -> Result<(), Refusal> {
        let slot = match kind {
            Kind::Notarize => Slot::Notarize(epoch, view),
            _ => Slot::NullifyOrFinalize(epoch, view),
        };
        if let Some(cast) = self.casts.get(&slot) {
            return match content == UNKNOWN || cast.content == UNKNOWN {
                true => Ok(()),
                false => cast.again(kind, &content, slot.place()).map(|_| ()),
            };
        }
        if self.above_floor(kind, slot).is_err() {
            return Ok(());
        }
        if self.casts.len() >= PLACES_MAX {
            return Err(Refusal::Full { limit: PLACES_MAX });
        }
        let signature = None;
        self.casts.insert(
            slot,
            Cast {
                kind,
                content,
                signature,
            },
        );
        Ok(())
    }
}

impl Cast {
    fn again(&self, kind: Kind, content: &[u8; 32], place: Place) -> Result<Decision, Refusal> {
        match (self.kind, kind) {
            (Kind::Nullify, Kind::Finalize) => Err(Refusal::Nullified { place }),
            (Kind::Finalize, Kind::Nullify) => Err(Refusal::Finalized { place }),
            _ if self.content != *content => {
                let kind = kind.name();
                Err(Refusal::Conflict { kind, place })
            }
            _ => Ok(self.signature.clone().map_or(Decision::Resume, Decision::Replay)),
        }
    }
}
