//! One loop: events of the engine, messages of peers, the clock.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use commonware_consensus::simplex::types::{Activity, Finalization};
use commonware_consensus::{Epochable, Viewable};
use commonware_macros::select;
use commonware_p2p::{Blocker, Receiver, Recipients, Sender};
use commonware_runtime::{Clock, Spawner, Storage, Supervisor};
use commonware_utils::channel::{mpsc, oneshot};
use hanzo_attestation::Digest256;
use hanzo_chain_types::{ConsensusConfig, FinalityCertificate};
use hanzo_ledger::{Address, Fixed, Header, VerifiedBlock};

use super::mailbox::{EngineContext, Event};
use super::pace::Pace;
use crate::BlockId;
use crate::epochs::{Outcome, Progress};
use crate::evidence::fault_of;
use crate::final_blocks::{CommitError, FinalBlocks};
use crate::keys::ValidatorKey;
use crate::pool::Pool;
use crate::scheme::Scheme;
use crate::store::Store;
use crate::tree::{BEHIND, Stop, Tree};
use crate::wire::{Message, Wanted};

/// Most final certificates that wait for their blocks.
const CERTIFICATES_MAX: usize = 256;
/// After which a block is asked for again, from the next validator.
const ASK_AGAIN: Duration = Duration::from_millis(250);
/// What a proposal's block has to come by itself, before it is asked for.
const GRACE: Duration = Duration::from_millis(60);
/// With nothing to wait for: whether the ledger went on by itself.
const IDLE: Duration = Duration::from_millis(500);

/// What an application is made of.
pub(crate) struct Setup<L, B> {
    pub(crate) scheme: Scheme,
    pub(crate) config: ConsensusConfig,
    /// Place in the set, and the account that its blocks name.
    pub(crate) me: (usize, Address),
    pub(crate) ledger: L,
    pub(crate) blocker: B,
    pub(crate) pool: Arc<Pool>,
    pub(crate) progress: Progress,
    /// Height of the epoch's last block.
    pub(crate) last: u64,
    pub(crate) partition: String,
}

/// Why a validator stopped before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum Halt {
    /// Its ledger.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// Its journal.
    #[error("chain: the disk: {0}")]
    Disk(#[from] commonware_runtime::Error),
    /// Two final blocks.
    #[error(
        "chain: the final block {id} conflicts with block {height} here, which is final too: more validators are faulty than may be; stop and compare"
    )]
    Fork {
        /// The other's id.
        id: Digest256,
        /// Where.
        height: u64,
    },
}

impl Halt {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Commit(_) => "chain.commit",
            Self::Disk(_) => "chain.disk",
            Self::Fork { .. } => "chain.fork",
        }
    }
}

struct Proposing {
    context: EngineContext,
    reply: oneshot::Sender<BlockId>,
    /// When, by this machine's clock: its parent had a quorum then.
    asked: SystemTime,
}

struct Verifying {
    context: EngineContext,
    id: Digest256,
    reply: oneshot::Sender<bool>,
}

pub(crate) struct Actor<E, L, B, S> {
    context: E,
    setup: Setup<L, B>,
    sender: S,
    tree: Tree,
    store: Store<E>,
    pace: Pace,
    proposing: Vec<Proposing>,
    verifying: Vec<Verifying>,
    /// Certificates by view, above the newest that was followed.
    finals: BTreeMap<u64, Finalization<Scheme, BlockId>>,
    /// What is asked for, when again, and whom next.
    wanted: BTreeMap<Wanted, (SystemTime, usize)>,
    wake: Option<SystemTime>,
}

fn id_of(digest: &BlockId) -> Digest256 {
    Digest256(digest.0)
}

impl<E, L, B, S> Actor<E, L, B, S>
where
    E: Clock + Spawner + Storage + Supervisor,
    L: FinalBlocks,
    B: Blocker<PublicKey = ValidatorKey>,
    S: Sender<PublicKey = ValidatorKey>,
{
    pub(crate) fn new(context: E, setup: Setup<L, B>, sender: S) -> Self {
        let tree = Tree::new(setup.ledger.state());
        let store = Store::new(context.child("blocks"), &setup.partition);
        let pace = Pace::new(setup.config.clock_ahead_ms);
        Self {
            context,
            setup,
            sender,
            tree,
            store,
            pace,
            proposing: Vec::new(),
            verifying: Vec::new(),
            finals: BTreeMap::new(),
            wanted: BTreeMap::new(),
            wake: None,
        }
    }

    pub(crate) async fn run(
        mut self,
        mut mailbox: mpsc::UnboundedReceiver<Event>,
        mut receiver: impl Receiver<PublicKey = ValidatorKey>,
    ) -> Result<Outcome, Halt> {
        let newest = self.tree.state().head().height;
        for height in newest.saturating_sub(BEHIND)..=newest {
            if let Some(block) = self.setup.ledger.block(height) {
                self.tree.remember(block);
            }
        }
        self.newest();
        for block in self.store.load().await? {
            let id = block.header.id();
            if !self.tree.insert(block, true) {
                self.store.remove(&id).await?;
            }
        }
        let mut stopped = self.context.stopped();
        loop {
            let wake = self.wake.unwrap_or_else(|| self.context.current() + IDLE);
            select! {
                _ = &mut stopped => return Ok(Outcome::Stopped),
                event = mailbox.recv() => match event {
                    Some(event) => self.event(event).await?,
                    None => return Ok(Outcome::Stopped),
                },
                message = receiver.recv() => match message {
                    Ok((peer, message)) => self.message(peer, message.as_ref()),
                    Err(_) => return Ok(Outcome::Stopped),
                },
                _ = self.context.sleep_until(wake) => {},
            }
            self.follow().await?;
            self.advance().await?;
            if self.tree.state().head().height >= self.setup.last {
                return Ok(Outcome::EpochOver);
            }
        }
    }

    /// The time that blocks go by.
    fn now_ms(&self) -> u64 {
        let clock = ms_of(self.context.current());
        clock.saturating_add(self.pace.behind(clock))
    }

    /// Wakes when that is `ms`.
    fn wake_at_ms(&mut self, ms: u64) {
        let current = self.context.current();
        let wait = ms.saturating_sub(self.now_ms());
        self.wake_at(current + Duration::from_millis(wait));
    }

    /// Another block is the newest final one.
    fn newest(&mut self) {
        let clock = ms_of(self.context.current());
        let head = self.tree.state().head();
        // Nobody voted for the genesis.
        if head.height > 0 {
            self.pace.newest(head.time_ms, clock);
        }
    }

    fn wake_at(&mut self, at: SystemTime) {
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }

    async fn event(&mut self, event: Event) -> Result<(), Halt> {
        match event {
            Event::Propose(context, reply) => {
                let asked = self.context.current();
                self.proposing.push(Proposing { context, reply, asked });
            }
            Event::Verify(context, payload, reply) => {
                let id = id_of(&payload);
                self.verifying.push(Verifying { context, id, reply });
            }
            Event::Send(payload, recipients) => {
                if let Some(block) = self.tree.block(&id_of(&payload)) {
                    self.sender.send(recipients, Message::of_block(block), false);
                }
            }
            Event::View(view) => self.setup.progress.at(view),
            Event::Activity(activity) => match *activity {
                Activity::Finalization(certificate) => {
                    self.finals.insert(certificate.view().get(), certificate);
                    if self.finals.len() > CERTIFICATES_MAX {
                        self.finals.pop_first();
                    }
                }
                other => {
                    if let Some(fault) = fault_of(&self.setup.scheme, &other) {
                        self.setup.ledger.fault(&fault);
                    }
                }
            },
        }
        Ok(())
    }

    fn message(&mut self, peer: ValidatorKey, bytes: &[u8]) {
        match Message::parse(bytes) {
            Ok(Message::Block(block)) => {
                let id = block.header.id();
                let asked = self.wanted.keys().any(|w| w.id == id);
                self.wanted.retain(|w, _| w.id != id);
                self.tree.insert(*block, asked);
            }
            Ok(Message::Request(wanted)) => {
                let held = self.tree.block(&wanted.id).cloned();
                let block = held.or_else(|| {
                    let block = self.setup.ledger.block(wanted.height)?;
                    (block.header.id() == wanted.id).then_some(block)
                });
                if let Some(block) = block {
                    self.sender
                        .send(Recipients::One(peer), Message::of_block(&block), false);
                }
            }
            Err(refusal) => {
                tracing::warn!(peer = %peer, code = refusal.code(), "peer blocked: {refusal}");
                let _ = self.setup.blocker.block(peer);
            }
        }
    }

    /// Goes on to where the ledger is, if somebody else brought it there.
    async fn follow(&mut self) -> Result<(), Halt> {
        if self.setup.ledger.height() <= self.tree.state().head().height {
            return Ok(());
        }
        let state = self.setup.ledger.state();
        self.setup.pool.settled(&state);
        for gone in self.tree.go_on(state) {
            self.store.remove(&gone).await?;
        }
        self.newest();
        Ok(())
    }

    /// Does whatever can be done now, and sets the clock for the rest.
    async fn advance(&mut self) -> Result<(), Halt> {
        self.wake = None;
        let mut needed = Vec::new();
        self.advance_finals(&mut needed).await?;
        self.advance_verifying(&mut needed).await?;
        self.advance_proposing(&mut needed).await?;
        self.ask(needed);
        Ok(())
    }

    async fn advance_finals(&mut self, needed: &mut Vec<Wanted>) -> Result<(), Halt> {
        // The newest certificate whose blocks are all here decides; those of its ancestors go along.
        let views: Vec<u64> = self.finals.keys().rev().copied().collect();
        for view in views {
            let Some(id) = self.finals.get(&view).map(|f| id_of(&f.proposal.payload)) else {
                continue;
            };
            match self.tree.finalizing(&id) {
                Ok(blocks) => {
                    self.commit(&blocks)?;
                    self.certify_again(&id)?;
                    self.finals = self.finals.split_off(&view.saturating_add(1));
                    for gone in self.tree.settle(&id) {
                        self.store.remove(&gone).await?;
                    }
                    self.newest();
                    self.setup.pool.settled(self.tree.state());
                    return Ok(());
                }
                Err(Stop::Missing(wanted)) => needed.push(wanted),
                Err(Stop::Dead) => {
                    // Below the newest final block: one that was followed before, or a fork.
                    if let Some(block) = self.tree.block(&id) {
                        let height = block.header.height;
                        let held = self.setup.ledger.block(height).map(|b| b.header.id());
                        // None: the ledger went on from a snapshot after it.
                        if held.is_some_and(|held| held != id) {
                            return Err(Halt::Fork { id, height });
                        }
                    }
                    self.finals.remove(&view);
                }
                Err(Stop::Invalid(why)) => {
                    let (height, cause) = (self.tree.state().head().height.saturating_add(1), why.to_string());
                    return Err(CommitError { height, cause }.into());
                }
            }
        }
        Ok(())
    }

    /// A certificate of the newest final block comes again after a restart: it may have been lost between two writes.
    fn certify_again(&mut self, id: &Digest256) -> Result<(), Halt> {
        let newest = *id == self.tree.state().tip();
        let header = self.tree.block(id).map(|block| block.header).filter(|_| newest);
        let found = self.finals.values().find(|f| id_of(&f.proposal.payload) == *id);
        if let Some(certificate) = header.zip(found).and_then(|(h, f)| certificate_of(&h, f)) {
            self.setup.ledger.certify(&certificate)?;
        }
        Ok(())
    }

    fn commit(&mut self, blocks: &[VerifiedBlock]) -> Result<(), Halt> {
        for block in blocks {
            let id = block.header().id();
            let certificate = self.finals.values().find(|f| id_of(&f.proposal.payload) == id);
            let certificate = certificate.and_then(|f| certificate_of(block.header(), f));
            self.setup.ledger.commit(block, certificate.as_ref())?;
        }
        Ok(())
    }

    async fn advance_verifying(&mut self, needed: &mut Vec<Wanted>) -> Result<(), Halt> {
        let now = self.now_ms();
        for waiting in std::mem::take(&mut self.verifying) {
            if waiting.reply.is_closed() {
                continue;
            }
            match self.judge(&waiting, now).await? {
                Verdict::Decided(verdict) => {
                    let _ = waiting.reply.send(verdict);
                }
                Verdict::Wait(wanted) => {
                    needed.extend(wanted);
                    self.verifying.push(waiting);
                }
                Verdict::WaitUntil(ms) => {
                    self.wake_at_ms(ms);
                    self.verifying.push(waiting);
                }
            }
        }
        Ok(())
    }

    async fn judge(&mut self, waiting: &Verifying, now: u64) -> Result<Verdict, Halt> {
        let Some(block) = self.tree.block(&waiting.id) else {
            let wanted = Wanted {
                id: waiting.id,
                height: 0,
            };
            return Ok(Verdict::Wait(Some(wanted)));
        };
        let header = block.header;
        let parent = id_of(&waiting.context.parent.1);
        // The epoch's last block is proposed again until it is final: nothing comes after it here.
        let again = waiting.id == parent && header.height == self.setup.last;
        if header.height > self.setup.last {
            return Ok(Verdict::Decided(false));
        }
        let validators = self.setup.scheme.set().validators();
        let leader = Fixed::new(&waiting.context.leader).and_then(|key| self.setup.scheme.set().position(&key));
        let leader = leader.and_then(|place| validators.get(place)).map(|v| v.id);
        if !again && (header.parent != parent || Some(header.proposer) != leader) {
            return Ok(Verdict::Decided(false));
        }
        // Not wrong for ever: its time will come.
        let earliest = header.time_ms.saturating_sub(self.setup.config.clock_ahead_ms);
        if now < earliest {
            return Ok(Verdict::WaitUntil(earliest));
        }
        let fresh = match self.tree.check(&waiting.id) {
            Ok((_, fresh)) => fresh,
            Err(Stop::Missing(wanted)) => return Ok(Verdict::Wait(Some(wanted))),
            Err(Stop::Dead) => return Ok(Verdict::Decided(false)),
            Err(Stop::Invalid(why)) => {
                tracing::warn!(block = %waiting.id, code = why.code(), "block refused: {why}");
                return Ok(Verdict::Decided(false));
            }
        };
        self.keep(&fresh).await?;
        Ok(Verdict::Decided(true))
    }

    async fn keep(&mut self, ids: &[Digest256]) -> Result<(), Halt> {
        for id in ids {
            if let Some(block) = self.tree.block(id) {
                self.store.put(id, block).await?;
            }
        }
        Ok(())
    }

    async fn advance_proposing(&mut self, needed: &mut Vec<Wanted>) -> Result<(), Halt> {
        let (now, current) = (self.now_ms(), self.context.current());
        let interval = self.setup.config.block_interval_ms;
        for waiting in std::mem::take(&mut self.proposing) {
            if waiting.reply.is_closed() {
                continue;
            }
            let parent = id_of(&waiting.context.parent.1);
            // A quorum let its parent's time pass: so much later it lets the next one pass, whatever this machine's clock shows.
            let passed = waiting.asked + Duration::from_millis(interval);
            let (due, open, height, candidates) = match self.tree.check(&parent) {
                Ok((state, fresh)) => {
                    let due = state.head().time_ms.saturating_add(interval);
                    let height = state.head().height;
                    let open = now >= due || (height > 0 && current >= passed);
                    let ready = open && height < self.setup.last;
                    let candidates = ready.then(|| self.setup.pool.candidates(state));
                    self.keep(&fresh).await?;
                    (due, open, height, candidates.unwrap_or_default())
                }
                Err(Stop::Missing(wanted)) => {
                    needed.push(wanted);
                    self.proposing.push(waiting);
                    continue;
                }
                Err(Stop::Dead | Stop::Invalid(_)) => continue,
            };
            if !open {
                self.wake_at_ms(due);
                if height > 0 {
                    self.wake_at(passed);
                }
                self.proposing.push(waiting);
                continue;
            }
            if height >= self.setup.last {
                let _ = waiting.reply.send(waiting.context.parent.1);
                continue;
            }
            match self.tree.propose(&parent, self.setup.me.1, now.max(due), &candidates) {
                Ok(id) => {
                    if let Some(block) = self.tree.block(&id) {
                        self.setup.pool.proposed(&candidates, block);
                    }
                    self.keep(&[id]).await?;
                    let _ = waiting.reply.send(commonware_cryptography::sha256::Digest(id.0));
                }
                Err(why) => tracing::error!("no block could be made: {why:?}"),
            }
        }
        Ok(())
    }

    /// Asks for what is missing: one validator after the other.
    fn ask(&mut self, needed: Vec<Wanted>) {
        self.wanted.retain(|w, _| needed.contains(w));
        let now = self.context.current();
        let validators = self.setup.scheme.set().validators();
        for wanted in needed {
            let n = validators.len();
            let first = if wanted.height == 0 { now + GRACE } else { now };
            let after_me = self.setup.me.0.wrapping_add(1);
            let (again, next) = *self.wanted.entry(wanted).or_insert((first, after_me));
            if again <= now {
                let mut place = next.checked_rem(n).unwrap_or(0);
                if place == self.setup.me.0 {
                    place = place.saturating_add(1).checked_rem(n).unwrap_or(0);
                }
                if let Some(key) = validators.get(place).and_then(|v| ValidatorKey::new(&v.key)) {
                    self.sender
                        .send(Recipients::One(key), Message::of_request(&wanted), false);
                }
                self.wanted.insert(wanted, (now + ASK_AGAIN, place.saturating_add(1)));
            }
        }
        if let Some(at) = self.wanted.values().map(|(at, _)| *at).min() {
            self.wake_at(at);
        }
    }
}

enum Verdict {
    Decided(bool),
    Wait(Option<Wanted>),
    WaitUntil(u64),
}

fn ms_of(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn certificate_of(header: &Header, f: &Finalization<Scheme, BlockId>) -> Option<FinalityCertificate> {
    let places = (f.epoch().get(), f.view().get(), f.proposal.parent.get());
    let signers = f.certificate.signers.iter().zip(&f.certificate.signatures);
    let votes: Option<Vec<_>> = signers
        .map(|(at, signature)| Some((usize::from(at), Fixed::new(signature.get()?)?)))
        .collect();
    FinalityCertificate::new(*header, places, votes?).ok()
}
