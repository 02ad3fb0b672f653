//! Whole networks in simulated time: one seed, one run.
#![allow(dead_code, reason = "each test binary uses some of it")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests stop at the first surprise")]

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use commonware_codec::{Decode, DecodeExt};
use commonware_consensus::Viewable;
use commonware_consensus::simplex::elector::RoundRobin;
use commonware_consensus::simplex::mocks::{
    conflicter, equivocator, impersonator, nuller, nullify_only, outdated, relay, twins,
};
use commonware_consensus::simplex::types::{Certificate, Vote};
use commonware_consensus::types::{Epoch, TermLength, View, ViewDelta};
use commonware_cryptography::Sha256;
use commonware_cryptography::certificate::Verifier;
use commonware_p2p::Recipients;
use commonware_p2p::simulated::{
    self, Config as NetworkConfig, Link, Network, Oracle, Receiver, Sender, SplitOrigin, SplitTarget,
};
use commonware_runtime::deterministic::{self, Context};
use commonware_runtime::{Clock, IoBuf, Quota, Runner, Supervisor};
use commonware_utils::{NZU32, NZUsize, probability};
use hanzo_attestation::Digest256;
use hanzo_chain::{
    BlockId, ConsensusConfig, ConsensusEngine, FinalBlocks, Links, MemoryLedger, Progress, Running, Scheme, Validator,
    ValidatorKey, VoteSigner,
};
use hanzo_chain_types::{faults, verify_finality};

use super::committee::{Booked, Committee, START_MS};

/// What goes wrong in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Calm,
    Lossy,
    Partition,
    Crash,
    CrashOfAll,
    Twins,
    Equivocator,
    Conflicter,
    Nuller,
    NullifyOnly,
    Impersonator,
    Outdated,
}

pub const KINDS: [Kind; 12] = [
    Kind::Calm,
    Kind::Lossy,
    Kind::Partition,
    Kind::Crash,
    Kind::CrashOfAll,
    Kind::Twins,
    Kind::Equivocator,
    Kind::Conflicter,
    Kind::Nuller,
    Kind::NullifyOnly,
    Kind::Impersonator,
    Kind::Outdated,
];

impl Kind {
    fn byzantine(self) -> bool {
        use Kind::*;
        !matches!(self, Calm | Lossy | Partition | Crash | CrashOfAll)
    }
}

/// SplitMix64: what a run's seed decides.
#[derive(Clone)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed ^ 0x6a09_e667_f3bc_c908)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }

    pub fn ms(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.below(to - from))
    }
}

type Key = ValidatorKey;
type Net = Oracle<Key, Context>;
type Pair = (Sender<Key, Context>, Receiver<Key>);

const QUOTA: Quota = Quota::per_second(NZU32!(1_024));

/// The height that every honest validator reaches in every run.
const TARGET: u64 = 5;
/// How long it may take in simulated time, once nothing goes wrong any more.
const PATIENCE: Duration = Duration::from_secs(180);

/// What lives longer than a process: disks, journals.
pub struct World {
    pub kind: Kind,
    pub committee: Committee,
    pub ledgers: Vec<MemoryLedger>,
    pub signers: Vec<Arc<Booked>>,
    pub bad: Vec<usize>,
    pub dice: Dice,
    keys: Vec<Key>,
}

impl World {
    pub fn new(n: usize, kind: Kind, seed: u64) -> Self {
        let committee = Committee::new(n);
        let mut dice = Dice::new(seed);
        let mut bad = Vec::new();
        while kind.byzantine() && bad.len() < faults(n) {
            let place = dice.below(n as u64) as usize;
            if !bad.contains(&place) {
                bad.push(place);
            }
        }
        let keys = committee.set.validators().iter();
        let keys = keys.map(|v| ValidatorKey::new(&v.key).unwrap()).collect();
        Self {
            kind,
            ledgers: (0..n).map(|_| committee.ledger()).collect(),
            signers: (0..n).map(|i| committee.honest(i)).collect(),
            committee,
            bad,
            dice,
            keys,
        }
    }

    fn honest(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.keys.len()).filter(|i| !self.bad.contains(i))
    }

    fn lowest(&self) -> u64 {
        self.honest().map(|i| self.ledgers[i].height()).min().unwrap()
    }

    fn highest(&self) -> u64 {
        self.honest().map(|i| self.ledgers[i].height()).max().unwrap()
    }

    async fn reach(&self, context: &Context, height: u64) {
        let end = context.current() + PATIENCE;
        while self.lowest() < height {
            let heights: Vec<_> = self.honest().map(|i| self.ledgers[i].height()).collect();
            assert!(
                context.current() < end,
                "no finality: heights {heights:?}, {height} expected"
            );
            context.sleep(Duration::from_millis(100)).await;
        }
    }

    /// Nothing that must never be.
    pub fn check(&self) {
        let longest = self.honest().max_by_key(|i| self.ledgers[*i].height()).unwrap();
        let chain = self.ledgers[longest].ids();
        for i in self.honest() {
            let ids = self.ledgers[i].ids();
            assert_eq!(ids, chain[..ids.len()], "fork: validators {i} and {longest}");
            assert_eq!(self.signers[i].double_vote(), None, "validator {i} voted twice");
            for fault in self.ledgers[i].faults() {
                assert!(
                    self.bad.contains(&fault.validator),
                    "an honest validator was blamed: {fault:?}"
                );
            }
            let mut before = START_MS;
            for height in 1..=self.ledgers[i].height() {
                let block = self.ledgers[i].block(height).unwrap();
                assert!(block.header.time_ms >= before + 500, "block {height} came too soon");
                before = block.header.time_ms;
                let Some(certificate) = self.ledgers[i].certificate(height) else {
                    continue;
                };
                assert_eq!(certificate.header.id(), block.header.id());
                verify_finality(&self.committee.network(), &self.committee.set, &certificate).unwrap();
            }
        }
        let certified = |i: usize| (1..=TARGET).any(|h| self.ledgers[i].certificate(h).is_some());
        assert!(self.honest().any(certified), "no block had a certificate of its own");
    }

    pub fn chain(&self) -> Vec<Digest256> {
        let longest = self.honest().max_by_key(|i| self.ledgers[*i].height()).unwrap();
        self.ledgers[longest].ids()
    }

    fn validator(
        &self,
        place: usize,
        signer: Arc<dyn VoteSigner>,
        ledger: MemoryLedger,
        partition: String,
        oracle: &Net,
    ) -> Validator<MemoryLedger, simulated::Control<Key, Context>> {
        Validator {
            config: ConsensusConfig::ai_chain_testnet(),
            key: self.committee.set.validators()[place].key.clone(),
            signer,
            ledger,
            pool: Arc::default(),
            progress: Progress::default(),
            blocker: oracle.control(self.keys[place].clone()),
            partition,
        }
    }

    async fn start(&self, context: &Context, oracle: &Net, place: usize, leaders: Leaders) -> Running {
        let [votes, certificates, resolver, blocks] = channels(oracle, &self.keys[place]).await;
        let links = Links {
            votes,
            certificates,
            resolver,
            blocks,
        };
        let partition = format!("validator-{place}");
        let signer = self.signers[place].clone();
        let validator = self.validator(place, signer, self.ledgers[place].clone(), partition, oracle);
        let context = context.child("validator").with_attribute("place", place);
        ConsensusEngine::start_with(context, validator, links, leaders).unwrap()
    }

    /// Two validators with one key, each talking to some of the others.
    async fn start_twins(
        &self,
        context: &Context,
        oracle: &Net,
        place: usize,
        scenario: &Arc<twins::Scenario>,
        leaders: &Leaders,
    ) {
        let scheme = Scheme::verifier(self.committee.network(), self.committee.set.clone()).unwrap();
        let mut halves = (Vec::new(), Vec::new());
        for (at, (sender, receiver)) in channels(oracle, &self.keys[place]).await.into_iter().enumerate() {
            let see = Sight {
                at,
                codec: scheme.certificate_codec_config(),
                scenario: Arc::clone(scenario),
                keys: self.keys.clone().into(),
            };
            let (first, second) = sender.split_with(see.clone().forwarder());
            let side = context.child("twin_split").with_attribute("place", place * 4 + at);
            let (third, fourth) = receiver.split_with(side, see.router());
            halves.0.push((first, third));
            halves.1.push((second, fourth));
        }
        for (side, half) in [("a", halves.0), ("b", halves.1)] {
            let [votes, certificates, resolver, blocks] = half.try_into().ok().unwrap();
            let links = Links {
                votes,
                certificates,
                resolver,
                blocks,
            };
            let signer = self.committee.byzantine(place);
            let partition = format!("twin-{place}-{side}");
            let validator = self.validator(place, signer, self.committee.ledger(), partition, oracle);
            let context = context.child("twin").with_attribute("place", format!("{place}{side}"));
            // So that the two propose different blocks.
            let amount = if side == "a" { 1 } else { 2 };
            let tx = self.committee.transfer(place, amount);
            validator.pool.submit(tx, &self.committee.state).unwrap();
            ConsensusEngine::start_with(context, validator, links, leaders.clone()).unwrap();
        }
    }

    async fn start_byzantine(&self, context: &Context, oracle: &Net, place: usize) {
        let signer = self.committee.byzantine(place);
        let (network, set) = (self.committee.network(), self.committee.set.clone());
        let key = set.validators()[place].key.clone();
        let scheme = Scheme::signer(network, set, &key, signer).unwrap();
        let [votes, certificates, ..] = channels(oracle, &self.keys[place]).await;
        let context = context.child("byzantine").with_attribute("place", place);
        match self.kind {
            Kind::Equivocator => {
                let config = equivocator::Config {
                    scheme,
                    elector: <RoundRobin>::default(),
                    epoch: Epoch::zero(),
                    relay: Arc::new(relay::Relay::new()),
                };
                equivocator::Equivocator::<_, _, _, Sha256>::new(context, config).start(votes, certificates);
            }
            Kind::Conflicter => {
                conflicter::Conflicter::<_, _, Sha256>::new(context, conflicter::Config { scheme }).start(votes);
            }
            Kind::Nuller => {
                nuller::Nuller::<_, _, Sha256>::new(context, nuller::Config { scheme }).start(votes);
            }
            Kind::NullifyOnly => {
                nullify_only::NullifyOnly::<_, _, Sha256>::new(context, nullify_only::Config { scheme }).start(votes);
            }
            Kind::Impersonator => {
                impersonator::Impersonator::<_, _, Sha256>::new(context, impersonator::Config { scheme }).start(votes);
            }
            Kind::Outdated => {
                let view_delta = ViewDelta::new(2);
                let config = outdated::Config { scheme, view_delta };
                outdated::Outdated::<_, _, Sha256>::new(context, config).start(votes);
            }
            other => panic!("{other:?} has no Byzantine validators"),
        }
    }
}

type Leaders = twins::Elector<RoundRobin>;

async fn channels(oracle: &Net, key: &Key) -> [Pair; 4] {
    let control = oracle.control(key.clone());
    let mut all = Vec::new();
    for channel in 0..4 {
        all.push(control.register(channel, QUOTA).await.unwrap());
    }
    all.try_into().ok().unwrap()
}

/// What decides to whom a twin's message goes, and which twin gets one.
#[derive(Clone)]
struct Sight {
    at: usize,
    codec: usize,
    scenario: Arc<twins::Scenario>,
    keys: Arc<[Key]>,
}

impl Sight {
    fn view(&self, message: &IoBuf) -> Option<View> {
        match self.at {
            0 => Some(Vote::<Scheme, BlockId>::decode(message.clone()).ok()?.view()),
            1 => {
                let certificate = Certificate::<Scheme, BlockId>::decode_cfg(message.clone(), &self.codec);
                Some(certificate.ok()?.view())
            }
            _ => None,
        }
    }

    fn forwarder(
        self,
    ) -> impl Fn(SplitOrigin, &Recipients<Key>, &IoBuf) -> Option<Recipients<Key>> + Clone + Send + Sync {
        move |origin: SplitOrigin, to: &Recipients<Key>, message: &IoBuf| {
            let Some(view) = self.view(message) else {
                return Some(to.clone());
            };
            let (first, second) = self.scenario.partitions(view, TermLength::ONE, &self.keys);
            Some(Recipients::Some(match origin {
                SplitOrigin::Primary => first,
                SplitOrigin::Secondary => second,
            }))
        }
    }

    fn router(self) -> impl Fn(&(Key, IoBuf)) -> SplitTarget + Send + Sync {
        move |(from, message): &(Key, IoBuf)| match self.view(message) {
            Some(view) => self.scenario.route(view, TermLength::ONE, from, &self.keys),
            None => SplitTarget::Both,
        }
    }
}

pub fn link(latency_ms: u64, jitter_ms: u64, lossy: bool) -> Link {
    Link {
        latency: Duration::from_millis(latency_ms),
        jitter: Duration::from_millis(jitter_ms),
        success_rate: if lossy { probability!(0.7) } else { probability!(1.0) },
    }
}

/// Links those pairs that `joined` names, and cuts the others.
async fn relink(oracle: &Net, keys: &[Key], link: &Link, joined: impl Fn(usize, usize) -> bool) {
    for (i, from) in keys.iter().enumerate() {
        for (j, to) in keys.iter().enumerate() {
            if i != j {
                let _ = oracle.remove_link(from.clone(), to.clone()).await;
                if joined(i, j) {
                    oracle.add_link(from.clone(), to.clone(), link.clone()).await.unwrap();
                }
            }
        }
    }
}

async fn network(context: &Context, keys: &[Key]) -> Net {
    let config = NetworkConfig {
        max_size: 1 << 20,
        max_peers_per_set: NZUsize!(20),
        disconnect_on_block: false,
        tracked_peer_sets: NZUsize!(1),
    };
    let (network, oracle) = Network::new_with_peers(context.child("network"), config, keys.to_vec()).await;
    network.start();
    oracle
}

fn config(seed: u64) -> deterministic::Config {
    let start: SystemTime = UNIX_EPOCH + Duration::from_millis(START_MS);
    deterministic::Config::new().with_seed(seed).with_start_time(start)
}

/// One run: what its seed says goes wrong, then nothing any more, then [`World::check`]. Returns the chain.
pub fn run(n: usize, kind: Kind, seed: u64) -> Vec<Digest256> {
    let mut world = World::new(n, kind, seed);
    let world = match kind {
        Kind::CrashOfAll => {
            let mut runner = deterministic::Runner::new(config(seed));
            for _ in 0..2 {
                let crash = world.dice.ms(200, 4_000);
                let (back, checkpoint) = runner.start_and_recover(|context| one_life(context, world, Some(crash)));
                world = back;
                runner = deterministic::Runner::from(checkpoint);
            }
            runner.start(|context| one_life(context, world, None))
        }
        _ => deterministic::Runner::new(config(seed)).start(|context| one_life(context, world, None)),
    };
    world.check();
    world.chain()
}

async fn one_life(mut context: Context, mut world: World, crash: Option<Duration>) -> World {
    let oracle = network(&context, &world.keys).await;
    let n = world.keys.len();
    let calm = link(5 + world.dice.below(60), world.dice.below(20), false);
    let rough = link(20 + world.dice.below(150), world.dice.below(150), true);
    let first = if world.kind == Kind::Lossy { &rough } else { &calm };
    // Byzantine validators that answer every vote would answer each other for ever.
    let mocks = world.kind.byzantine() && world.kind != Kind::Twins;
    let bad = world.bad.clone();
    let apart = |i: usize, j: usize| mocks && bad.contains(&i) && bad.contains(&j);
    relink(&oracle, &world.keys, first, |i, j| !apart(i, j)).await;

    let case = (world.kind == Kind::Twins).then(|| {
        let framework = twins::Framework {
            participants: n,
            faults: world.bad.len(),
            rounds: 4,
            // All ways of four rounds are counted before one is drawn, which takes gigabytes for 20: there, one round four times.
            mode: if n > 7 {
                twins::Mode::Sustained
            } else {
                twins::Mode::Sampled
            },
            max_cases: 1,
        };
        twins::cases(&mut context, framework).remove(0)
    });
    let leaders = match &case {
        Some(case) => {
            world.bad = case.compromised.clone();
            twins::Elector::new(<RoundRobin>::default(), &case.scenario, n)
        }
        None => twins::Elector::default(),
    };
    let mut running = Vec::new();
    for place in 0..n {
        match (&case, world.bad.contains(&place)) {
            (_, false) => running.push(Some(world.start(&context, &oracle, place, leaders.clone()).await)),
            (Some(case), true) => {
                let scenario = Arc::new(case.scenario.clone());
                world.start_twins(&context, &oracle, place, &scenario, &leaders).await;
                running.push(None);
            }
            (None, true) => {
                world.start_byzantine(&context, &oracle, place).await;
                running.push(None);
            }
        }
    }
    if let Some(crash) = crash {
        context.sleep(crash).await;
        return world;
    }
    match world.kind {
        Kind::Lossy => {
            context.sleep(world.dice.ms(2_000, 12_000)).await;
            relink(&oracle, &world.keys, &calm, |_, _| true).await;
        }
        Kind::Partition => {
            context.sleep(world.dice.ms(200, 3_000)).await;
            let cut: Vec<bool> = (0..n).map(|_| world.dice.below(2) == 0).collect();
            relink(&oracle, &world.keys, &calm, |i, j| cut[i] == cut[j]).await;
            context.sleep(world.dice.ms(500, 8_000)).await;
            relink(&oracle, &world.keys, &calm, |_, _| true).await;
        }
        Kind::Crash => {
            for _ in 0..2 {
                context.sleep(world.dice.ms(200, 3_000)).await;
                let place = world.dice.below(n as u64) as usize;
                if let Some(running) = running[place].take() {
                    running.handle.abort();
                    let _ = running.handle.await;
                }
                context.sleep(world.dice.ms(10, 4_000)).await;
                running[place] = Some(world.start(&context, &oracle, place, leaders.clone()).await);
            }
        }
        _ => {}
    }
    let target = TARGET.max(world.highest() + 2);
    world.reach(&context, target).await;
    for (by, whom) in oracle.blocked().await.unwrap() {
        let bad = |key: &Key| world.bad.iter().any(|i| world.keys[*i] == *key);
        assert!(bad(&by) || bad(&whom), "an honest validator was shut out");
    }
    world
}
