//! What ML-DSA-65 costs the chain against the engine's own ed25519, in one run; what finality takes in simulated time.
//!
//! `cargo bench --manifest-path enclave/chain/validator/Cargo.toml --profile dev -p hanzo-chain --bench chain`; with `-- --smoke` a few of
//! each, to see that it works. The goal: at 20
//! validators a block is final within 3 network delays and 25 ms of its making. Simulated time has no cost of computing in it.
#![allow(clippy::unwrap_used, reason = "a bench stops at the first surprise")]

#[path = "../tests/support/committee.rs"]
mod committee;

use std::hint::black_box;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, UNIX_EPOCH};

use committee::{Committee, START_MS};
use commonware_codec::EncodeSize;
use commonware_consensus::simplex::scheme::{Scheme as EngineScheme, ed25519};
use commonware_consensus::simplex::types::{Finalization, Finalize, Proposal};
use commonware_consensus::types::{Epoch, Round, View};
use commonware_p2p::simulated::{Config, Link, Network};
use commonware_parallel::Sequential;
use commonware_runtime::deterministic::{self, Context};
use commonware_runtime::{Clock, Quota, Runner, Supervisor};
use commonware_utils::iter::NonEmpty;
use commonware_utils::{NZU32, NZUsize, probability};
use hanzo_chain::{
    BlockId, CommitError, ConsensusConfig, ConsensusEngine, Fault, FinalBlocks, FinalityCertificate, Links,
    MemoryLedger, Pool, Progress, SENDER_TXS_MAX, Scheme, Validator, ValidatorKey,
};
use hanzo_chain_types::verify_finality;
use hanzo_ledger::{Block, Canonical, State, VerifiedBlock};
use hanzo_mining::MiningLedger;
use hanzo_pqc::Dek;

fn main() {
    let smoke = std::env::args().any(|a| a == "--smoke");
    let rounds = if smoke { 2 } else { 40 };
    println!("one core, {rounds} rounds");
    for n in [4, 7, 20] {
        deterministic::Runner::seeded(n as u64).start(|mut context| async move {
            let committee = Committee::new(n);
            let ours: Vec<_> = (0..n)
                .map(|place| {
                    let key = &committee.set.validators()[place].key;
                    let signer = committee.byzantine(place);
                    Scheme::signer(committee.network(), committee.set.clone(), key, signer).unwrap()
                })
                .collect();
            signatures(&mut context, "ML-DSA-65", &ours, committee.set.quorum(), rounds);
            let theirs = ed25519::fixture(&mut context, b"bench", n as u32).schemes;
            signatures(&mut context, "ed25519", &theirs, committee.set.quorum(), rounds);
        });
    }
    for n in [4, 7, 20] {
        let blocks = if smoke { 2 } else { 12 };
        for net in [&LAN, &WAN, &JITTERY] {
            let limit = limit(n, net, if smoke { 50 } else { 4_000 });
            let (first, fastest) = (
                finality(n, net, blocks, 0, STEP),
                finality(n, net, blocks, 0, SHORT_STEP),
            );
            println!(
                "n {n:>2}  {} ({} ms): limit {} ms (a proposal and two quorums of votes, nothing else), {} ms if it comes as two messages; ours {first} ms, {:.2} of it; {fastest} ms, {:.2} of it, with steps of 0.01 ms",
                net.name,
                net.delay_ms,
                limit[0],
                limit[1],
                first as f64 / limit[0] as f64,
                fastest as f64 / limit[0] as f64,
            );
        }
        // As many as fit into blocks of 1 MiB.
        finality(
            n,
            &WAN,
            if smoke { 2 } else { 6 },
            if smoke { 100 } else { 1_200 },
            STEP,
        );
    }
}

fn signatures<S: EngineScheme<BlockId>>(context: &mut Context, name: &str, schemes: &[S], quorum: usize, rounds: u64) {
    let n = schemes.len();
    let (mut votes, mut certificates, mut making) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
    let mut size = 0;
    for view in 1..=rounds {
        let round = Round::new(Epoch::zero(), View::new(view));
        let proposal = Proposal::new(
            round,
            View::new(view - 1),
            commonware_cryptography::sha256::Digest([9; 32]),
        );
        let begun = Instant::now();
        let cast: Vec<_> = schemes
            .iter()
            .map(|s| Finalize::sign(s, proposal.clone()).unwrap())
            .collect();
        making += begun.elapsed();
        let begun = Instant::now();
        for vote in &cast {
            assert!(black_box(vote.verify(context, &schemes[0], &Sequential)));
        }
        votes += begun.elapsed();
        let certificate = {
            let quorum = NonEmpty::try_new(cast.iter().take(quorum)).unwrap();
            Finalization::from_finalizes(&schemes[0], quorum, &Sequential).unwrap()
        };
        size = certificate.encode_size();
        let begun = Instant::now();
        assert!(black_box(certificate.verify(context, &schemes[0], &Sequential)));
        certificates += begun.elapsed();
    }
    let each = (rounds * n as u64) as f64;
    println!(
        "n {n:>2}  {name:<9}  votes made {:>7.0} /s  verified {:>7.0} /s  certificate verified in {:>8.3} ms, {size} bytes",
        each / making.as_secs_f64(),
        each / votes.as_secs_f64(),
        certificates.as_secs_f64() * 1e3 / rounds as f64,
    );
}

/// A ledger that knows when blocks came.
#[derive(Clone)]
struct Timed {
    held: MemoryLedger,
    clock: Arc<Context>,
    took_ms: Arc<Mutex<Vec<u64>>>,
}

impl FinalBlocks for Timed {
    fn state(&self) -> State {
        self.held.state()
    }

    fn height(&self) -> u64 {
        self.held.height()
    }

    fn commit(&mut self, block: &VerifiedBlock, certificate: Option<&FinalityCertificate>) -> Result<(), CommitError> {
        let now = self.clock.current().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
        self.took_ms.lock().unwrap().push(now - block.header().time_ms);
        self.held.commit(block, certificate)
    }

    fn certify(&mut self, certificate: &FinalityCertificate) -> Result<(), CommitError> {
        self.held.certify(certificate)
    }

    fn block(&self, height: u64) -> Option<Block> {
        self.held.block(height)
    }

    fn fault(&mut self, fault: &Fault) {
        self.held.fault(fault);
    }
}

/// Links of a network: one way, in milliseconds.
struct Net {
    name: &'static str,
    delay_ms: u64,
    jitter_ms: u64,
}

const LAN: Net = Net {
    name: "LAN",
    delay_ms: 1,
    jitter_ms: 0,
};
const WAN: Net = Net {
    name: "WAN",
    delay_ms: 50,
    jitter_ms: 0,
};
const JITTERY: Net = Net {
    name: "WAN, jitter",
    delay_ms: 80,
    jitter_ms: 20,
};

/// What the simulator lets pass each time that it went through all tasks that have something to do: a message goes through some six of
/// them, so that some 18 ms pass in three delays.
const STEP: Duration = Duration::from_millis(1);
/// As if computing took nothing.
const SHORT_STEP: Duration = Duration::from_micros(10);

/// Median, in milliseconds, of what a proposal, a quorum of votes for it and a quorum of votes to finalize it take over `net`, drawn as the
/// simulated network draws, `rounds` times: if a proposal is one message, and if it is two (the block, and its leader's vote).
fn limit(n: usize, net: &Net, rounds: usize) -> [u64; 2] {
    let quorum = n - (n - 1) / 3;
    let mut dice = Dice::new(n as u64);
    [1, 2].map(|messages| {
        let mut took = Vec::new();
        for _ in 0..rounds {
            let proposed: Vec<_> = (0..n)
                .map(|to| (0..messages).map(|_| dice.delay(net, 0, to)).max().unwrap_or(0))
                .collect();
            // The leader's vote comes with its proposal.
            let notarized: Vec<_> = (0..n)
                .map(|to| {
                    quorum_of(quorum, n, |from| match from {
                        0 => proposed[to],
                        from => proposed[from] + dice.delay(net, from, to),
                    })
                })
                .collect();
            took.extend((0..n).map(|to| quorum_of(quorum, n, |from| notarized[from] + dice.delay(net, from, to))));
        }
        took.sort_unstable();
        took[took.len() / 2]
    })
}

/// When the `quorum`-th of `n` is there.
fn quorum_of(quorum: usize, n: usize, when: impl FnMut(usize) -> u64) -> u64 {
    let mut all: Vec<_> = (0..n).map(when).collect();
    all.sort_unstable();
    all[quorum - 1]
}

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Above 0, at most 1.
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (((z ^ (z >> 31)) >> 11) + 1) as f64 / (1_u64 << 53) as f64
    }

    /// One message's, normally distributed, in whole milliseconds as the simulated network has them; nothing to oneself.
    fn delay(&mut self, net: &Net, from: usize, to: usize) -> u64 {
        if from == to {
            return 0;
        }
        let normal = (-2.0 * self.unit().ln()).sqrt() * (std::f64::consts::TAU * self.unit()).cos();
        (net.delay_ms as f64 + net.jitter_ms as f64 * normal) as u64
    }
}

/// `txs` transactions wait when the network starts, `step` passes for each step of the simulator. Returns the median in milliseconds.
fn finality(n: usize, net: &Net, blocks: u64, txs: u64, step: Duration) -> u64 {
    let begun = Instant::now();
    let config = deterministic::Config::new()
        .with_start_time(UNIX_EPOCH + Duration::from_millis(START_MS))
        .with_cycle(step);
    deterministic::Runner::new(config).start(|context| async move {
        let committee = Committee::new(n);
        let keys: Vec<_> = committee.set.validators().iter().map(|v| ValidatorKey::new(&v.key).unwrap()).collect();
        let config = Config {
            max_size: 4 << 20,
            max_peers_per_set: NZUsize!(20),
            disconnect_on_block: false,
            tracked_peer_sets: NZUsize!(1),
        };
        let (network, oracle) = Network::new_with_peers(context.child("network"), config, keys.clone()).await;
        network.start();
        for from in &keys {
            for to in keys.iter().filter(|to| *to != from) {
                let link = Link {
                    latency: Duration::from_millis(net.delay_ms),
                    jitter: Duration::from_millis(net.jitter_ms),
                    success_rate: probability!(1.0),
                };
                oracle.add_link(from.clone(), to.clone(), link).await.unwrap();
            }
        }
        let took_ms = Arc::new(Mutex::new(Vec::new()));
        let ledgers: Vec<_> = (0..n).map(|_| committee.ledger()).collect();
        // As if gossip had brought every transaction everywhere.
        let pool = Arc::new(Pool::new());
        for at in 0..txs {
            let user = (at / SENDER_TXS_MAX as u64) as usize;
            let tx = committee.paid_by(user, at % SENDER_TXS_MAX as u64);
            pool.submit(tx, &committee.state).unwrap();
        }
        // All listen before the first of them starts: what a leader sends to those that do not is lost, and its view with it.
        let mut listening = Vec::new();
        for key in &keys {
            let control = oracle.control(key.clone());
            let quota = Quota::per_second(NZU32!(1_024));
            let links = Links {
                votes: control.register(0, quota).await.unwrap(),
                certificates: control.register(1, quota).await.unwrap(),
                resolver: control.register(2, quota).await.unwrap(),
                blocks: control.register(3, quota).await.unwrap(),
            };
            listening.push((links, control));
        }
        let start = context.current();
        for (place, (links, blocker)) in listening.into_iter().enumerate() {
            let validator = Validator {
                config: ConsensusConfig::ai_chain_testnet(),
                key: committee.set.validators()[place].key.clone(),
                signer: committee.honest(place),
                ledger: Timed {
                    held: ledgers[place].clone(),
                    clock: Arc::new(context.child("clock").with_attribute("place", place)),
                    took_ms: Arc::clone(&took_ms),
                },
                pool: Arc::clone(&pool),
                progress: Progress::default(),
                blocker,
                partition: format!("validator-{place}"),
            };
            let context = context.child("validator").with_attribute("place", place);
            ConsensusEngine::start(context, validator, links).unwrap();
        }
        while ledgers.iter().any(|l| l.height() < blocks) {
            context.sleep(Duration::from_millis(1)).await;
        }
        let elapsed = context.current().duration_since(start).unwrap().as_millis();
        let mut took = took_ms.lock().unwrap().clone();
        took.sort_unstable();
        let certificate = (1..=blocks).rev().find_map(|h| ledgers[0].certificate(h)).unwrap();
        let checked = Instant::now();
        verify_finality(&committee.network(), &committee.set, &certificate).unwrap();
        let checked = checked.elapsed();
        let stored: Vec<_> = (1..=blocks).map(|h| ledgers[0].block(h).unwrap()).collect();
        let included: usize = stored.iter().map(|b| b.txs.len()).sum();
        let (median, slowest, goal) = (took[took.len() / 2], took[took.len() - 1], 3 * net.delay_ms + 25);
        let started = start.duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
        let first = stored[0].header.time_ms.saturating_sub(started);
        println!(
            "n {n:>2}  {} ({} ms), steps of {step:?}: final after {median} ms (median), {slowest} ms (slowest of {}), goal {goal} ms{}; first block after {first} ms, {} ms from block to block; {:.0} tx/s; light client: {} bytes in {:.3} ms; run took {:.1} s",
            net.name,
            net.delay_ms,
            took.len(),
            if median <= goal { "" } else { " MISSED" },
            (stored[blocks as usize - 1].header.time_ms - stored[0].header.time_ms) / (blocks - 1),
            included as f64 * 1e3 / elapsed as f64,
            certificate.to_bytes().len(),
            checked.as_secs_f64() * 1e3,
            begun.elapsed().as_secs_f64(),
        );
        if txs > 0 {
            storage(&committee, &stored, &certificate);
        }
        median
    })
}

/// What those blocks take on a disk.
fn storage(committee: &Committee, blocks: &[Block], certificate: &FinalityCertificate) {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("ledger.db");
    let key = Dek::from_slice(&[7; 32]).unwrap();
    let ledger = MiningLedger::open(&path, &key, committee.state.genesis().clone()).unwrap();
    let used = || -> u64 {
        let files = std::fs::read_dir(place.path()).unwrap().flatten();
        files.map(|f| f.metadata().unwrap().len()).sum()
    };
    let (before, begun) = (used(), Instant::now());
    for block in blocks {
        ledger.submit(block.clone()).unwrap();
    }
    let took = begun.elapsed();
    let txs: usize = blocks.iter().map(|b| b.txs.len()).sum();
    let bytes: usize = blocks.iter().map(|b| b.to_bytes().len()).sum();
    println!(
        "      {} blocks, {txs} transactions, {bytes} bytes: the store grew by {} bytes (and write-ahead log); stored in {:.1} ms a block, signatures included; a certificate is {} bytes",
        blocks.len(),
        used().saturating_sub(before),
        took.as_secs_f64() * 1e3 / blocks.len() as f64,
        certificate.to_bytes().len(),
    );
}
