//! A validator of the test's own: the engine behind the same links, with a key that has no guard. When told to, it signs and sends two
//! notarizations of the view after each one that it votes in: nobody has a certificate of that view yet, so whoever hears both has evidence.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::thread;
use std::time::Duration;

use commonware_codec::Encode;
use commonware_consensus::simplex::types::{Notarize, Proposal as EngineProposal, Vote};
use commonware_consensus::types::{Epoch, Round, View};
use commonware_cryptography::sha256::Digest;
use commonware_p2p::{Receiver as _, Recipients};
use commonware_runtime::{Runner as _, Supervisor as _, tokio as runtime};
use hanzo_chain::{
    AIChainVote, BlockId, ConsensusConfig, ConsensusEngine, Links, MESSAGE_BYTES_MAX, Pool, Progress, Scheme,
    StoredBlocks, Validator, VoteSignature, VoteSigner, run_epochs,
};
use hanzo_chain_links::{Identity, Limits, LinkSender, Network, PeerAddress, Registered};
use hanzo_chain_node::boot::{Account, signer_network};
use hanzo_chain_node::sync;
use hanzo_chain_types::committee_of;
use hanzo_ledger::{Address, Canonical, Fixed, Genesis, Key, Network as Chain, PublicKey, Value, key_digest};
use hanzo_mining::MiningLedger;
use hanzo_pqc::Dek;
use hanzo_pqc::dsa::{MlDsa65, SigningKey};
use hanzo_signer::{MiningWallet, SignRequest, Subject};
use tokio::net::TcpListener;

/// Signs whatever it is asked.
struct Plain(SigningKey<MlDsa65>);

impl Plain {
    fn sign(&self, network: &Chain, vote: &AIChainVote) -> Option<VoteSignature> {
        let bytes = vote.domain().signed_bytes(&vote.message(network));
        VoteSignature::new(&self.0.sign(&bytes).ok()?)
    }
}

impl VoteSigner for Plain {
    fn sign(&self, network: &Chain, vote: &AIChainVote) -> Option<VoteSignature> {
        Plain::sign(self, network, vote)
    }
}

/// Says two things of the next view, and sends them by itself.
struct TwoFaced {
    key: Arc<Plain>,
    public: PublicKey,
    ledger: Weak<MiningLedger>,
    turned: Arc<AtomicBool>,
    lies: Arc<AtomicU64>,
    votes: Arc<Mutex<BTreeMap<u64, LinkSender>>>,
}

impl VoteSigner for TwoFaced {
    fn sign(&self, network: &Chain, vote: &AIChainVote) -> Option<VoteSignature> {
        if let (AIChainVote::Notarize(said), true) = (vote, self.turned.load(Ordering::SeqCst)) {
            let ledger = self.ledger.upgrade()?;
            let set = ledger.read(|state| committee_of(state, said.epoch)).ok().flatten();
            let plain: Arc<dyn VoteSigner> = self.key.clone();
            let scheme = set.and_then(|set| Scheme::signer(*network, set, &self.public, plain));
            let round = Round::new(Epoch::new(said.epoch), View::new(said.view + 1));
            for block in [0xaa, 0xbb] {
                let lie = EngineProposal::new(round, View::new(said.view), Digest([block; 32]));
                let lie = scheme
                    .as_ref()
                    .and_then(|scheme| Notarize::<Scheme, BlockId>::sign(scheme, lie));
                if let (Some(lie), Some(sender)) = (lie, self.votes.lock().unwrap().get(&said.epoch)) {
                    let told = sender.tell(&Recipients::All, Vote::Notarize(lie).encode());
                    self.lies.fetch_add(told as u64, Ordering::SeqCst);
                }
            }
        }
        self.key.sign(network, vote)
    }
}

pub struct Byzantine {
    turned: Arc<AtomicBool>,
    pub lies: Arc<AtomicU64>,
    pub link: String,
}

/// What it is made of.
pub struct Made {
    pub genesis: Genesis,
    pub wallet: MiningWallet,
    pub owner: PublicKey,
    pub seed: [u8; 32],
    pub consensus: PublicKey,
    pub peers: Vec<PeerAddress>,
}

impl Byzantine {
    /// Runs until the test's process ends.
    pub fn start(dir: &Path, made: Made) -> Self {
        let (turned, lies) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (told, link) = std::sync::mpsc::channel();
        let (dir, turned_too, lies_too) = (dir.to_owned(), turned.clone(), lies.clone());
        thread::spawn(move || {
            let config = runtime::Config::new().with_storage_directory(dir.join("journal"));
            runtime::Runner::new(config).start(|context| run(context, dir, made, turned_too, lies_too, told));
        });
        let link = link.recv().unwrap();
        Self { turned, lies, link }
    }

    pub fn turn(&self) {
        self.turned.store(true, Ordering::SeqCst);
    }
}

async fn run(
    context: runtime::Context,
    dir: std::path::PathBuf,
    made: Made,
    turned: Arc<AtomicBool>,
    lies: Arc<AtomicU64>,
    told: std::sync::mpsc::Sender<String>,
) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    told.send(listener.local_addr().unwrap().to_string()).unwrap();
    let network = made.genesis.network();
    let interval = made.genesis.params.block_interval_ms;
    let ledger = MiningLedger::open(&dir.join("ledger.db"), &Dek::generate().unwrap(), made.genesis.clone()).unwrap();
    let ledger = Arc::new(ledger);
    let account = Account::open(made.wallet, network).unwrap();
    let machine = hanzo_chain_simulated::machine(&hanzo_simulated_tee::SimulatedProcessor::for_tests()).unwrap();
    let subject = Subject::Possession {
        validator: account.address().0,
        incarnation: 1,
        key: key_digest(&made.consensus).0,
    };
    let request = SignRequest {
        network: signer_network(&network),
        subject,
    };
    let key: SigningKey<MlDsa65> = SigningKey::from_seed(&made.seed).unwrap();
    let possession = key
        .sign(&hanzo_pqc::Domain::ChainPossession.signed_bytes(&request.encode()))
        .unwrap();
    let possession = Fixed::new(&possession).unwrap();
    let identity = Identity::attest(
        network,
        made.owner,
        1,
        (made.consensus.clone(), possession),
        &*machine.attester,
        &mut |request| account.sign(request),
    )
    .unwrap();
    let limits = Limits {
        message_bytes_max: sync::ANSWER_BYTES_MAX,
        queue_bytes: sync::ANSWER_BYTES_MAX * 2,
        ..Limits::default()
    };
    let links = Network::new(identity, machine.appraiser, (true, 2), limits).unwrap();
    let (asks, mut answers) = links.register(sync::CHANNEL, sync::ANSWER_BYTES_MAX);
    let (members_of, members_to) = (ledger.clone(), links.clone());
    tokio::spawn(async move {
        loop {
            let height = members_of.read(|state| state.head().height);
            members_to.set_members(members_of.read(members));
            asks.tell(&Recipients::All, sync::Message::Ask(height + 1).to_bytes());
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    });
    let taken = ledger.clone();
    tokio::spawn(async move {
        while let Ok((_, message)) = answers.recv().await {
            if let Ok(sync::Message::Answer(answer)) =
                sync::Message::from_bytes("sync", message.as_ref(), sync::ANSWER_BYTES_MAX)
            {
                let _ = sync::take(&taken, &answer);
            }
        }
    });
    tokio::spawn(links.clone().run(listener, made.peers));
    let votes = Arc::new(Mutex::new(BTreeMap::new()));
    let key = SigningKey::from_seed(&made.seed).unwrap();
    let validator = Validator {
        config: ConsensusConfig {
            network_id: network.id,
            block_interval_ms: interval,
            ..ConsensusConfig::ai_chain_testnet()
        },
        key: made.consensus.clone(),
        signer: Arc::new(TwoFaced {
            key: Arc::new(Plain(key)),
            public: made.consensus,
            ledger: Arc::downgrade(&ledger),
            turned,
            lies,
            votes: votes.clone(),
        }) as Arc<dyn VoteSigner>,
        ledger: StoredBlocks::new(ledger, Arc::new(())),
        pool: Arc::new(Pool::new()),
        progress: Progress::default(),
        blocker: links.blocker(),
        partition: "byzantine".into(),
    };
    let ended = run_epochs(context.child("epochs"), validator, move |epoch| {
        let (first, vote) = ((epoch + 1) * 16, ConsensusEngine::message_bytes_max());
        let own = links.register(first, vote);
        votes.lock().unwrap().insert(epoch, own.0.clone());
        std::future::ready(Links {
            votes: own,
            certificates: links.register(first + 1, vote),
            resolver: links.register(first + 2, vote),
            blocks: links.register(first + 3, MESSAGE_BYTES_MAX),
        })
    });
    let _ = ended.await;
}

fn members(state: &hanzo_ledger::State) -> BTreeMap<Address, Registered> {
    let each = state.entries().iter().filter_map(|(key, value)| match (key, value) {
        (Key::Validator(account), Value::Validator(held)) => {
            let (incarnation, key) = (held.incarnation, held.key);
            Some((*account, Registered { incarnation, key }))
        }
        _ => None,
    });
    each.collect()
}
