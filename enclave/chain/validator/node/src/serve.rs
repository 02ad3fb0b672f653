//! Answers peers' questions about blocks and states, and takes their answers.
//!
//! What comes is looked at as it comes; work on it is done beside that ([`Desk`]): of each peer one question and one answer at a time,
//! questions of all peers in the order in which they came, and answers to this node's own apart from them. So whoever asks much waits for
//! itself alone. Nothing is made for a peer that does not take what it was told before, and nothing is read that was not asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use commonware_p2p::{Blocker as _, Receiver as _, Recipients};
use hanzo_chain::ValidatorKey;
use hanzo_chain_links::{LinkReceiver, LinkSender, Network};
use hanzo_ledger::Canonical;
use hanzo_mining::{MiningError, MiningLedger};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use crate::error::NodeError;
use crate::node::members;
use crate::rpc::Heard;
use crate::snapshot::{self, Fetch, FetchError, Message, Taken};
use crate::sync::{self, SyncError};

/// Questions that are worked on at one time, of all peers.
const QUESTIONS: usize = 4;
/// Answers of one peer that may be outstanding: it may have had nothing to say to earlier questions.
const OUTSTANDING_MAX: u8 = 4;

/// Work for peers: of each peer one piece at a time, of all together a few, in the order in which they came.
pub struct Desk {
    busy: Arc<Mutex<BTreeSet<ValidatorKey>>>,
    places: Arc<Semaphore>,
    tasks: JoinSet<()>,
}

/// A peer's piece of work, until it is done.
struct Turn {
    busy: Arc<Mutex<BTreeSet<ValidatorKey>>>,
    peer: ValidatorKey,
}

impl Turn {
    fn begin(busy: &Arc<Mutex<BTreeSet<ValidatorKey>>>, peer: &ValidatorKey) -> Option<Self> {
        let free = busy.lock().unwrap_or_else(PoisonError::into_inner).insert(peer.clone());
        free.then(|| Self {
            busy: Arc::clone(busy),
            peer: peer.clone(),
        })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        busy.remove(&self.peer);
    }
}

impl Desk {
    /// One at which so many pieces are worked on at one time.
    pub fn new(places: usize) -> Self {
        Self {
            busy: Arc::default(),
            places: Arc::new(Semaphore::new(places)),
            tasks: JoinSet::new(),
        }
    }

    /// Takes a piece of work up, unless one of this peer is there; whether it did. `work` may block; `then` hears what came of it, once
    /// the peer's next piece may come. Both are dropped with the desk. Called within a runtime of tokio.
    pub fn take_up<T: Send + 'static>(
        &mut self,
        peer: &ValidatorKey,
        work: impl FnOnce() -> T + Send + 'static,
        then: impl FnOnce(T) + Send + 'static,
    ) -> bool {
        while self.tasks.try_join_next().is_some() {}
        let Some(turn) = Turn::begin(&self.busy, peer) else {
            return false;
        };
        let places = Arc::clone(&self.places);
        self.tasks.spawn(async move {
            let Ok(place) = places.acquire_owned().await else {
                return;
            };
            let done = tokio::task::spawn_blocking(work).await;
            drop((place, turn));
            if let Ok(done) = done {
                then(done);
            }
        });
        true
    }
}

/// Asks for blocks, and knows who was asked.
#[derive(Clone)]
pub(crate) struct Asks {
    sender: LinkSender,
    outstanding: Arc<Mutex<BTreeMap<ValidatorKey, u8>>>,
}

impl Asks {
    pub(crate) fn new(sender: LinkSender) -> Self {
        Self {
            sender,
            outstanding: Arc::default(),
        }
    }

    /// Asks a peer for final blocks from this height on.
    pub(crate) fn ask(&self, peer: &ValidatorKey, from: u64) {
        let question = sync::Message::Ask(from).to_bytes();
        if self.sender.tell(&Recipients::One(peer.clone()), question) > 0 {
            let mut outstanding = self.outstanding.lock().unwrap_or_else(PoisonError::into_inner);
            let count = outstanding.entry(peer.clone()).or_default();
            *count = count.saturating_add(1).min(OUTSTANDING_MAX);
        }
    }

    fn expects(&self, peer: &ValidatorKey) -> bool {
        let outstanding = self.outstanding.lock().unwrap_or_else(PoisonError::into_inner);
        outstanding.contains_key(peer)
    }

    fn came(&self, peer: &ValidatorKey) {
        let mut outstanding = self.outstanding.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = outstanding.get_mut(peer) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                outstanding.remove(peer);
            }
        }
    }
}

/// What answering and taking need of a boot.
#[derive(Clone)]
pub(crate) struct Site {
    pub(crate) links: Network,
    pub(crate) ledger: Arc<MiningLedger>,
    pub(crate) fetch: Arc<Mutex<Fetch>>,
    pub(crate) heard: Arc<Heard>,
    /// Told why this validator has to stop.
    pub(crate) halt: mpsc::UnboundedSender<NodeError>,
}

impl Site {
    fn block(&self, peer: ValidatorKey, why: &str) {
        tracing::warn!(%peer, "peer blocked: {why}");
        let _ = self.links.blocker().block(peer);
    }

    fn took(&self, peer: ValidatorKey, asks: &Asks, taken: Result<usize, SyncError>) {
        let new = match taken {
            Ok(new) => new,
            Err(SyncError::Useless(why)) => return tracing::debug!(%peer, "{why}"),
            Err(SyncError::Wrong(why)) => return self.block(peer, &why),
            Err(error) => {
                tracing::error!(%peer, "final blocks were not taken: {error}");
                if let Some(fatal) = error.fatal() {
                    let _ = self.halt.send(NodeError::Halted {
                        code: fatal.code(),
                        text: fatal.to_string(),
                    });
                }
                return;
            }
        };
        if new == 0 {
            return;
        }
        let height = self.ledger.read(|state| state.head().height);
        tracing::info!(new, height, "final blocks from a peer");
        self.heard.newest.send_replace(height);
        // A state is on its way: blocks before it would be in vain.
        if !self.fetch.try_lock().is_ok_and(|fetch| fetch.is_under_way()) {
            asks.ask(&peer, height.saturating_add(1));
        }
    }
}

fn read(bytes: &[u8]) -> Result<sync::Message, SyncError> {
    sync::Message::from_bytes("sync", bytes, sync::ANSWER_BYTES_MAX).map_err(|e| SyncError::Wrong(e.to_string()))
}

/// Answers those who are behind, and takes what was asked for.
pub(crate) async fn sync(mut asked: LinkReceiver, asks: Asks, site: Site) {
    let (mut questions, mut answers) = (Desk::new(QUESTIONS), Desk::new(1));
    while let Ok((peer, message)) = asked.recv().await {
        if !sync::Message::is_question(message.as_ref()) {
            let (ledger, site, more, whose) = (Arc::clone(&site.ledger), site.clone(), asks.clone(), peer.clone());
            let work = move || match read(message.as_ref())? {
                sync::Message::Answer(answer) => sync::take(&ledger, &answer),
                sync::Message::Ask(_) => Err(SyncError::Useless("a question")),
            };
            if asks.expects(&peer) && answers.take_up(&peer, work, move |taken| site.took(whose, &more, taken)) {
                asks.came(&peer);
            }
            continue;
        }
        let height = match read(message.as_ref()) {
            Ok(sync::Message::Ask(height)) => height,
            Ok(sync::Message::Answer(_)) => continue,
            Err(error) => {
                site.block(peer, &error.to_string());
                continue;
            }
        };
        if asks.sender.has_room(&peer) {
            let (ledger, sender, whose) = (Arc::clone(&site.ledger), asks.sender.clone(), peer.clone());
            let work = move || sync::answer(&ledger, height).map(|answer| answer.map(|answer| answer.to_bytes()));
            questions.take_up(&peer, work, move |answer| match answer {
                Ok(None) => {}
                Ok(Some(answer)) => {
                    sender.tell(&Recipients::One(whose), answer);
                }
                Err(error) => tracing::error!(code = error.code(), "stored blocks cannot be shown: {error}"),
            });
        }
    }
}

/// What comes of an answer about a state; nothing of one that nobody waits for.
fn taken(fetch: &Mutex<Fetch>, peer: &ValidatorKey, bytes: &[u8]) -> Result<Taken, (ValidatorKey, String)> {
    let fetch = || fetch.lock().unwrap_or_else(PoisonError::into_inner);
    if !fetch().awaits(peer) {
        return Ok(Taken::Nothing);
    }
    let message = Message::parse(bytes).map_err(|e| (peer.clone(), e.to_string()))?;
    match fetch().take(peer, message) {
        Ok(taken) => Ok(taken),
        Err(FetchError::Wrong { peer, cause }) => Err((peer, cause.to_string())),
        Err(FetchError::Store(error)) => {
            match error {
                MiningError::Behind { .. } => tracing::debug!("{error}"),
                error => tracing::error!(code = error.code(), "a state was not taken: {error}"),
            }
            Ok(Taken::Nothing)
        }
    }
}

/// Hands out states, and takes one if this ledger is far behind.
pub(crate) async fn snapshots(mut asked: LinkReceiver, sender: LinkSender, site: Site) {
    let (mut questions, mut answers) = (Desk::new(QUESTIONS), Desk::new(1));
    while let Ok((peer, message)) = asked.recv().await {
        let (tell, whose) = (sender.clone(), Recipients::One(peer.clone()));
        if !Message::is_question(message.as_ref()) {
            let (fetch, by, site) = (Arc::clone(&site.fetch), peer.clone(), site.clone());
            let work = move || taken(&fetch, &by, message.as_ref());
            answers.take_up(&peer, work, move |taken| match taken {
                Ok(Taken::Nothing) => {}
                Ok(Taken::Next(question)) => {
                    tell.tell(&whose, question.to_bytes());
                }
                Ok(Taken::Installed(height)) => {
                    tracing::info!(height, "went on from the final state after this block");
                    site.links.set_members(site.ledger.read(members));
                    site.heard.newest.send_replace(height);
                }
                Err((liar, why)) => site.block(liar, &why),
            });
            continue;
        }
        let question = match Message::parse(message.as_ref()) {
            Ok(question) => question,
            Err(error) => {
                site.block(peer, &error.to_string());
                continue;
            }
        };
        if sender.has_room(&peer) {
            let ledger = Arc::clone(&site.ledger);
            let work =
                move || snapshot::answer(&ledger, &question).map(|answer| answer.map(|answer| answer.to_bytes()));
            questions.take_up(&peer, work, move |answer| match answer {
                Ok(None) => {}
                Ok(Some(answer)) => {
                    tell.tell(&whose, answer);
                }
                Err(error) => tracing::warn!(code = error.code(), "a state cannot be shown: {error}"),
            });
        }
    }
}
