//! All connections of one validator: who may have one, who has, and which channels are read.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use commonware_p2p::{BlockedSubscription, Recipients};
use commonware_runtime::IoBuf;
use commonware_utils::channel::ring;
use commonware_utils::ordered::Set;
use hanzo_attestation::UnixTime;
use hanzo_chain::{MESSAGE_BYTES_MAX, ValidatorKey};
use hanzo_ledger::{Address, Network as Chain};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;

use crate::channel::{LinkBlocker, LinkReceiver, LinkSender, Waiting};
use crate::connection::{self, Queues, cost};
use crate::error::LinkError;
use crate::evidence::{Appraiser, clock};
use crate::greeting::{Admission, Identity, LOOKING, Peer, Registered};
use crate::handshake::{Configs, Proven, accepting, dialling};

/// Most peers that are remembered as blocked.
const BLOCKED_MAX: usize = 1024;

/// Bounds of a network of links.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Longest message of any channel, in bytes.
    pub message_bytes_max: usize,
    /// Bytes that wait at most, for each peer and direction. At least one longest message.
    pub queue_bytes: usize,
    /// Bytes that a peer may send in a second; twice that at once.
    pub rate_bytes: u64,
    /// Messages that a peer may send in a second; twice that at once.
    pub rate_messages: u64,
    /// Handshakes at one time, of all and of one address.
    pub handshakes: (usize, usize),
    /// What a handshake may take.
    pub handshake_limit: Duration,
    /// What writing a message, or reading one that has begun, may take.
    pub write_limit: Duration,
    /// After which a silent connection says that it is there.
    pub ping_every: Duration,
    /// After which a silent peer is gone.
    pub idle_limit: Duration,
    /// Shortest and longest pause before an address is dialled again.
    pub redial: (Duration, Duration),
    /// How often the evidence of those that are connected is judged again.
    pub judge_every: Duration,
    /// After which a connection needs a fresh handshake.
    pub age_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes_max: MESSAGE_BYTES_MAX,
            queue_bytes: MESSAGE_BYTES_MAX.saturating_mul(2),
            rate_bytes: 32 << 20,
            rate_messages: 4096,
            handshakes: (64, 16),
            handshake_limit: Duration::from_secs(5),
            write_limit: Duration::from_secs(10),
            ping_every: Duration::from_secs(1),
            idle_limit: Duration::from_secs(5),
            redial: (Duration::from_millis(100), Duration::from_secs(3)),
            judge_every: Duration::from_secs(60),
            age_max: Duration::from_secs(3600),
        }
    }
}

/// Where a validator is reached. The one with the lower account dials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerAddress {
    /// Whose.
    pub account: Address,
    /// Host and port.
    pub address: String,
}

/// What is known of a connected peer.
#[derive(Debug, Clone)]
pub struct PeerStatus {
    /// Its account.
    pub account: Address,
    /// Its consensus key.
    pub key: ValidatorKey,
    /// Of that key.
    pub incarnation: u64,
    /// What its evidence is worth.
    pub simulated: bool,
    /// The other end of the socket.
    pub address: SocketAddr,
    /// For how long.
    pub connected: Duration,
}

/// Since the start.
#[derive(Debug, Default)]
pub struct Counters {
    /// Handshakes that ended in a connection.
    pub connections: AtomicU64,
    /// Handshakes that were refused or failed.
    pub refusals: AtomicU64,
    /// Connections that were closed because their evidence, judged again, was refused, or their handshake was long ago.
    pub judged_out: AtomicU64,
    /// Messages that were not sent because a peer's queue was full.
    pub dropped: AtomicU64,
    /// Messages that were sent.
    pub sent_messages: AtomicU64,
    /// Their bytes.
    pub sent_bytes: AtomicU64,
    /// Messages that were received.
    pub received_messages: AtomicU64,
    /// Their bytes.
    pub received_bytes: AtomicU64,
}

pub(crate) struct Live {
    number: u64,
    pub(crate) peer: Arc<Peer>,
    queues: Queues,
    address: SocketAddr,
    pub(crate) since: Instant,
    /// Dropped to close it.
    _close: oneshot::Sender<()>,
}

#[derive(Clone)]
pub(crate) struct ChannelReader {
    number: u64,
    pub(crate) max: usize,
    pub(crate) queue: mpsc::UnboundedSender<Waiting>,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) members: BTreeMap<Address, Registered>,
    pub(crate) candidates: BTreeSet<Address>,
    pub(crate) live: BTreeMap<Address, Live>,
    pub(crate) blocked: BTreeSet<ValidatorKey>,
    watchers: Vec<ring::Sender<Set<ValidatorKey>>>,
    channels: BTreeMap<u64, ChannelReader>,
    numbers: u64,
    handshakes: BTreeMap<IpAddr, usize>,
}

impl State {
    /// Tells connections and readers of one place apart.
    fn number(&mut self) -> u64 {
        self.numbers = self.numbers.wrapping_add(1);
        self.numbers
    }
}

pub(crate) struct Inner {
    chain: Chain,
    identity: Identity,
    configs: Configs,
    appraiser: Arc<dyn Appraiser>,
    simulated: bool,
    tier_min: u8,
    pub(crate) limits: Limits,
    state: Mutex<State>,
    pub(crate) counters: Counters,
}

/// The links of a validator. Copies are the same network; it stops when [`Network::run`] does.
#[derive(Clone)]
pub struct Network(pub(crate) Arc<Inner>);

impl Network {
    /// Of one boot. `simulated` and `tier_min` are the genesis' rules for validators' evidence.
    ///
    /// # Errors
    /// [`LinkError::Channel`], [`LinkError::Tls`].
    pub fn new(
        identity: Identity,
        appraiser: Arc<dyn Appraiser>,
        (simulated, tier_min): (bool, u8),
        limits: Limits,
    ) -> Result<Self, LinkError> {
        Ok(Self(Arc::new(Inner {
            chain: identity.greeting.keys.network,
            configs: Configs::new(&identity)?,
            identity,
            appraiser,
            simulated,
            tier_min,
            limits,
            state: Mutex::default(),
            counters: Counters::default(),
        })))
    }

    /// The two ends of a channel, for messages of at most `max` bytes. The reader before it, if there was one, gets nothing more.
    pub fn register(&self, channel: u64, max: usize) -> (LinkSender, LinkReceiver) {
        let max = max.min(self.0.limits.message_bytes_max);
        let (sender, queue) = mpsc::unbounded_channel();
        let inner = Arc::clone(&self.0);
        let mut state = inner.state();
        let number = state.number();
        let reader = ChannelReader {
            number,
            max,
            queue: sender,
        };
        state.channels.insert(channel, reader);
        drop(state);
        let sender = LinkSender {
            inner: Arc::clone(&inner),
            channel,
            max,
        };
        let receiver = LinkReceiver {
            inner,
            channel,
            number,
            queue,
        };
        (sender, receiver)
    }

    /// Shuts peers out.
    pub fn blocker(&self) -> LinkBlocker {
        LinkBlocker(Arc::clone(&self.0))
    }

    /// Who is connected.
    pub fn peers(&self) -> Vec<PeerStatus> {
        let status = |live: &Live| PeerStatus {
            account: live.peer.account(),
            key: live.peer.key.clone(),
            incarnation: live.peer.greeting.keys.incarnation,
            simulated: live.peer.appraised.simulated,
            address: live.address,
            connected: live.since.elapsed(),
        };
        self.0.state().live.values().map(status).collect()
    }

    /// The peer that is connected with this consensus key: what it said of itself, and what its evidence is worth.
    pub fn peer(&self, key: &ValidatorKey) -> Option<Arc<Peer>> {
        let state = self.0.state();
        let live = state.live.values().find(|live| live.peer.key == *key)?;
        Some(Arc::clone(&live.peer))
    }

    /// What happened since the start.
    pub fn counters(&self) -> &Counters {
        &self.0.counters
    }

    /// What peers are told of this validator.
    pub fn identity(&self) -> &Identity {
        &self.0.identity
    }

    /// Takes connections and dials `peers` until it is dropped; then everything is closed.
    pub async fn run(self, listener: TcpListener, peers: Vec<PeerAddress>) {
        let mut tasks = JoinSet::new();
        let me = self.0.me();
        for peer in peers.into_iter().filter(|peer| me < peer.account) {
            tasks.spawn(Arc::clone(&self.0).dial(peer));
        }
        tasks.spawn(self.clone().judge_now_and_then());
        let handshakes = Arc::new(Semaphore::new(self.0.limits.handshakes.0));
        loop {
            while tasks.try_join_next().is_some() {}
            let (stream, address) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!("links: a connection was not taken: {error}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let Ok(turn) = Arc::clone(&handshakes).try_acquire_owned() else {
                continue;
            };
            let Some(place) = Handshaking::begin(&self.0, address.ip()) else {
                continue;
            };
            let inner = Arc::clone(&self.0);
            tasks.spawn(async move {
                let made = inner.accept(stream).await;
                drop((turn, place));
                inner.serve(made, address).await;
            });
        }
    }
}

/// One handshake of an address, counted until it is over.
struct Handshaking {
    inner: Arc<Inner>,
    address: IpAddr,
}

impl Handshaking {
    fn begin(inner: &Arc<Inner>, address: IpAddr) -> Option<Self> {
        let mut state = inner.state();
        let count = state.handshakes.entry(address).or_default();
        if *count >= inner.limits.handshakes.1 {
            return None;
        }
        *count = count.saturating_add(1);
        drop(state);
        let inner = Arc::clone(inner);
        Some(Self { inner, address })
    }
}

impl Drop for Handshaking {
    fn drop(&mut self) {
        let mut state = self.inner.state();
        let left = state.handshakes.get_mut(&self.address).map(|count| {
            *count = count.saturating_sub(1);
            *count
        });
        if left == Some(0) {
            state.handshakes.remove(&self.address);
        }
    }
}

impl Inner {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn me(&self) -> Address {
        self.identity.greeting.keys.validator
    }

    pub(crate) fn messages_per_peer(&self) -> NonZeroUsize {
        let least = usize::try_from(cost(0)).unwrap_or(usize::MAX);
        let most = self.limits.queue_bytes.checked_div(least).unwrap_or(1);
        NonZeroUsize::new(most).unwrap_or(NonZeroUsize::MIN)
    }

    pub(crate) fn reader_of(&self, channel: u64) -> Option<ChannelReader> {
        self.state().channels.get(&channel).cloned()
    }

    /// Only if the channel's reader is still this one.
    pub(crate) fn unregister(&self, channel: u64, number: u64) {
        let mut state = self.state();
        if state
            .channels
            .get(&channel)
            .is_some_and(|reader| reader.number == number)
        {
            state.channels.remove(&channel);
        }
    }

    fn chosen<'a>(state: &'a State, recipients: &'a Recipients<ValidatorKey>) -> impl Iterator<Item = &'a Live> {
        state.live.values().filter(move |live| match recipients {
            Recipients::All => true,
            Recipients::Some(keys) => keys.contains(&live.peer.key),
            Recipients::One(key) => *key == live.peer.key,
        })
    }

    pub(crate) fn connected(&self, recipients: &Recipients<ValidatorKey>) -> Vec<ValidatorKey> {
        let state = self.state();
        Self::chosen(&state, recipients)
            .map(|live| live.peer.key.clone())
            .collect()
    }

    pub(crate) fn send(&self, recipients: &Recipients<ValidatorKey>, channel: u64, message: &IoBuf) -> usize {
        let state = self.state();
        let mut told = 0_usize;
        for live in Self::chosen(&state, recipients) {
            match live.queues.push(channel, message) {
                true => told = told.saturating_add(1),
                false => {
                    self.counters.dropped.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        told
    }

    pub(crate) fn has_room(&self, to: &ValidatorKey, bytes: usize) -> bool {
        let needed = usize::try_from(cost(bytes)).unwrap_or(usize::MAX);
        let state = self.state();
        let mut live = state.live.values();
        live.any(|live| live.peer.key == *to && live.queues.room.available_permits() >= needed)
    }

    pub(crate) fn block(&self, key: ValidatorKey) {
        let mut state = self.state();
        state.live.retain(|_, live| live.peer.key != key);
        if state.blocked.len() >= BLOCKED_MAX {
            state.blocked.pop_first();
        }
        state.blocked.insert(key);
        let all = Set::from_iter_dedup(state.blocked.iter().cloned());
        state.watchers.retain(|watcher| watcher.send_lossy(all.clone()));
    }

    pub(crate) fn watch_blocked(&self) -> BlockedSubscription<ValidatorKey> {
        let (sender, receiver) = ring::channel(NonZeroUsize::MIN);
        let mut state = self.state();
        sender.send_lossy(Set::from_iter_dedup(state.blocked.iter().cloned()));
        state.watchers.push(sender);
        receiver
    }

    async fn accept(&self, stream: TcpStream) -> Result<Proven<TcpStream>, LinkError> {
        stream.set_nodelay(true)?;
        let registered = |account: &Address| self.state().registered(account);
        let (me, appraiser) = (self.me(), self.appraiser());
        let by = self.admission(&me, None, &registered, &*appraiser, clock());
        accepting(stream, &self.configs, &self.identity, &by, self.limits.handshake_limit).await
    }

    async fn dialled(&self, stream: TcpStream, peer: &Address) -> Result<Proven<TcpStream>, LinkError> {
        stream.set_nodelay(true)?;
        let registered = |account: &Address| self.state().registered(account);
        let (me, appraiser) = (self.me(), self.appraiser());
        let by = self.admission(&me, Some(peer), &registered, &*appraiser, clock());
        dialling(stream, &self.configs, &self.identity, &by, self.limits.handshake_limit).await
    }

    pub(crate) fn appraiser(&self) -> Arc<dyn Appraiser> {
        Arc::clone(&self.appraiser)
    }

    pub(crate) fn admission<'a>(
        &'a self,
        me: &'a Address,
        dialled: Option<&'a Address>,
        registered: &'a (dyn Fn(&Address) -> Option<Registered> + Sync),
        appraiser: &'a dyn Appraiser,
        now: UnixTime,
    ) -> Admission<'a> {
        Admission {
            network: &self.chain,
            me,
            dialled,
            registered,
            appraiser,
            simulated: self.simulated,
            tier_min: self.tier_min,
            looks: self.identity.greeting.keys.incarnation == LOOKING,
            now,
        }
    }

    pub(crate) async fn dial(self: Arc<Self>, peer: PeerAddress) {
        let (shortest, longest) = self.limits.redial;
        let mut pause = shortest;
        loop {
            let begun = Instant::now();
            if let Ok(Ok(stream)) =
                tokio::time::timeout(self.limits.handshake_limit, TcpStream::connect(&peer.address)).await
                && let Ok(address) = stream.peer_addr()
            {
                let made = self.dialled(stream, &peer.account).await;
                self.serve(made, address).await;
            }
            // Whoever was connected for a while is dialled again at once.
            pause = match begun.elapsed() > longest {
                true => shortest,
                false => pause.saturating_mul(2).min(longest),
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// Runs a connection to its end, or says why there is none.
    async fn serve(&self, made: Result<Proven<TcpStream>, LinkError>, address: SocketAddr) {
        let refused = |error: &LinkError| {
            self.counters.refusals.fetch_add(1, Ordering::Relaxed);
            tracing::debug!(%address, code = error.code(), "link not made: {error}");
        };
        let proven = match made {
            Ok(proven) => proven,
            Err(error) => return refused(&error),
        };
        let peer = Arc::new(proven.peer);
        let (queues, drains) = Queues::new(&self.limits);
        let (close, closed) = oneshot::channel();
        let number = match self.admit(&peer, queues, address, close) {
            Ok(number) => number,
            Err(error) => return refused(&error),
        };
        self.counters.connections.fetch_add(1, Ordering::Relaxed);
        let (account, incarnation) = (peer.account(), peer.greeting.keys.incarnation);
        tracing::info!(%account, incarnation, %address, "link made");
        let (from, to) = tokio::io::split(proven.stream);
        let ended = tokio::select! {
            ended = connection::read(from, &peer.key, &self.limits, self) => ended,
            ended = connection::write(to, drains, &self.limits, self) => ended,
            _ = closed => Err(LinkError::Closed("another connection took its place, its key is over, or its evidence was judged again")),
        };
        let mut state = self.state();
        if state.live.get(&account).is_some_and(|live| live.number == number) {
            state.live.remove(&account);
        }
        drop(state);
        if let Err(error) = ended {
            tracing::info!(%account, incarnation, code = error.code(), "link ended: {error}");
            if let LinkError::TooLong { .. } = error {
                self.block(peer.key.clone());
            }
        }
    }

    /// Puts a proven connection in its account's place.
    fn admit(
        &self,
        peer: &Arc<Peer>,
        queues: Queues,
        address: SocketAddr,
        close: oneshot::Sender<()>,
    ) -> Result<u64, LinkError> {
        let mut state = self.state();
        if state.blocked.contains(&peer.key) {
            return Err(LinkError::Blocked);
        }
        let account = peer.account();
        let got = peer.greeting.keys.incarnation;
        // Its key may have ended while the handshake went on.
        let registered = state.registered(&account).map(|r| r.incarnation);
        let registered = registered.ok_or(LinkError::Stranger(account))?;
        let held = state.live.get(&account).map(|live| live.peer.greeting.keys.incarnation);
        let least = match got {
            LOOKING => held.unwrap_or(LOOKING),
            _ => registered.max(held.unwrap_or(LOOKING)),
        };
        if got < least {
            return Err(LinkError::Incarnation {
                account,
                registered: least,
                got,
            });
        }
        let number = state.number();
        let live = Live {
            number,
            peer: Arc::clone(peer),
            queues,
            address,
            since: Instant::now(),
            _close: close,
        };
        state.live.insert(account, live);
        Ok(number)
    }
}
