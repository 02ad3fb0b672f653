//! A validator from its start to its end.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};

use commonware_runtime::{Runner as _, Spawner as _, Supervisor as _, tokio as runtime};
use hanzo_chain::{
    ConsensusConfig, ConsensusEngine, Links, MESSAGE_BYTES_MAX, Pool, Progress, StoredBlocks, Validator, run_epochs,
};
use hanzo_chain_links::{
    Identity, LOOKING, Limits, LinkReceiver, LinkSender, Network, PeerAddress, Registered, Standing,
};
use hanzo_chain_rpc::ServerConfig;
use hanzo_chain_types::KeyRequest;
use hanzo_ledger::{Address, Genesis, Key, State, TX_BYTES_MAX, Value};
use hanzo_mining::MiningLedger;
use hanzo_signer::MiningWallet;
use hanzo_store::KeyFile;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::boot::{Account, ConsensusKey, draw, ledger_key, partition};
use crate::ceremony;
use crate::config::{Config, Keys};
use crate::error::NodeError;
use crate::files::{
    self, INCARNATION_FILE, JOURNAL_DIR, KEY_FILE, LEDGER_FILE, LEDGER_KEY_FILE, READY_FILE, REPORTS_FILE,
};
use crate::gossip;
use crate::kept::{self, Leaving};
use crate::machine::{Machine, MakeMachine};
use crate::reports::Reports;
use crate::rotate::{self, Rotation};
use crate::rpc::{Heard, Seen};
use crate::serve::{self, Asks, Site};
use crate::snapshot::{self, Fetch};
use crate::sync;
use crate::watch::Watched;

/// Channels of the engine of epoch e begin at (e + 1) times this.
const CHANNELS: u64 = 16;
/// How often one process begins again with another incarnation before it gives up.
const BOOTS_MAX: u32 = 4;

/// Checks a folder without starting anything; its account.
///
/// # Errors
/// [`NodeError`].
pub fn check(config: &Config, make: MakeMachine) -> Result<Address, NodeError> {
    let wallets = Wallets::open(config)?;
    make(config)?;
    ceremony::genesis(config)?;
    Ok(Address::of(&ledger_key(wallets.account.public())?))
}

/// Is told where RPC answers, once it does.
pub type Serving = Box<dyn FnOnce(&str) + Send>;

/// Runs a validator until it is told to stop.
///
/// # Errors
/// [`NodeError`]; [`NodeError::Halted`] after it ran.
pub fn run(config: Config, make: MakeMachine, serving: Serving) -> Result<(), NodeError> {
    let machine = make(&config)?;
    let storage = config.file(JOURNAL_DIR);
    let runner = runtime::Runner::new(runtime::Config::new().with_storage_directory(storage));
    runner.start(|context| async move {
        let (stop, leaving) = (stopped(), Leaving::default());
        tokio::pin!(stop);
        tokio::select! {
            () = &mut stop => {
                tracing::info!("stopping: told to");
                leaving.leave(&config)
            }
            ended = begin(&context, &config, &machine, make, serving, &leaving) => ended,
        }
    })
}

/// SIGTERM or SIGINT.
pub(crate) async fn stopped() {
    use tokio::signal::unix::{SignalKind, signal};
    let (terminate, interrupt) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    match (terminate, interrupt) {
        (Ok(mut terminate), Ok(mut interrupt)) => {
            tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        }
        _ => std::future::pending().await,
    }
}

pub(crate) struct Wallets {
    pub(crate) account: MiningWallet,
    registrar: Option<MiningWallet>,
}

impl Wallets {
    pub(crate) fn open(config: &Config) -> Result<Self, NodeError> {
        let (wallet, registrar, passphrase) = match &config.keys {
            Keys::Given { account, .. } => {
                return Ok(Self {
                    account: account.wallet()?,
                    registrar: None,
                });
            }
            Keys::Files {
                wallet,
                registrar,
                passphrase,
            } => (wallet, registrar.as_ref(), files::passphrase(passphrase)?),
        };
        Ok(Self {
            account: files::wallet(wallet, &passphrase)?,
            registrar: registrar.map(|path| files::wallet(path, &passphrase)).transpose()?,
        })
    }
}

async fn listen(what: &'static str, address: &str) -> Result<(TcpListener, String), NodeError> {
    let failed = |e: std::io::Error| NodeError::part(what, "node.listen", format!("{address}: {e}"));
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let at = listener.local_addr().map_err(failed)?.to_string();
    Ok((listener, at))
}

/// What a process has once, however often it begins with another incarnation.
pub(crate) struct House {
    pub(crate) ledger: Arc<MiningLedger>,
    pub(crate) pool: Arc<Pool>,
    pub(crate) progress: Progress,
    pub(crate) heard: Arc<Heard>,
    config: ConsensusConfig,
    /// As the configuration names them now.
    peers: Arc<Mutex<Vec<(Address, String)>>>,
    /// Told once.
    serving: Mutex<Option<(Serving, String)>>,
    policy: Policies,
}

impl House {
    fn peers(&self) -> Vec<PeerAddress> {
        let peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let address = |(account, address): &(Address, String)| PeerAddress {
            account: *account,
            address: address.clone(),
        };
        peers.iter().map(address).collect()
    }
}

/// The policy in force, whichever key this process has now, and what has it read again.
#[derive(Clone)]
struct Policies {
    standing: Arc<Standing>,
    /// Of the whole process: none is missed between two boots.
    hangup: Arc<tokio::sync::Mutex<Signal>>,
}

/// The engine's parameters for a genesis.
fn consensus(genesis: &Genesis) -> ConsensusConfig {
    let interval = genesis.params.block_interval_ms;
    let leader = interval.saturating_mul(2).max(1_000);
    ConsensusConfig {
        network_id: genesis.id,
        block_interval_ms: interval,
        leader_timeout_ms: leader,
        certification_timeout_ms: leader.saturating_add(500),
        ..ConsensusConfig::ai_chain_testnet()
    }
}

async fn begin(
    context: &runtime::Context,
    config: &Config,
    machine: &Machine,
    make: MakeMachine,
    serving: Serving,
    leaving: &Leaving,
) -> Result<(), NodeError> {
    let wallets = Wallets::open(config)?;
    let owner = ledger_key(wallets.account.public())?;
    let registrar = wallets.registrar.as_ref().map(|w| ledger_key(w.public())).transpose()?;
    let hangup = signal(SignalKind::hangup()).map_err(|e| NodeError::part("signals", "node.signals", e))?;
    let (link, link_at) = listen("link", &config.listen).await?;
    let (rpc, rpc_at) = listen("rpc", &config.rpc).await?;
    let ready = format!("{{\"link\":\"{link_at}\",\"rpc\":\"{rpc_at}\"}}");
    files::write(&config.file(READY_FILE), ready.as_bytes())?;
    let (genesis, mut first) = match ceremony::genesis(config)? {
        Some(genesis) => (genesis, None),
        None => {
            let address = config.address.clone().unwrap_or_else(|| link_at.clone());
            let (genesis, key) = ceremony::wait(config, &owner, registrar.as_ref(), machine, address).await?;
            (genesis, Some(key))
        }
    };
    let network = genesis.network();
    let consensus = consensus(&genesis);
    let key = KeyFile::load_or_create(&config.file(LEDGER_KEY_FILE))
        .map_err(|e| NodeError::part("ledger key", e.code(), e))?;
    let ledger = MiningLedger::open(&config.file(LEDGER_FILE), &key, genesis)
        .map_err(|e| NodeError::part("ledger", e.code(), e))?;
    let (newest, _) = watch::channel(ledger.read(|state| state.head().height));
    let house = House {
        ledger: Arc::new(ledger),
        pool: Arc::new(Pool::new()),
        progress: Progress::default(),
        heard: Arc::new(Heard {
            newest,
            faults: AtomicU64::new(0),
            reports: Mutex::new(Reports::load(&config.file(REPORTS_FILE))?),
        }),
        config: consensus,
        peers: Arc::new(Mutex::new(config.peers.clone())),
        serving: Mutex::new(Some((serving, rpc_at.clone()))),
        policy: Policies {
            standing: Arc::new(Standing::new(Arc::clone(&machine.appraiser))),
            hangup: Arc::new(tokio::sync::Mutex::new(hangup)),
        },
    };
    let me = Address::of(&owner);
    let mut listeners = Some((link, rpc));
    let mut next = None;
    let mut left = house.ledger.read(|state| kept::take(config, state, &network, &me))?;
    // Without files of its own it asks the chain first.
    let mut looks = matches!(config.keys, Keys::Given { .. });
    let mut past = 0_u32;
    while past < BOOTS_MAX {
        let key = match (first.take(), left.take()) {
            _ if looks => ConsensusKey::looking(&network, &me)?,
            (Some(key), _) => key.enrol(&network, &me)?,
            (None, Some(key)) => key,
            (None, None) => {
                let incarnation = incarnation(config, &house, &me, next)?;
                draw(&network, &me, incarnation, kept::keeps(config))?
            }
        };
        leaving.with(&key);
        if !looks {
            files::write(&config.file(INCARNATION_FILE), key.incarnation.to_string().as_bytes())?;
        }
        let account = Account::open(Wallets::open(config)?.account, network)?;
        let boot = Boot {
            config,
            machine,
            make,
            house: &house,
            account,
            registrar: wallets.registrar.as_ref(),
            listeners: match listeners.take() {
                Some(both) => both,
                None => (listen("link", &link_at).await?.0, listen("rpc", &rpc_at).await?.0),
            },
        };
        let number = boot.run(context, key).await?;
        if !looks && number != LOOKING {
            past = past.saturating_add(1);
        }
        (looks, next) = (number == LOOKING, Some(number));
    }
    Err(NodeError::Halted {
        code: "node.twice",
        text: format!(
            "the chain gets other keys for {me}: does a second process run with this wallet? Stop one of them"
        ),
    })
}

/// The number of this boot's key: after the chain's last, and after every one that this folder booted with before, as far as the
/// ledger here knows; `next` if the chain told better.
fn incarnation(config: &Config, house: &House, me: &Address, next: Option<u64>) -> Result<u64, NodeError> {
    if let Some(next) = next {
        return Ok(next);
    }
    let registered = house
        .ledger
        .read(|state| state.validator(me).map_or(0, |v| v.incarnation));
    let path = config.file(INCARNATION_FILE);
    let before = files::read_if_there(&path, 32)?.unwrap_or_default();
    let before = String::from_utf8(before)
        .ok()
        .and_then(|text| text.trim().parse::<u64>().ok());
    Ok(registered.max(before.unwrap_or(0)).saturating_add(1))
}

struct Boot<'a> {
    config: &'a Config,
    machine: &'a Machine,
    make: MakeMachine,
    house: &'a House,
    account: Account,
    registrar: Option<&'a MiningWallet>,
    listeners: (TcpListener, TcpListener),
}

pub(crate) fn members(state: &State) -> BTreeMap<Address, Registered> {
    let all = Key::Validator(Address([0; 32]))..=Key::Validator(Address([0xff; 32]));
    let each = state
        .entries()
        .range(all)
        .filter_map(|(key, value)| match (key, value) {
            (Key::Validator(account), Value::Validator(held)) => Some((
                *account,
                Registered {
                    incarnation: held.incarnation,
                    key: held.key,
                },
            )),
            _ => None,
        });
    each.collect()
}

impl Boot<'_> {
    /// Runs with one key until the chain is seen to want another; the number of that.
    async fn run(self, context: &runtime::Context, key: ConsensusKey) -> Result<u64, NodeError> {
        let Self {
            config,
            machine,
            make,
            house,
            account,
            registrar,
            listeners: (link, rpc),
        } = self;
        let ledger = &house.ledger;
        let (network, params) = ledger.read(|state| (*state.network(), state.genesis().params));
        let possession = rotate::of(&key);
        let linked = |e: hanzo_chain_links::LinkError| NodeError::part("links", e.code(), e);
        let identity = Identity::attest(
            network,
            account.public().clone(),
            key.incarnation,
            (key.public.clone(), key.proof.clone()),
            &*machine.attester,
            &mut |request| account.sign(request),
        )
        .map_err(linked)?;
        let greeting = identity.greeting().clone();
        if let Some((possession, _)) = &possession {
            // For registrars that have no link here (`hanzo chain endorse-key`).
            let request = KeyRequest {
                keys: greeting.keys.clone(),
                evidence: greeting.evidence.to_vec(),
                possession: possession.clone(),
            };
            let json = request.to_json().map_err(|e| NodeError::part("key", e.code(), e))?;
            files::write(&config.file(KEY_FILE), &json)?;
        }
        let limits = Limits {
            message_bytes_max: sync::ANSWER_BYTES_MAX,
            queue_bytes: sync::ANSWER_BYTES_MAX.saturating_mul(2),
            ..Limits::default()
        };
        let rules = (params.simulated_votes, params.validator_tier_min);
        let judges = Arc::<Standing>::clone(&house.policy.standing);
        let links = Network::new(identity, judges, rules, limits).map_err(linked)?;
        links.set_members(ledger.read(members));
        let (asks, asked) = links.register(sync::CHANNEL, sync::ANSWER_BYTES_MAX);
        let (snapshots, states) = links.register(snapshot::CHANNEL, snapshot::MESSAGE_BYTES_MAX);
        let (transactions, heard) = links.register(gossip::CHANNEL, TX_BYTES_MAX);
        let (words, told) = links.register(rotate::CHANNEL, rotate::MESSAGE_BYTES_MAX);
        tracing::info!(account = %account.address(), incarnation = key.incarnation, "booted");

        let seen = Arc::new(Seen {
            ledger: Arc::clone(ledger),
            pool: Arc::clone(&house.pool),
            progress: house.progress.clone(),
            heard: Arc::clone(&house.heard),
            links: links.clone(),
            transactions: transactions.clone(),
            account: account.address(),
            peers: Arc::clone(&house.peers),
        });
        let mut tasks = JoinSet::new();
        let peers = house.peers();
        links.set_candidates(peers.iter().map(|peer| peer.account).collect());
        tasks.spawn(links.clone().run(link, peers));
        tasks.spawn(read_again(
            links.clone(),
            config.readable(),
            make,
            Arc::clone(&house.peers),
            house.policy.clone(),
        ));
        let hosts = config.rpc_hosts.clone();
        tasks.spawn(async move {
            let config = ServerConfig {
                hosts,
                ..ServerConfig::default()
            };
            if let Err(error) = hanzo_chain_rpc::serve(rpc, seen, config, std::future::pending()).await {
                tracing::error!("rpc stopped: {error}");
            }
        });
        let first = house.serving.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((serving, at)) = first {
            serving(&at);
        }
        tasks.spawn(gossip::receive(
            heard,
            links.blocker(),
            Arc::clone(&house.pool),
            Arc::clone(ledger),
        ));
        let fetch = Arc::new(Mutex::new(Fetch::new(Arc::clone(ledger), config.snapshot_behind)));
        let (halt, mut halted) = mpsc::unbounded_channel();
        let site = Site {
            links: links.clone(),
            ledger: Arc::clone(ledger),
            fetch: Arc::clone(&fetch),
            heard: Arc::clone(&house.heard),
            halt,
        };
        let asks = Asks::new(asks);
        tasks.spawn(serve::snapshots(states, snapshots.clone(), site.clone()));
        tasks.spawn(serve::sync(asked, asks.clone(), site));

        let validator = Validator {
            config: house.config.clone(),
            key: key.public.clone(),
            signer: Arc::clone(&key.signer),
            ledger: StoredBlocks::new(Arc::clone(ledger), Arc::clone(&house.heard)),
            pool: Arc::clone(&house.pool),
            progress: house.progress.clone(),
            blocker: links.blocker(),
            partition: partition(&greeting.keys),
        };
        let channels = links.clone();
        let epochs = context.child("epochs").spawn(move |context| {
            run_epochs(context, validator, move |epoch| {
                std::future::ready(of_epoch(&channels, epoch))
            })
        });
        let mut epochs = epochs;

        let mut watched = Watched {
            config,
            house,
            links: &links,
            asks,
            words,
            snapshots,
            fetch,
            transactions,
            account: &account,
            registrar,
            possession,
            rotation: Rotation::default(),
            height: 0,
            quiet: 0,
            alone: 0,
            ticks: 0,
        };
        let ended = tokio::select! {
            ended = &mut epochs => Err(match ended {
                Ok(Ok(())) => NodeError::Halted { code: "node.engine", text: "the engine stopped".into() },
                Ok(Err(error)) => NodeError::Halted { code: error.code(), text: error.to_string() },
                Err(error) => NodeError::Halted { code: "node.engine", text: error.to_string() },
            }),
            Some(error) = halted.recv() => Err(error),
            next = watched.watch(told) => Ok(next),
        };
        epochs.abort();
        tasks.shutdown().await;
        ended
    }
}

/// SIGHUP: configuration and policy are read again; connections are held against the policy, new peers may come and are dialled. Files that
/// cannot be read change nothing.
async fn read_again(
    links: Network,
    dir: Option<PathBuf>,
    make: MakeMachine,
    peers: Arc<Mutex<Vec<(Address, String)>>>,
    policy: Policies,
) {
    let mut hangup = policy.hangup.lock().await;
    let mut dialling = JoinSet::new();
    while hangup.recv().await.is_some() {
        // What was measured stays as it is.
        let Some(dir) = dir.clone() else { continue };
        let (judged, peers, standing) = (links.clone(), Arc::clone(&peers), Arc::clone(&policy.standing));
        let work = tokio::task::spawn_blocking(move || {
            let again = Config::load(&dir).and_then(|config| Ok((make(&config)?, config.peers)));
            match again {
                Ok((machine, now)) => {
                    standing.set(machine.appraiser);
                    judged.set_candidates(now.iter().map(|(account, _)| *account).collect());
                    // First: the boot may end while evidence is judged, and the next begins with these.
                    let new = {
                        let mut held = peers.lock().unwrap_or_else(PoisonError::into_inner);
                        let new = now.iter().filter(|peer| !held.contains(peer)).cloned().collect();
                        *held = now;
                        new
                    };
                    let closed = judged.judge_now();
                    tracing::info!(
                        closed = closed.len(),
                        "evidence is judged by the policy that was read again"
                    );
                    new
                }
                Err(error) => {
                    tracing::error!("the configuration and policy before go on: {error}");
                    Vec::new()
                }
            }
        });
        for (account, address) in work.await.unwrap_or_default() {
            dialling.spawn(links.clone().dial(PeerAddress { account, address }));
        }
    }
}

/// Networks of the engine of an epoch.
fn of_epoch(links: &Network, epoch: u64) -> Links<LinkSender, LinkReceiver> {
    let first = epoch.saturating_add(1).saturating_mul(CHANNELS);
    let vote = ConsensusEngine::message_bytes_max();
    Links {
        votes: links.register(first, vote),
        certificates: links.register(first.saturating_add(1), vote),
        resolver: links.register(first.saturating_add(2), vote),
        blocks: links.register(first.saturating_add(3), MESSAGE_BYTES_MAX),
    }
}
