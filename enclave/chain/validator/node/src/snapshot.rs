//! A final state for whoever is far behind, in place of all the blocks before it.
//!
//! # Layout
//! On channel [`CHANNEL`]: `0 || height u64` asks for an offer above that height; `1 || offer` is one, `2` says that there is none.
//! `3 || epoch u64` asks how the committees go on from that epoch; `4 || handovers` (u16 count), oldest first, says it, as many as fit.
//! `5 || block id 32 || part u16` asks for a part of a state; `6 || block id 32 || part u16 || bytes` (u32 length) is it, `7 || block id
//! 32` says that this state is handed out no more.

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
/// Looks after which a peer is taken to have no offer.
const OFFER_PATIENCE: u32 = 4;
/// Peers in a row without an offer after which blocks are asked for.
const OFFERS_MAX: usize = 4;
/// Looks from then to the next question for one.
const REST: u32 = 40;
/// Peers that are asked in turn for one thing before it is begun anew.
const TRIES_MAX: u32 = 8;

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
    /// For a part of the state after a block.
    AskPart(Digest256, u16),
    /// It.
    Part(Digest256, u16, Bounded<PART_BYTES_MAX>),
    /// That state is handed out no more.
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
            Self::AskPart(block, part) => {
                out.push(5);
                block.write(out);
                part.write(out);
            }
            Self::Part(block, part, bytes) => {
                out.push(6);
                block.write(out);
                part.write(out);
                bytes.write(out);
            }
            Self::Gone(block) => {
                out.push(7);
                block.write(out);
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
                Canonical::read(from, "snapshot.block")?,
                Canonical::read(from, "snapshot.part")?,
            )),
            6 => Ok(Self::Part(
                Canonical::read(from, "snapshot.block")?,
                Canonical::read(from, "snapshot.part")?,
                Canonical::read(from, "snapshot.bytes")?,
            )),
            7 => Ok(Self::Gone(Canonical::read(from, "snapshot.block")?)),
            got => Err(DecodeError::Tag {
                what: "snapshot",
                expected: "0 to 7",
                got,
            }),
        }
    }
}

impl Message {
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
        Message::AskPart(block, part) => {
            let bytes = ledger.part(block, *part).and_then(Bounded::new);
            Ok(Some(match bytes {
                Some(bytes) => Message::Part(*block, *part, bytes),
                None => Message::Gone(*block),
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
    tries: u32,
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
            turn: 0,
            declined: 0,
            rest: 0,
        }
    }

    /// Whether a state is on its way, or may be in a moment: blocks that come meanwhile are in vain.
    pub fn is_under_way(&self) -> bool {
        self.asked.is_some()
    }

    fn next_peer(&mut self, peers: &[ValidatorKey], not: Option<&ValidatorKey>) -> Option<ValidatorKey> {
        self.turn = self.turn.wrapping_add(1);
        let others: Vec<_> = peers.iter().filter(|peer| Some(*peer) != not).collect();
        let peers = if others.is_empty() {
            peers.iter().collect()
        } else {
            others
        };
        peers
            .get(self.turn.checked_rem(peers.len())?)
            .map(|peer| (*peer).clone())
    }

    fn question(&self, step: &Step) -> Option<Message> {
        match step {
            Step::Offer => {
                let height = self.ledger.read(|state| state.head().height);
                Some(Message::AskOffer(height.saturating_add(self.behind?)))
            }
            Step::Handovers { client, .. } => client.newest().map(|set| Message::AskHandovers(set.epoch())),
            Step::Parts(assembly) => assembly.next().map(|part| Message::AskPart(assembly.id(), part)),
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
                let peer = self.next_peer(peers, None)?;
                self.ask(Step::Offer, peer, 0)
            }
            Some(mut asked) => {
                asked.waited = asked.waited.saturating_add(1);
                let gone = !peers.contains(&asked.peer);
                let patience = match asked.step {
                    Step::Offer => OFFER_PATIENCE,
                    _ => PATIENCE,
                };
                if asked.waited < patience && !gone {
                    self.asked = Some(asked);
                    return None;
                }
                // Parts that led to the root stay good, whoever has the others.
                if matches!(asked.step, Step::Offer) || asked.tries >= TRIES_MAX {
                    self.declined = self.declined.saturating_add(1);
                    return self.tick(peers, idle);
                }
                let Some(peer) = self.next_peer(peers, Some(&asked.peer)) else {
                    asked.waited = 0;
                    self.asked = Some(asked);
                    return None;
                };
                self.ask(asked.step, peer, asked.tries.saturating_add(1))
            }
        }
    }

    fn ask(&mut self, step: Step, peer: ValidatorKey, tries: u32) -> Option<(ValidatorKey, Message)> {
        let question = self.question(&step)?;
        self.asked = Some(Asked {
            step,
            peer: peer.clone(),
            waited: 0,
            tries,
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
        let again = |step, waited| Asked {
            step,
            peer: asked.peer.clone(),
            waited,
            tries: asked.tries,
        };
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
                followed(&by, offer, client).map_err(|e| wrong(&by, e))?
            }
            (Step::Parts(mut assembly), Message::Part(block, part, bytes)) if block == assembly.id() => {
                if let Err(cause) = assembly.take(part, &bytes) {
                    self.asked = Some(again(Step::Parts(assembly), PATIENCE));
                    return Err(wrong(peer, cause));
                }
                Step::Parts(assembly)
            }
            // Another one may have it still.
            (Step::Parts(assembly), Message::Gone(block)) if block == assembly.id() => {
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
        if let Step::Parts(assembly) = step {
            if assembly.next().is_some() {
                return Ok(self.on(Step::Parts(assembly), peer));
            }
            let (height, genesis) = (
                assembly.header().height,
                self.ledger.read(|state| state.genesis().clone()),
            );
            let snapshot = assembly.finish(genesis).map_err(|e| wrong(peer, e))?;
            self.ledger.install(snapshot)?;
            self.declined = 0;
            return Ok(Taken::Installed(height));
        }
        Ok(self.on(step, peer))
    }

    fn on(&mut self, step: Step, peer: &ValidatorKey) -> Taken {
        self.ask(step, peer.clone(), 0)
            .map_or(Taken::Nothing, |(_, question)| Taken::Next(question))
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
