//! Links over loopback: what is taken, and the nearest thing to it that is not.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use commonware_p2p::{Blocker as _, Receiver as _, Recipients, Sender as _};
use hanzo_attestation::bundle::CpuEvidence;
use hanzo_attestation::statement::{EvidenceRequest, Statement};
use hanzo_attestation::{Anchors, Collateral, Digest256, Digest384, UnixTime, jcs};
use hanzo_chain_types::ValidatorKeys;
use hanzo_ledger::{
    Address, Bounded, Canonical, Fixed, MlDsaSignature, Network as Chain, NetworkKind, PublicKey, TESTNET, key_digest,
};
use hanzo_policy::{AppraisalPolicy, EpycTcb, PrivacyTier, SnpPolicy, SnpReference, TcbFloors};
use hanzo_pqc::dsa::{MlDsa65, SigningKey};
use hanzo_signer::{
    FreshnessError, FreshnessSource, Head, Network as SignerNetwork, Role, SecurityLevel, SignRequest, Signer,
    SignerKey, Subject, Volatile,
};
use hanzo_simulated_tee::{LaunchSpec, SimulatedGuest, SimulatedProcessor, simulated_measurement};
use hanzo_verifier::VerifierContext;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::evidence::clock;
use crate::frame::{head, write_message};
use crate::handshake::{Configs, Proven, accepting, dialling};
use crate::*;

mod again;

const LIMIT: Duration = Duration::from_secs(20);

static PROCESSOR: LazyLock<SimulatedProcessor> = LazyLock::new(SimulatedProcessor::for_tests);

fn image() -> Digest384 {
    Digest384::of(b"a validator")
}

struct Guest(Mutex<SimulatedGuest>);

impl Guest {
    fn new() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let crl = PROCESSOR.crl_der(UnixTime(now.as_secs()));
        let guest = PROCESSOR.launch(LaunchSpec::new(image(), Digest256::of(b"")));
        Self(Mutex::new(guest.with_crl(crl)))
    }
}

impl Attester for Guest {
    fn evidence(&self, request: &EvidenceRequest) -> Result<CpuEvidence, AttestError> {
        Ok(CpuEvidence::Snp(self.0.lock().unwrap().evidence(request.report_data())))
    }
}

fn appraiser(image: Digest384) -> Arc<dyn Appraiser> {
    let floors = TcbFloors {
        genoa: Some(EpycTcb {
            bootloader: 10,
            tee: 0,
            snp: 23,
            microcode: 84,
        }),
        ..TcbFloors::default()
    };
    let reference = SnpReference {
        name: hanzo_attestation::name::Name::new("validator").unwrap(),
        measurement: simulated_measurement(&image, &Digest256::of(b"")),
        config_digest: Digest256::of(b""),
    };
    Arc::new(PolicyAppraiser(VerifierContext {
        anchors: Anchors::vendor().with_simulator_ark(PROCESSOR.ark_der().to_vec()),
        collateral: Collateral::default(),
        policy: AppraisalPolicy::closed(PrivacyTier::CpuTee).with_snp(SnpPolicy::any_chip(floors, vec![reference])),
    }))
}

fn chain(genesis: u8) -> Chain {
    Chain {
        kind: NetworkKind::AiChain,
        id: TESTNET,
        genesis: Digest256([genesis; 32]),
    }
}

fn public(seed: u8) -> PublicKey {
    let key: SigningKey<MlDsa65> = SigningKey::from_seed(&[seed; 32]).unwrap();
    Fixed::new(key.verifying_key().as_bytes()).unwrap()
}

fn account(n: u8) -> Address {
    Address::of(&public(n))
}

/// The head of a journal that lives as long as its test.
struct Held(Head);

impl FreshnessSource for Held {
    fn newest(&mut self) -> Result<Head, FreshnessError> {
        Ok(self.0)
    }

    fn advance(&mut self, _from: Head, to: Head) -> Result<(), FreshnessError> {
        self.0 = to;
        Ok(())
    }
}

/// Validator `n`, whose consensus key is drawn from `100 + n`.
fn identity_on(chain: Chain, n: u8, incarnation: u64) -> Identity {
    let key = (public(100 + n), possession(chain, n, 100 + n, incarnation));
    identity_with(chain, n, incarnation, key)
}

fn identity_with(chain: Chain, n: u8, incarnation: u64, key: (PublicKey, MlDsaSignature)) -> Identity {
    let owner = SignerKey::from_seed(SecurityLevel::MlDsa65, &[n; 32]).unwrap();
    let on = SignerNetwork::ai_chain(chain.id, chain.genesis.0);
    let mut signer = Signer::create(Role::Wallet, on, owner, Volatile, Held(Head::EMPTY)).unwrap();
    let sign = &mut |request: &SignRequest| Some(signer.sign(request).unwrap().to_vec());
    Identity::attest(chain, public(n), incarnation, key, &Guest::new(), sign).unwrap()
}

fn possession(chain: Chain, n: u8, seed: u8, incarnation: u64) -> MlDsaSignature {
    let key = SignerKey::from_seed(SecurityLevel::MlDsa65, &[seed; 32]).unwrap();
    let network = SignerNetwork::ai_chain(chain.id, chain.genesis.0);
    let mut signer = Signer::create(Role::Consensus, network, key, Volatile, Held(Head::EMPTY)).unwrap();
    let (validator, key) = (account(n).0, key_digest(&public(seed)).0);
    let subject = Subject::Possession {
        validator,
        incarnation,
        key,
    };
    Fixed::new(&signer.sign(&SignRequest { network, subject }).unwrap()).unwrap()
}

fn identity(n: u8, incarnation: u64) -> Identity {
    identity_on(chain(1), n, incarnation)
}

fn registered(n: u8, incarnation: u64) -> (Address, Registered) {
    let key = key_digest(&public(100 + n));
    (account(n), Registered { incarnation, key })
}

/// What the accepting side (validator 1) holds a dialling peer against.
struct Judge {
    chain: Chain,
    members: BTreeMap<Address, Registered>,
    simulated: bool,
    tier_min: u8,
    image: Digest384,
}

impl Judge {
    fn new() -> Self {
        Self {
            chain: chain(1),
            members: [registered(1, 1), registered(2, 1)].into(),
            simulated: true,
            tier_min: 2,
            image: image(),
        }
    }

    async fn meet(&self, me: &Identity, peer: &Identity) -> (Result<Address, LinkError>, Result<Address, LinkError>) {
        let (here, there) = tokio::io::duplex(1 << 20);
        let registered = |account: &Address| self.members.get(account).copied();
        let appraiser = appraiser(self.image);
        let by = Admission {
            network: &self.chain,
            me: &me.greeting.keys.validator,
            dialled: None,
            registered: &registered,
            appraiser: &*appraiser,
            simulated: self.simulated,
            tier_min: self.tier_min,
            looks: false,
            now: clock(),
        };
        let trusting = |account: &Address| {
            [super::tests::registered(1, 1)]
                .iter()
                .find(|r| r.0 == *account)
                .map(|r| r.1)
        };
        let theirs = super::tests::appraiser(super::tests::image());
        let expected = account(1);
        let by_peer = Admission {
            network: &peer.greeting.keys.network,
            me: &peer.greeting.keys.validator,
            dialled: Some(&expected),
            registered: &trusting,
            appraiser: &*theirs,
            simulated: true,
            tier_min: 2,
            looks: false,
            now: clock(),
        };
        let (mine, its) = (Configs::new(me).unwrap(), Configs::new(peer).unwrap());
        let accepted = async { accepting(here, &mine, me, &by, LIMIT).await.map(|p| p.peer.account()) };
        let dialled = async {
            dialling(there, &its, peer, &by_peer, LIMIT)
                .await
                .map(|p| p.peer.account())
        };
        tokio::join!(accepted, dialled)
    }
}

async fn refused(change: impl FnOnce(&mut Judge), peer: Identity) -> LinkError {
    let mut judge = Judge::new();
    change(&mut judge);
    judge.meet(&identity(1, 1), &peer).await.0.unwrap_err()
}

#[tokio::test]
async fn two_validators_of_one_chain_prove_themselves_to_each_other() {
    let (accepted, dialled) = Judge::new().meet(&identity(1, 1), &identity(2, 1)).await;
    assert_eq!((accepted.unwrap(), dialled.unwrap()), (account(2), account(1)));
    // The next incarnation, which the chain has not seen yet, and one whose number it lost a few of.
    for incarnation in [2, 9] {
        let (accepted, _) = Judge::new().meet(&identity(1, 1), &identity(2, incarnation)).await;
        assert_eq!(accepted.unwrap(), account(2));
    }
}

#[tokio::test]
async fn a_peer_of_another_chain_account_incarnation_or_key_is_refused_by_name() {
    let code = |error: LinkError| error.code();
    assert_eq!(
        code(refused(|_| (), identity_on(chain(2), 2, 1)).await),
        "links.network"
    );
    assert_eq!(code(refused(|_| (), identity(3, 1)).await), "links.stranger");
    assert_eq!(code(refused(|_| (), identity(1, 1)).await), "links.itself");
    let newer = |judge: &mut Judge| judge.members = [registered(2, 2)].into();
    assert_eq!(code(refused(newer, identity(2, 1)).await), "links.incarnation");
    assert_eq!(code(refused(|_| (), identity(2, 18)).await), "links.incarnation");
    let other = |judge: &mut Judge| judge.members.get_mut(&account(2)).unwrap().key = Digest256([9; 32]);
    assert_eq!(code(refused(other, identity(2, 1)).await), "links.other_key");
    // Who answers is not who was dialled.
    let mut judge = Judge::new();
    judge.members.extend([registered(3, 1)]);
    let (_, dialled) = judge.meet(&identity(3, 1), &identity(2, 1)).await;
    assert_eq!(code(dialled.unwrap_err()), "links.other_account");
}

#[tokio::test]
async fn nobody_links_with_another_validators_consensus_key() {
    for incarnation in [LOOKING, 2] {
        for (n, seed, number, key) in [(3, 103, 0, 103), (2, 102, 0, 103), (2, 102, 1, 102)] {
            let signed = possession(chain(1), n, seed, incarnation + number);
            let peer = identity_with(chain(1), 2, incarnation, (public(key), signed));
            assert_eq!(refused(|_| (), peer).await.code(), "links.possession");
        }
        let (accepted, _) = Judge::new().meet(&identity(1, 1), &identity(2, incarnation)).await;
        assert_eq!(accepted.unwrap(), account(2));
    }
}

#[tokio::test]
async fn evidence_counts_for_its_own_keys_purpose_image_and_network_rules_alone() {
    assert_eq!(
        refused(|j| j.simulated = false, identity(2, 1)).await.code(),
        "links.simulated"
    );
    assert_eq!(refused(|j| j.tier_min = 3, identity(2, 1)).await.code(), "links.tier");
    let evidence = |error: LinkError| match error {
        LinkError::Evidence { code, .. } => code,
        other => panic!("{other}"),
    };
    assert_eq!(
        evidence(refused(|j| j.image = Digest384::of(b"another"), identity(2, 1)).await),
        "snp.measurement"
    );

    // Of another purpose: everything else is the same, and the owner signed it.
    let signed_over = |statement: Statement, peer: &mut Identity| {
        let cpu = Guest::new().evidence(&statement.request().unwrap()).unwrap();
        with_evidence(peer, jcs::to_vec("evidence", &cpu).unwrap());
    };
    let mut peer = identity(2, 1);
    let keys = peer.greeting.keys.clone();
    signed_over(keys.statement(), &mut peer);
    let (accepted, _) = Judge::new().meet(&identity(1, 1), &peer).await;
    assert_eq!(accepted.unwrap(), account(2));
    let other_nonce = ValidatorKeys {
        incarnation: 2,
        ..keys.clone()
    }
    .nonce();
    for other in [
        Statement::for_cpu(keys.digest(), keys.nonce(), Statement::no_devices()),
        Statement::for_validator(keys.digest(), other_nonce),
        Statement::for_validator(Digest384::of(b"other keys"), keys.nonce()),
    ] {
        let mut peer = identity(2, 1);
        let keys = peer.greeting.keys.clone();
        signed_over(other, &mut peer);
        assert_eq!(peer.greeting.keys, keys);
        assert_eq!(evidence(refused(|_| (), peer).await), "binding.foreign.report_data");
    }
    // Another boot's evidence, whole and genuine.
    let mut peer = identity(2, 1);
    let recorded = identity(2, 1).greeting.evidence.to_vec();
    with_evidence(&mut peer, recorded);
    assert_eq!(evidence(refused(|_| (), peer).await), "binding.foreign.report_data");
    let mut peer = identity(2, 1);
    with_evidence(&mut peer, b"{}".to_vec());
    assert_eq!(evidence(refused(|_| (), peer).await), "links.evidence.json");
}

/// Puts other evidence into a greeting, signed by the owner as it must be.
fn with_evidence(peer: &mut Identity, evidence: Vec<u8>) {
    let keys = peer.greeting.keys.clone();
    let key = SignerKey::from_seed(SecurityLevel::MlDsa65, &[2; 32]).unwrap();
    let on = SignerNetwork::ai_chain(keys.network.id, keys.network.genesis.0);
    let mut signer = Signer::create(Role::Wallet, on, key, Volatile, Held(Head::EMPTY)).unwrap();
    let signature = signer.sign(&greeting::rotation(&keys, &evidence)).unwrap();
    peer.greeting.signature = Fixed::new(&signature).unwrap();
    peer.greeting.evidence = Bounded::new(evidence).unwrap();
    peer.written = peer.greeting.to_bytes();
}

#[tokio::test]
async fn without_the_owners_word_or_the_keys_themselves_nobody_gets_in() {
    let mut peer = identity(2, 1);
    peer.greeting.signature = identity(2, 2).greeting.signature;
    peer.written = peer.greeting.to_bytes();
    assert_eq!(refused(|_| (), peer).await.code(), "links.owner");
    let mut peer = identity(2, 1);
    peer.greeting.owner = public(3);
    peer.written = peer.greeting.to_bytes();
    assert_eq!(refused(|_| (), peer).await.code(), "links.owner");
    // A recorded greeting: everything in it is true, and whoever sends it does not hold its channel key.
    let recorded = identity(2, 1);
    let mut thief = identity(2, 1);
    thief.written = recorded.written.clone();
    assert_eq!(refused(|_| (), thief).await.code(), "channel.proof_mismatch");
}

/// A TLS client of the right group that sends `bytes` after the handshake, and what the accepting side says to it.
async fn plain(alpn: bool, bytes: Vec<u8>) -> LinkError {
    let (here, there) = tokio::io::duplex(1 << 20);
    let me = identity(1, 1);
    let configs = Configs::new(&me).unwrap();
    let appraiser = appraiser(image());
    let own = account(1);
    let by = Admission {
        network: &chain(1),
        me: &own,
        dialled: None,
        registered: &|_| None,
        appraiser: &*appraiser,
        simulated: true,
        tier_min: 2,
        looks: false,
        now: clock(),
    };
    let client = async {
        let mut config = rustls::ClientConfig::clone(&*tls::client().unwrap());
        if !alpn {
            config.alpn_protocols.clear();
        }
        let name = rustls::pki_types::ServerName::try_from("x.invalid").unwrap();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let mut stream = connector.connect(name, there).await.unwrap();
        let _ = stream.write_all(&bytes).await;
        let _ = stream.flush().await;
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
    };
    let server = async {
        accepting(here, &configs, &me, &by, LIMIT)
            .await
            .map(|_| ())
            .unwrap_err()
    };
    let (error, ()) = tokio::join!(server, client);
    error
}

#[tokio::test]
async fn tls_alone_is_nothing_and_no_length_is_believed() {
    assert_eq!(plain(false, Vec::new()).await.code(), "links.tls");
    let mut garbage = Vec::new();
    write_message(&mut garbage, &[7; 100]).await.unwrap();
    assert_eq!(plain(true, garbage).await.code(), "links.greeting");
    assert_eq!(
        plain(true, u32::MAX.to_be_bytes().to_vec()).await.code(),
        "links.too_long"
    );
}

/// A network that listens, and where.
struct Running {
    policy: Arc<Standing>,
    network: Network,
    address: String,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn limits() -> Limits {
    Limits {
        message_bytes_max: 1 << 20,
        queue_bytes: 2 << 20,
        redial: (Duration::from_millis(20), Duration::from_millis(100)),
        idle_limit: Duration::from_secs(60),
        ..Limits::default()
    }
}

async fn network(n: u8, incarnation: u64, peers: &[(u8, &str)]) -> Running {
    let policy = Arc::new(Standing::new(appraiser(image())));
    network_by(policy, n, incarnation, peers).await
}

async fn network_by(policy: Arc<Standing>, n: u8, incarnation: u64, peers: &[(u8, &str)]) -> Running {
    let judges: Arc<dyn Appraiser> = Arc::<Standing>::clone(&policy);
    let network = Network::new(identity(n, incarnation), judges, (true, 2), limits()).unwrap();
    network.set_members([registered(1, 1), registered(2, 1), registered(3, 1)].into());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let peers = peers.iter().map(|(n, address)| PeerAddress {
        account: account(*n),
        address: (*address).to_owned(),
    });
    let task = tokio::spawn(network.clone().run(listener, peers.collect()));
    Running {
        network,
        address,
        policy,
        task,
    }
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..2000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never: {what}");
}

/// The two of the first three validators that dial and are dialled.
fn pair() -> (u8, u8) {
    if account(1) < account(2) { (1, 2) } else { (2, 1) }
}

fn key(n: u8) -> hanzo_chain::ValidatorKey {
    hanzo_chain::ValidatorKey::new(&public(100 + n)).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_come_whole_on_their_channel_and_a_lost_link_is_made_again() {
    let (low, high) = pair();
    let b = network(high, 1, &[]).await;
    let a = network(low, 1, &[(high, &b.address)]).await;
    until("linked", || {
        a.network.peers().len() == 1 && b.network.peers().len() == 1
    })
    .await;
    let (mut to_b, mut from_b) = a.network.register(5, 1 << 20);
    let (mut to_a, mut from_a) = b.network.register(5, 1 << 20);
    assert_eq!(to_b.send(Recipients::All, vec![1; 700_000], false), [key(high)]);
    assert_eq!(to_b.send(Recipients::One(key(high)), vec![2; 3], true), [key(high)]);
    assert_eq!(to_b.send(Recipients::One(key(3)), vec![3; 3], true), []);
    let mut got = [from_a.recv().await.unwrap(), from_a.recv().await.unwrap()];
    got.sort_by_key(|(_, message)| message.len());
    assert!(got.iter().all(|(from, _)| *from == key(low)));
    assert_eq!(
        (got[0].1.as_ref(), got[1].1.as_ref()),
        ([2; 3].as_slice(), vec![1; 700_000].as_slice())
    );
    // Longer than the channel's bound: not sent.
    assert_eq!(to_a.send(Recipients::All, vec![0; (1 << 20) + 1], false), []);
    // Nobody reads channel 6 over there; what follows still comes.
    let (mut elsewhere, _reader) = b.network.register(6, 1 << 20);
    elsewhere.send(Recipients::All, vec![9; 500_000], false);
    to_a.send(Recipients::All, vec![4; 10], false);
    assert_eq!(from_b.recv().await.unwrap().1.as_ref(), [4; 10]);
    // Taken out of the chain: closed. Put back: made again.
    a.network.set_members([registered(3, 1)].into());
    until("closed", || a.network.peers().is_empty()).await;
    a.network.set_members([registered(low, 1), registered(high, 1)].into());
    until("linked again", || {
        a.network.peers().len() == 1 && b.network.peers().len() == 1
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_boot_takes_the_place_of_the_one_before_and_a_blocked_key_stays_out() {
    let (low, high) = pair();
    let b = network(high, 1, &[]).await;
    let first = network(low, 1, &[(high, &b.address)]).await;
    until("linked", || b.network.peers().len() == 1).await;
    drop(first);
    let second = network(low, 2, &[(high, &b.address)]).await;
    until("the second boot", || {
        b.network.peers().first().is_some_and(|p| p.incarnation == 2)
    })
    .await;
    let key = second.network.identity().greeting().keys.consensus.clone();
    let key = hanzo_chain::ValidatorKey::new(&key).unwrap();
    let mut blocker = b.network.blocker();
    let mut told = blocker.blocked();
    let _ = blocker.block(key.clone());
    until("closed", || b.network.peers().is_empty()).await;
    let refusals = || b.network.counters().refusals.load(std::sync::atomic::Ordering::Relaxed);
    let before = refusals();
    until("refused again", || refusals() > before).await;
    assert!(b.network.peers().is_empty());
    use futures_util::StreamExt as _;
    let blocked = told.next().await.unwrap();
    assert!(blocked.iter().eq([&key]) || told.next().await.unwrap().iter().eq([&key]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_announces_too_long_a_message_is_blocked_and_one_that_is_not_read_holds_up_nobody_else() {
    let (low, high) = pair();
    let b = network(high, 1, &[]).await;
    let (mut flooded, mut reader) = b.network.register(7, 1 << 20);
    let registered = |_: &Address| Some(registered(high, 1).1);
    let dial = async |n: u8| -> Proven<tokio::net::TcpStream> {
        let me = identity(n, 1);
        let appraiser = appraiser(image());
        let by = Admission {
            network: &chain(1),
            me: &me.greeting.keys.validator,
            dialled: None,
            registered: &registered,
            appraiser: &*appraiser,
            simulated: true,
            tier_min: 2,
            looks: false,
            now: clock(),
        };
        let stream = tokio::net::TcpStream::connect(&b.address).await.unwrap();
        dialling(stream, &Configs::new(&me).unwrap(), &me, &by, LIMIT)
            .await
            .unwrap()
    };
    let mut bad = dial(low).await;
    let mut good = dial(3).await;
    until("both", || b.network.peers().len() == 2).await;
    // Its room is 2 MiB: of six messages of half a MiB, which nobody takes, not all are read; the other peer's comes.
    let message = [head(7, 1 << 19).to_vec(), vec![1; 1 << 19]].concat();
    let flood = tokio::spawn(async move {
        for _ in 0..6 {
            bad.stream.write_all(&message).await.unwrap();
        }
        bad.stream.flush().await.unwrap();
        bad
    });
    good.stream
        .write_all(&[head(7, 3).to_vec(), vec![2; 3]].concat())
        .await
        .unwrap();
    good.stream.flush().await.unwrap();
    let received = || {
        b.network
            .counters()
            .received_messages
            .load(std::sync::atomic::Ordering::Relaxed)
    };
    until("the room is full", || received() == 4).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(received(), 4, "three of the flood and the other peer's");
    let mut sizes = Vec::new();
    for _ in 0..7 {
        sizes.push(reader.recv().await.unwrap().1.len());
    }
    sizes.sort_unstable();
    assert_eq!(sizes, [3, 1 << 19, 1 << 19, 1 << 19, 1 << 19, 1 << 19, 1 << 19]);
    let mut bad = flood.await.unwrap();
    bad.stream.write_all(&head(7, (1 << 20) + 1)).await.unwrap();
    bad.stream.flush().await.unwrap();
    until("blocked", || b.network.peers().len() == 1).await;
    assert_eq!(flooded.send(Recipients::All, vec![5], false), [key(3)]);
    // Who takes nothing has no room before long; who is not there has none.
    assert!(flooded.has_room(&key(3)) && !flooded.has_room(&key(low)));
    until("no room", || {
        flooded.tell(&Recipients::All, vec![5; 1 << 20]);
        !flooded.has_room(&key(3))
    })
    .await;
}
