//! A final state for whoever is far behind, in place of all the blocks before it.
//!
//! # Layout
//! On channel [`CHANNEL`]: `0 || height u64` asks for an offer above that height; `1 || offer` is one, `2` says that there is none.
//! `3 || epoch u64` asks how the committees go on from that epoch; `4 || handovers` (u16 count), oldest first, says it, as many as fit.
//! `5 || plan digest 32 || part u16` asks for a part of a state that was cut by this plan ([`hanzo_ledger::snapshot::Plan::digest`]);
//! `6 || plan digest 32 || part u16 || bytes` (u32 length) is it, `7 || plan digest 32` says that nothing is handed out here by this plan,
//! or not any more.

use std::collections::BTreeSet;
use std::sync::Arc;

use hanzo_attestation::Digest256;
use hanzo_chain::ValidatorKey;
use hanzo_chain_types::{Assembly, HANDOVERS_MAX, Handover, LightClient, OFFER_BYTES_MAX, Offer, SnapshotError};
use hanzo_ledger::snapshot::PART_BYTES_MAX;
use hanzo_ledger::{Bounded, Canonical, DecodeError, List, Reader};
use hanzo_mining::{MiningError, MiningLedger};

/// The channel.
pub const CHANNEL: u64 = 3;
/// Longest message in bytes: handovers, of which one always fits.
pub const MESSAGE_BYTES_MAX: usize = 4 << 20;
/// Bytes of handovers in one message, unless one alone is longer.
const HANDOVERS_BYTES: usize = 2 << 20;
/// Looks ([`Fetch::tick`]) after which another peer is asked.
const PATIENCE: u32 = 40;
/// Bytes that a look is worth: a peer, or all of them together, that took its time and brought less is slow.
const LOOK_BYTES: u64 = 64 << 10;
/// Looks that a whole fetch may take beside what it brought.
const FETCH_LOOKS: u32 = 600;
/// Looks after which a peer is taken to have no offer.
const OFFER_PATIENCE: u32 = 4;
/// Peers in a row without an offer after which blocks are asked for.
const OFFERS_MAX: usize = 4;
/// Looks from then to the next question for one.
const REST: u32 = 40;

/// A message of this channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// For an offer above this height.
    AskOffer(u64),
    /// What can be had.
    Offer(Box<Offer>),
    /// Nothing.
    NoOffer,
    /// For handovers from this epoch on.
    AskHandovers(u64),
    /// They, oldest first.
    Handovers(List<Handover, HANDOVERS_MAX>),
    /// For a part of the state that this plan cuts.
    AskPart(Digest256, u16),
    /// It.
    Part(Digest256, u16, Bounded<PART_BYTES_MAX>),
    /// Nothing is handed out by this plan.
    Gone(Digest256),
}

impl Canonical for Message {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::AskOffer(above) => {
                out.push(0);
                above.write(out);
            }
            Self::Offer(offer) => {
                out.push(1);
                offer.write(out);
            }
            Self::NoOffer => out.push(2),
            Self::AskHandovers(epoch) => {
                out.push(3);
                epoch.write(out);
            }
            Self::Handovers(handovers) => {
                out.push(4);
                handovers.write(out);
            }
            Self::AskPart(plan, part) => {
                out.push(5);
                plan.write(out);
                part.write(out);
            }
            Self::Part(plan, part, bytes) => {
                out.push(6);
                plan.write(out);
                part.write(out);
                bytes.write(out);
            }
            Self::Gone(plan) => {
                out.push(7);
                plan.write(out);
            }
        }
    }

    fn read(from: &mut Reader<'_>, what: &'static str) -> Result<Self, DecodeError> {
        match u8::read(from, what)? {
            0 => Ok(Self::AskOffer(Canonical::read(from, "snapshot.height")?)),
            1 => Ok(Self::Offer(Box::new(Canonical::read(from, "snapshot.offer")?))),
            2 => Ok(Self::NoOffer),
            3 => Ok(Self::AskHandovers(Canonical::read(from, "snapshot.epoch")?)),
            4 => Ok(Self::Handovers(Canonical::read(from, "snapshot.handovers")?)),
            5 => Ok(Self::AskPart(
                Canonical::read(from, "snapshot.plan")?,
                Canonical::read(from, "snapshot.part")?,
            )),
            6 => Ok(Self::Part(
                Canonical::read(from, "snapshot.plan")?,
                Canonical::read(from, "snapshot.part")?,
                Canonical::read(from, "snapshot.bytes")?,
            )),
            7 => Ok(Self::Gone(Canonical::read(from, "snapshot.plan")?)),
            got => Err(DecodeError::Tag {
                what: "snapshot",
                expected: "0 to 7",
                got,
            }),
        }
    }
}

impl Message {
    /// Whether these bytes begin as a question does.
    pub fn is_question(bytes: &[u8]) -> bool {
        matches!(bytes.first(), Some(0 | 3 | 5))
    }

    /// Reads one message and nothing after it.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, DecodeError> {
        Self::from_bytes("snapshot", bytes, MESSAGE_BYTES_MAX)
    }
}

/// What this node answers; none to what is no question.
///
/// # Errors
/// [`MiningError`].
pub fn answer(ledger: &MiningLedger, question: &Message) -> Result<Option<Message>, MiningError> {
    match question {
        Message::AskOffer(above) => {
            let offer = ledger
                .offer(*above)?
                .filter(|offer| offer.to_bytes().len() <= OFFER_BYTES_MAX);
            Ok(Some(
                offer.map_or(Message::NoOffer, |offer| Message::Offer(Box::new(offer))),
            ))
        }
        Message::AskHandovers(from) => {
            let (mut handovers, mut bytes) = (Vec::new(), 0_usize);
            for epoch in *from..from.saturating_add(HANDOVERS_MAX as u64) {
                let Some(handover) = ledger.handover(epoch)? else { break };
                bytes = bytes.saturating_add(handover.to_bytes().len());
                if !handovers.is_empty() && bytes > HANDOVERS_BYTES {
                    break;
                }
                handovers.push(handover);
            }
            Ok(List::new(handovers).map(Message::Handovers))
        }
        Message::AskPart(plan, part) => {
            let bytes = ledger.part(plan, *part)?.and_then(Bounded::new);
            Ok(Some(match bytes {
                Some(bytes) => Message::Part(*plan, *part, bytes),
                None => Message::Gone(*plan),
            }))
        }
        _ => Ok(None),
    }
}

/// Why an answer was not taken.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// A peer said what is not so.
    #[error("{cause}")]
    Wrong {
        /// Who: not always who answered last.
        peer: ValidatorKey,
        /// What.
        cause: SnapshotError,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] MiningError),
}

enum Step {
    /// An offer was asked for.
    Offer,
    /// How the committees go on to the offer of this peer.
    Handovers {
        by: ValidatorKey,
        offer: Box<Offer>,
        client: LightClient,
    },
    /// Parts.
    Parts(Box<Assembly>),
}

struct Asked {
    step: Step,
    peer: ValidatorKey,
    /// Looks since it was asked.
    waited: u32,
    /// Looks since it was asked first, after another one was.
    spent: u32,
    /// What it brought since.
    bytes: u64,
}

/// A fetch from its beginning, whoever was asked.
#[derive(Default)]
struct Effort {
    looks: u32,
    bytes: u64,
    /// Peers that had nothing more, or were slow.
    passed: BTreeSet<ValidatorKey>,
    /// Whether anything came since the first of them was passed.
    moved: bool,
}

/// Looks that may be taken for so many bytes.
fn allowed(least: u32, bytes: u64) -> u32 {
    let worth = bytes.checked_div(LOOK_BYTES).unwrap_or(0);
    least.saturating_add(u32::try_from(worth).unwrap_or(u32::MAX))
}

/// What came of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// Nobody waits for it.
    Nothing,
    /// This is asked next, of the same peer.
    Next(Message),
    /// The ledger went on from the state after the block of this height.
    Installed(u64),
}

/// Brings the state of a ledger that is far behind. Nothing is on the disk until all of it is.
pub struct Fetch {
    ledger: Arc<MiningLedger>,
    /// Blocks behind from which on a snapshot is taken; none: never.
    behind: Option<u64>,
    asked: Option<Asked>,
    effort: Effort,
    turn: usize,
    /// Peers in a row that had none, or did not answer.
    declined: usize,
    /// Looks until an offer is asked for again.
    rest: u32,
}

impl Fetch {
    /// Takes a snapshot that is more than `behind` blocks ahead; none at all for 0.
    pub fn new(ledger: Arc<MiningLedger>, behind: u64) -> Self {
        Self {
            ledger,
            behind: (behind > 0).then_some(behind),
            asked: None,
            effort: Effort::default(),
            turn: 0,
            declined: 0,
            rest: 0,
        }
    }

    /// Whether a state is on its way, or may be in a moment: blocks that come meanwhile are in vain.
    pub fn is_under_way(&self) -> bool {
        self.asked.is_some()
    }

    /// The next one that was not passed.
    fn next_peer(&mut self, peers: &[ValidatorKey]) -> Option<ValidatorKey> {
        self.turn = self.turn.wrapping_add(1);
        let left: Vec<_> = peers
            .iter()
            .filter(|peer| !self.effort.passed.contains(*peer))
            .collect();
        let at = self.turn.checked_rem(left.len())?;
        left.get(at).map(|peer| (*peer).clone())
    }

    /// Whether this peer's answer is waited for.
    pub fn awaits(&self, peer: &ValidatorKey) -> bool {
        self.asked.as_ref().is_some_and(|asked| asked.peer == *peer)
    }

    fn question(&self, step: &Step) -> Option<Message> {
        match step {
            Step::Offer => {
                let height = self.ledger.read(|state| state.head().height);
                Some(Message::AskOffer(height.saturating_add(self.behind?)))
            }
            Step::Handovers { client, .. } => client.newest().map(|set| Message::AskHandovers(set.epoch())),
            Step::Parts(assembly) => assembly.next().map(|part| Message::AskPart(assembly.plan(), part)),
        }
    }

    /// Looked at now and then, with the peers there are: whom to ask what. `idle`: newer blocks are looked for.
    pub fn tick(&mut self, peers: &[ValidatorKey], idle: bool) -> Option<(ValidatorKey, Message)> {
        match self.asked.take() {
            None if !idle || self.behind.is_none() => None,
            None if self.rest > 0 => {
                self.rest = self.rest.saturating_sub(1);
                None
            }
            None if self.declined > 0 && self.declined >= peers.len().min(OFFERS_MAX) => {
                (self.declined, self.rest) = (0, REST);
                None
            }
            None => {
                self.effort = Effort::default();
                let peer = self.next_peer(peers)?;
                self.ask(Step::Offer, peer)
            }
            Some(asked) => self.look(asked, peers, idle),
        }
    }

    /// Waits, asks the next peer for the same, or gives it all up and begins anew.
    fn look(&mut self, mut asked: Asked, peers: &[ValidatorKey], idle: bool) -> Option<(ValidatorKey, Message)> {
        asked.waited = asked.waited.saturating_add(1);
        asked.spent = asked.spent.saturating_add(1);
        self.effort.looks = self.effort.looks.saturating_add(1);
        if self.effort.looks > allowed(FETCH_LOOKS, self.effort.bytes) {
            tracing::info!("a state came too slowly: blocks are asked for, and another one later");
            self.declined = OFFERS_MAX;
            return self.tick(peers, idle);
        }
        let patience = match asked.step {
            Step::Offer => OFFER_PATIENCE,
            _ => PATIENCE,
        };
        let is_slow = asked.waited >= patience || asked.spent > allowed(PATIENCE, asked.bytes);
        if !is_slow && peers.contains(&asked.peer) {
            self.asked = Some(asked);
            return None;
        }
        if matches!(asked.step, Step::Offer) {
            self.declined = self.declined.saturating_add(1);
            return self.tick(peers, idle);
        }
        // Parts that led to the root stay good, whoever has the others.
        self.effort.passed.insert(asked.peer);
        if self.effort.moved && peers.iter().all(|peer| self.effort.passed.contains(peer)) {
            self.effort.passed.clear();
            self.effort.moved = false;
        }
        let Some(peer) = self.next_peer(peers) else {
            self.declined = self.declined.saturating_add(1);
            return self.tick(peers, idle);
        };
        self.ask(asked.step, peer)
    }

    fn ask(&mut self, step: Step, peer: ValidatorKey) -> Option<(ValidatorKey, Message)> {
        let question = self.question(&step)?;
        self.asked = Some(Asked {
            step,
            peer: peer.clone(),
            waited: 0,
            spent: 0,
            bytes: 0,
        });
        Some((peer, question))
    }

    /// Takes an answer. [`FetchError::Wrong`] names a peer to keep away from; what it did not spoil goes on with others.
    ///
    /// # Errors
    /// [`FetchError`].
    pub fn take(&mut self, peer: &ValidatorKey, answer: Message) -> Result<Taken, FetchError> {
        let Some(asked) = self.asked.take_if(|asked| asked.peer == *peer) else {
            return Ok(Taken::Nothing);
        };
        let wrong = |peer: &ValidatorKey, cause: SnapshotError| FetchError::Wrong {
            peer: peer.clone(),
            cause,
        };
        let (spent, before) = (asked.spent, asked.bytes);
        let again = |step, waited| Asked {
            step,
            peer: asked.peer.clone(),
            waited,
            spent,
            bytes: before,
        };
        let mut brought = 0_usize;
        let step = match (asked.step, answer) {
            (Step::Offer, Message::Offer(offer)) => {
                let (client, above) = self
                    .ledger
                    .read(|state| (LightClient::of_state(state), state.head().height));
                if offer.header().height <= above.saturating_add(self.behind.unwrap_or(u64::MAX)) {
                    self.declined = self.declined.saturating_add(1);
                    return Ok(Taken::Nothing);
                }
                let client = client.map_err(|e| wrong(peer, e.into()))?;
                followed(peer, offer, client).map_err(|e| wrong(peer, e))?
            }
            (Step::Handovers { by, offer, client }, Message::Handovers(handovers)) if handovers.is_empty() => {
                // It has none: another one may.
                self.asked = Some(again(Step::Handovers { by, offer, client }, PATIENCE));
                return Ok(Taken::Nothing);
            }
            (Step::Handovers { by, offer, mut client }, Message::Handovers(handovers)) => {
                for handover in handovers.iter() {
                    client.follow(handover).map_err(|e| wrong(peer, e.into()))?;
                }
                self.ledger.keep_handovers(&handovers)?;
                brought = handovers.to_bytes().len();
                followed(&by, offer, client).map_err(|e| wrong(&by, e))?
            }
            // Another one than was asked for is late, or none that anybody wants: it changes nothing.
            (Step::Parts(mut assembly), Message::Part(plan, part, bytes))
                if plan == assembly.plan() && assembly.next() == Some(part) =>
            {
                if let Err(cause) = assembly.take(part, &bytes) {
                    self.asked = Some(again(Step::Parts(assembly), PATIENCE));
                    return Err(wrong(peer, cause));
                }
                brought = bytes.len();
                Step::Parts(assembly)
            }
            // Another one may have it still.
            (Step::Parts(assembly), Message::Gone(plan)) if plan == assembly.plan() => {
                self.asked = Some(again(Step::Parts(assembly), PATIENCE));
                return Ok(Taken::Nothing);
            }
            (Step::Offer, Message::NoOffer) => {
                self.declined = self.declined.saturating_add(1);
                return Ok(Taken::Nothing);
            }
            (step, _) => {
                self.asked = Some(again(step, asked.waited));
                return Ok(Taken::Nothing);
            }
        };
        let step = match step {
            Step::Parts(assembly) if assembly.next().is_none() => {
                let (height, genesis) = (
                    assembly.header().height,
                    self.ledger.read(|state| state.genesis().clone()),
                );
                let snapshot = assembly.finish(genesis).map_err(|e| wrong(peer, e))?;
                self.ledger.install(snapshot)?;
                self.declined = 0;
                return Ok(Taken::Installed(height));
            }
            step => step,
        };
        let brought = u64::try_from(brought).unwrap_or(u64::MAX);
        self.effort.bytes = self.effort.bytes.saturating_add(brought);
        self.effort.moved |= brought > 0;
        let next = self.ask(step, peer.clone());
        if let Some(asked) = &mut self.asked {
            (asked.spent, asked.bytes) = (spent, before.saturating_add(brought));
        }
        Ok(next.map_or(Taken::Nothing, |(_, question)| Taken::Next(question)))
    }
}

/// Begins with the parts once the committee of the offer's certificate is known.
fn followed(by: &ValidatorKey, offer: Box<Offer>, client: LightClient) -> Result<Step, SnapshotError> {
    let known = client.newest().map_or(0, |set| set.epoch());
    if offer.certificate.epoch <= known {
        return Ok(Step::Parts(Box::new(Assembly::begin(*offer, &client)?)));
    }
    // Of thousands of epochs, the newest committee is what the next handover is held against.
    let newest = client
        .newest()
        .cloned()
        .map(|set| LightClient::of_set(*client.network(), set));
    Ok(Step::Handovers {
        by: by.clone(),
        offer,
        client: newest.unwrap_or(client),
    })
}
