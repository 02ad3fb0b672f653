//! A node that holds no key: it takes final blocks of nodes that it follows, checks their certificates, and answers RPC.
//!
//! What it starts from are a configuration and a genesis ([`Files`]); in a guest's image both are measured. Its ledger begins at the
//! genesis and grows by what a certificate of the committee shows that the state before it named, and by nothing else. Transactions
//! that it is given go to the nodes that it follows.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use hanzo_attestation::Digest256;
use hanzo_chain_rpc::calls::{GetFinal, Submit};
use hanzo_chain_rpc::client::CallError;
use hanzo_chain_rpc::{Node, NodeStanding, PeerStanding, ServerConfig, SubmitError};
use hanzo_init::node::{Followed, GENESIS_BYTES_MAX, NODE_CONFIG_BYTES_MAX, NodeConfig};
use hanzo_ledger::{Canonical, Genesis, SignedTx};
use hanzo_mining::{MiningError, MiningLedger};
use hanzo_store::KeyFile;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::error::NodeError;
use crate::files::{self, LEDGER_FILE, LEDGER_KEY_FILE, READY_FILE};
use crate::follow::{FollowError, ask};
use crate::sync::{self, SyncError};

/// How long to wait after nobody had a newer block.
const PAUSE: Duration = Duration::from_millis(250);
/// How long a node that said what is not so is not asked.
const AWAY: Duration = Duration::from_secs(600);
/// Most transactions that are remembered as handed on.
const HANDED_ON_MAX: usize = 4096;
/// Blocks after which a transaction that was handed on no longer counts as waiting.
const HANDED_ON_BLOCKS: u64 = 120;

/// What a node in an image starts from.
#[derive(Debug, Clone)]
pub struct Files {
    /// The configuration ([`NodeConfig`]).
    pub config: PathBuf,
    /// Canonical bytes of the genesis.
    pub genesis: PathBuf,
    /// Its own folder.
    pub dir: PathBuf,
}

impl Files {
    /// Reads and checks both files of an observer against each other.
    ///
    /// # Errors
    /// [`NodeError`]; a validator's configuration.
    pub fn load(&self) -> Result<(NodeConfig, Genesis), NodeError> {
        let (config, genesis) = self.read()?;
        config
            .observer()
            .map_err(|e| NodeError::part("observer", e.code(), format!("{}: {e}", self.config.display())))?;
        Ok((config, genesis))
    }

    /// Reads and checks both files against each other, whichever role they are for.
    ///
    /// # Errors
    /// [`NodeError`].
    pub(crate) fn read(&self) -> Result<(NodeConfig, Genesis), NodeError> {
        let long = |max: usize| u64::try_from(max).unwrap_or(u64::MAX);
        let text = files::read(&self.config, long(NODE_CONFIG_BYTES_MAX))?;
        let config = NodeConfig::parse(&text)
            .map_err(|e| NodeError::part("configuration", e.code(), format!("{}: {e}", self.config.display())))?;
        let genesis = files::read(&self.genesis, long(GENESIS_BYTES_MAX))?;
        let genesis = Genesis::parse(&genesis)
            .map_err(|e| NodeError::part("genesis", e.code(), format!("{}: {e}", self.genesis.display())))?;
        let value = |field, expected: &dyn std::fmt::Display, got: &dyn std::fmt::Display| NodeError::Value {
            path: self.genesis.clone(),
            field,
            expected: format!("{expected}, as the configuration says"),
            got: got.to_string(),
        };
        if genesis.id != config.network {
            return Err(value("id", &config.network, &genesis.id));
        }
        let digest = genesis.digest();
        if digest != config.genesis {
            return Err(value("digest", &config.genesis, &digest));
        }
        Ok((config, genesis))
    }
}

struct Peer {
    followed: Followed,
    answers: bool,
    away: Option<Instant>,
}

impl Peer {
    fn is_away(&self) -> bool {
        self.away.is_some_and(|since| since.elapsed() < AWAY)
    }
}

struct Observer {
    ledger: Arc<MiningLedger>,
    newest: watch::Sender<u64>,
    peers: Mutex<Vec<Peer>>,
    /// Transactions that a followed node took, with the height then.
    handed_on: Mutex<BTreeMap<[u8; 32], u64>>,
}

/// Runs until it is told to stop; `serving` is told where, once it answers.
///
/// # Errors
/// [`NodeError`]; [`NodeError::Halted`] after it ran.
pub fn run(files: &Files, serving: impl FnOnce(&str)) -> Result<(), NodeError> {
    let (config, genesis) = files.load()?;
    let follow = config
        .observer()
        .map_err(|e| NodeError::part("observer", e.code(), e))?;
    let observer = Arc::new(Observer::open(&files.dir, genesis, follow)?);
    let failed = |e: std::io::Error| NodeError::part("rpc", "node.listen", format!("{}: {e}", config.rpc));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(failed)?;
    runtime.block_on(async {
        let listener = TcpListener::bind(config.rpc).await.map_err(failed)?;
        let at = listener.local_addr().map_err(failed)?.to_string();
        files::write(&files.dir.join(READY_FILE), format!("{{\"rpc\":\"{at}\"}}").as_bytes())?;
        serving(&at);
        let (halt, halted) = tokio::sync::oneshot::channel();
        let follower = Arc::clone(&observer);
        thread::spawn(move || halt.send(follower.follow()));
        let hosts = config.rpc_hosts.clone();
        let server = ServerConfig {
            hosts,
            ..ServerConfig::default()
        };
        tokio::select! {
            () = crate::node::stopped() => {
                tracing::info!("stopping: told to");
                Ok(())
            }
            ended = hanzo_chain_rpc::serve(listener, observer, server, std::future::pending()) => Err(NodeError::Halted {
                code: "node.rpc",
                text: ended.map_or_else(|e| e.to_string(), |()| "RPC ended".into()),
            }),
            error = halted => Err(match error {
                Ok(error) => NodeError::Halted { code: error.code(), text: error.to_string() },
                Err(_) => NodeError::Halted { code: "node.follow", text: "the follower ended".into() },
            }),
        }
    })
}

impl Observer {
    fn open(dir: &Path, genesis: Genesis, follow: &[Followed]) -> Result<Self, NodeError> {
        let key = KeyFile::load_or_create(&dir.join(LEDGER_KEY_FILE))
            .map_err(|e| NodeError::part("ledger key", e.code(), e))?;
        let ledger = MiningLedger::open(&dir.join(LEDGER_FILE), &key, genesis)
            .map_err(|e| NodeError::part("ledger", e.code(), e))?;
        let (newest, _) = watch::channel(ledger.read(|state| state.head().height));
        let peers = follow.iter().map(|followed| Peer {
            followed: followed.clone(),
            answers: false,
            away: None,
        });
        Ok(Self {
            ledger: Arc::new(ledger),
            newest,
            peers: Mutex::new(peers.collect()),
            handed_on: Mutex::default(),
        })
    }

    fn height(&self) -> u64 {
        self.ledger.read(|state| state.head().height)
    }

    fn followed(&self) -> Vec<Followed> {
        let peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let there = peers.iter().filter(|peer| !peer.is_away());
        there.map(|peer| peer.followed.clone()).collect()
    }

    fn note(&self, of: &Followed, answers: bool, wrong: bool) {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        for peer in peers.iter_mut().filter(|peer| peer.followed == *of) {
            peer.answers = answers;
            if wrong {
                peer.away = Some(Instant::now());
            }
        }
    }

    /// Takes what is new for as long as the store takes it; why it did not.
    fn follow(&self) -> MiningError {
        loop {
            let mut moved = false;
            for followed in self.followed() {
                match self.take_from(&followed) {
                    Ok(new) => moved |= new > 0,
                    Err(error) => return error,
                }
            }
            if !moved {
                thread::sleep(PAUSE);
            }
        }
    }

    /// How many blocks of this node were new.
    fn take_from(&self, followed: &Followed) -> Result<usize, MiningError> {
        let from = self.height().saturating_add(1);
        let bytes = match ask(followed, &GetFinal { from: Some(from) }) {
            Err(error) => {
                tracing::debug!("{error}");
                self.note(followed, false, false);
                return Ok(0);
            }
            Ok(view) => match view.blocks {
                None => {
                    self.note(followed, true, false);
                    return Ok(0);
                }
                Some(text) => text,
            },
        };
        let taken = read(&bytes).and_then(|answer| sync::take(&self.ledger, &answer));
        match taken {
            Ok(new) => {
                self.note(followed, true, false);
                self.newest.send_replace(self.height());
                Ok(new)
            }
            Err(SyncError::Useless(why)) => {
                tracing::debug!(node = %followed.address, "{why}");
                self.note(followed, true, false);
                Ok(0)
            }
            Err(SyncError::Store(error)) => Err(error),
            Err(error) => {
                tracing::warn!(node = %followed.address, "not asked for {} s: {error}", AWAY.as_secs());
                self.note(followed, true, true);
                Ok(0)
            }
        }
    }
}

fn read(text: &str) -> Result<sync::Answer, SyncError> {
    let bytes = hex::decode(text).map_err(|e| SyncError::Wrong(format!("blocks: expected hex: {e}")))?;
    match sync::Message::from_bytes("sync", &bytes, sync::ANSWER_BYTES_MAX) {
        Ok(sync::Message::Answer(answer)) => Ok(*answer),
        Ok(_) => Err(SyncError::Wrong("expected an answer, got a question".into())),
        Err(error) => Err(SyncError::Wrong(error.to_string())),
    }
}

impl Node for Observer {
    fn ledger(&self) -> &MiningLedger {
        &self.ledger
    }

    fn submit(&self, tx: SignedTx) -> Result<(), SubmitError> {
        let id = tx.tx.digest().0;
        let call = Submit {
            transaction: Some(hex::encode(tx.to_bytes())),
        };
        let mut known = false;
        for followed in self.followed() {
            match ask(&followed, &call) {
                Ok(_) => {
                    self.hand_on(id);
                    return Ok(());
                }
                Err(FollowError::Call(CallError::Refused { code, .. })) if code == SubmitError::Known.code() => {
                    known = true;
                }
                Err(error) => tracing::info!(node = %followed.address, "a transaction was not taken: {error}"),
            }
        }
        match known {
            true => Err(SubmitError::Known),
            false => Err(SubmitError::NotReady {
                why: "no node that this one follows took it; ask one of them to learn why",
            }),
        }
    }

    fn is_pending(&self, id: &Digest256) -> bool {
        let handed_on = self.handed_on.lock().unwrap_or_else(PoisonError::into_inner);
        let height = self.height();
        handed_on
            .get(&id.0)
            .is_some_and(|then| then.saturating_add(HANDED_ON_BLOCKS) > height)
    }

    fn standing(&self) -> NodeStanding {
        let epoch = self
            .ledger
            .read(|state| state.genesis().params.epoch_of(state.head().height));
        let peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let peers = peers.iter().map(|peer| PeerStanding {
            account: String::new(),
            address: peer.followed.address.to_string(),
            connected: peer.answers,
            blocked: peer.is_away(),
        });
        NodeStanding {
            version: concat!("hanzo-validator ", env!("CARGO_PKG_VERSION"), " (observer)").to_owned(),
            epoch,
            peers: peers.collect(),
            ..NodeStanding::default()
        }
    }

    fn final_blocks(&self, from: u64) -> Result<Option<Vec<u8>>, MiningError> {
        Ok(sync::answer(&self.ledger, from)?.map(|answer| answer.to_bytes()))
    }

    fn newest(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }
}

impl Observer {
    fn hand_on(&self, id: [u8; 32]) {
        let height = self.height();
        let mut handed_on = self.handed_on.lock().unwrap_or_else(PoisonError::into_inner);
        handed_on.retain(|_, then| then.saturating_add(HANDED_ON_BLOCKS) > height);
        if handed_on.len() < HANDED_ON_MAX {
            handed_on.insert(id, height);
        }
    }
}
