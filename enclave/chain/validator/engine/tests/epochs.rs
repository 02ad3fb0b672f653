//! Epoch after epoch in simulated time: committees change, whoever is not in one follows, and a validator that was away, or whose
//! disk failed at any block, catches up.

#[path = "support/committee.rs"]
mod committee;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use committee::{Booked, Committee, START_MS};
use commonware_p2p::simulated::{Config, Link, Network, Oracle};
use commonware_runtime::deterministic::{self, Context};
use commonware_runtime::{Clock, Handle, Quota, Runner, Spawner, Supervisor};
use commonware_utils::{NZU32, NZUsize, probability};
use hanzo_attestation::Digest256;
use hanzo_chain::*;
use hanzo_chain_types::{committee_of, verify_finality};
use hanzo_ledger::{Block, State, VerifiedBlock};

/// Blocks of an epoch: the first has four, heights 1 to 4.
const EPOCH_BLOCKS: u64 = 5;

/// A disk that fails once, at one block: before it is stored, or after.
#[derive(Clone)]
struct Failing {
    held: MemoryLedger,
    at: Arc<AtomicU64>,
    after: bool,
}

impl FinalBlocks for Failing {
    fn state(&self) -> State {
        self.held.state()
    }

    fn height(&self) -> u64 {
        self.held.height()
    }

    fn commit(&mut self, block: &VerifiedBlock, certificate: Option<&FinalityCertificate>) -> Result<(), CommitError> {
        let height = block.header().height;
        let fails = self
            .at
            .compare_exchange(height, 0, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok();
        if !fails || self.after {
            self.held.commit(block, certificate.filter(|_| !fails))?;
        }
        match fails {
            true => Err(CommitError {
                height,
                cause: "the disk is full".into(),
            }),
            false => Ok(()),
        }
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

struct World {
    context: Context,
    oracle: Oracle<ValidatorKey, Context>,
    committee: Committee,
    ledgers: Vec<Failing>,
    signers: Vec<Arc<Booked>>,
    pools: Vec<Arc<Pool>>,
    progress: Vec<Progress>,
}

impl World {
    async fn new(context: Context, committee: Committee) -> Self {
        let n = committee.set.validators().len();
        let config = Config {
            max_size: 1 << 20,
            max_peers_per_set: NZUsize!(20),
            disconnect_on_block: false,
            tracked_peer_sets: NZUsize!(1),
        };
        let keys: Vec<_> = committee.set.validators().iter().map(|v| peer(&v.key)).collect();
        let (network, oracle) = Network::new_with_peers(context.child("network"), config, keys.clone()).await;
        network.start();
        for from in &keys {
            for to in keys.iter().filter(|to| *to != from) {
                let link = Link {
                    latency: Duration::from_millis(20),
                    jitter: Duration::from_millis(10),
                    success_rate: probability!(1.0),
                };
                oracle.add_link(from.clone(), to.clone(), link).await.unwrap();
            }
        }
        let ledger = || Failing {
            held: committee.ledger(),
            at: Arc::default(),
            after: false,
        };
        Self {
            context,
            oracle,
            ledgers: (0..n).map(|_| ledger()).collect(),
            signers: (0..n).map(|i| committee.honest(i)).collect(),
            pools: (0..n).map(|_| Arc::default()).collect(),
            progress: (0..n).map(|_| Progress::default()).collect(),
            committee,
        }
    }

    /// A validator over all epochs; its ledger is also brought on from the others', as final blocks are fetched from peers.
    fn start(&self, place: usize) -> Handle<Result<(), StartError>> {
        let member = &self.committee.set.validators()[place];
        let key = peer(&member.key);
        let validator = Validator {
            config: ConsensusConfig::ai_chain_testnet(),
            key: member.key.clone(),
            signer: self.signers[place].clone() as Arc<dyn VoteSigner>,
            ledger: self.ledgers[place].clone(),
            pool: Arc::clone(&self.pools[place]),
            progress: self.progress[place].clone(),
            blocker: self.oracle.control(key.clone()),
            partition: format!("validator-{place}"),
        };
        let (oracle, quota) = (self.oracle.clone(), Quota::per_second(NZU32!(1_024)));
        let links = move |epoch: u64| {
            let control = oracle.control(key.clone());
            async move {
                let first = 16 * (epoch + 1);
                Links {
                    votes: control.register(first, quota).await.unwrap(),
                    certificates: control.register(first + 1, quota).await.unwrap(),
                    resolver: control.register(first + 2, quota).await.unwrap(),
                    blocks: control.register(first + 3, quota).await.unwrap(),
                }
            }
        };
        let (others, mut mine) = (self.ledgers.clone(), self.ledgers[place].held.clone());
        let context = self.context.child("validator").with_attribute("place", place);
        context.spawn(move |context| async move {
            context.child("follow").spawn(move |context| async move {
                loop {
                    let before = mine.height();
                    context.sleep(Duration::from_millis(1_500)).await;
                    let newest = others
                        .iter()
                        .map(|other| &other.held)
                        .max_by_key(|other| other.height());
                    let newest = newest.unwrap();
                    // Its own engine is to find out what is new, if it can.
                    let least = if mine.height() == before { 0 } else { 3 };
                    while newest.height() > mine.height() + least {
                        let height = mine.height() + 1;
                        let block = newest.block(height).unwrap().verify(&mine.state()).unwrap();
                        mine.commit(&block, newest.certificate(height).as_ref()).unwrap();
                    }
                }
            });
            run_epochs(context, validator, links).await
        })
    }

    async fn reach(&self, places: impl IntoIterator<Item = usize> + Clone, height: u64) {
        let end = self.context.current() + Duration::from_secs(120);
        while places.clone().into_iter().any(|i| self.ledgers[i].height() < height) {
            let heights: Vec<_> = self.ledgers.iter().map(FinalBlocks::height).collect();
            assert!(self.context.current() < end, "heights {heights:?}, {height} expected");
            self.context.sleep(Duration::from_millis(50)).await;
        }
    }

    /// One chain, one state, certificates of the epochs' own committees, nobody voted twice. Returns the chain.
    fn check(&self) -> Vec<Digest256> {
        let heights = self.ledgers.iter().map(FinalBlocks::height);
        let (least, newest) = (heights.clone().min().unwrap(), heights.max().unwrap());
        let longest = self.ledgers.iter().find(|l| l.height() == newest).unwrap();
        let chain = longest.held.ids();
        let mut state = self.committee.state.clone();
        for height in 1..=newest {
            let epoch = height / EPOCH_BLOCKS;
            let set = committee_of(&state, epoch).unwrap().unwrap();
            for ledger in self.ledgers.iter().filter(|l| l.height() >= height) {
                if let Some(certificate) = ledger.held.certificate(height) {
                    verify_finality(state.network(), &set, &certificate).unwrap();
                    assert_eq!(certificate.epoch, epoch);
                }
            }
            let certified = self.ledgers.iter().any(|l| l.held.certificate(height).is_some());
            let last = (height + 1).is_multiple_of(EPOCH_BLOCKS);
            assert!(
                certified || !last || height == newest,
                "nobody can show that epoch {epoch} is over"
            );
            let block = longest.block(height).unwrap().verify(&state).unwrap();
            state.commit(state.apply(&block).unwrap()).unwrap();
            for ledger in self.ledgers.iter().filter(|l| l.height() == height) {
                assert_eq!(ledger.state().entries(), state.entries(), "balances at {height}");
            }
        }
        for (place, ledger) in self.ledgers.iter().enumerate() {
            let ids = ledger.held.ids();
            assert_eq!(ids, chain[..ids.len()], "fork: validator {place}");
            assert_eq!(self.signers[place].double_vote(), None, "validator {place} voted twice");
            assert!(ledger.held.faults().is_empty(), "an honest validator was blamed");
        }
        assert!(least + 6 > newest, "somebody was left behind: {least} of {newest}");
        chain
    }
}

fn peer(key: &hanzo_ledger::PublicKey) -> ValidatorKey {
    ValidatorKey::new(key).unwrap()
}

fn runner(seed: u64) -> deterministic::Runner {
    let start = UNIX_EPOCH + Duration::from_millis(START_MS);
    deterministic::Runner::new(deterministic::Config::new().with_seed(seed).with_start_time(start))
}

fn committee(n: usize) -> Committee {
    Committee::with(n, |params| {
        params.epoch_blocks = EPOCH_BLOCKS;
        params.committee_max = 7;
    })
}

fn leaving(seed: u64) -> Vec<Digest256> {
    runner(seed).start(|context| async move {
        let world = World::new(context, committee(5)).await;
        let running: Vec<_> = (0..5).map(|place| world.start(place)).collect();
        let (state, left) = (&world.committee.state, 2);
        for pool in &world.pools {
            pool.submit(world.committee.leaves(left), state).unwrap();
            pool.submit(world.committee.transfers(0, 1, 500), state).unwrap();
            pool.submit(world.committee.transfers(1, 3, 70), state).unwrap();
        }
        // In the committees of the epochs 0 and 1, which were fixed when it left.
        world.reach(0..5, 2 * EPOCH_BLOCKS).await;
        assert!(world.signers[left].views(1) > 0);
        world.reach(0..5, 3 * EPOCH_BLOCKS + 1).await;
        let standing = |place: usize| world.progress[place].standing();
        assert!(!standing(left).votes && standing(left).epoch >= 3);
        assert!(standing(0).votes && standing(0).epoch >= 3);
        assert_eq!(world.signers[left].views(2), 0);
        assert_eq!(world.signers[left].views(3), 0);
        for place in 0..5 {
            let state = world.ledgers[place].state();
            let balance = |at: usize| state.account(&world.committee.set.validators()[at].id).balance;
            assert_eq!((balance(1), balance(3)), (1_000_500, 1_000_070), "validator {place}");
            assert!(
                world.pools[place].is_empty(),
                "validator {place} still offers what is final"
            );
        }
        for handle in running {
            handle.abort();
        }
        world.check()
    })
}

#[test]
fn committees_change_with_epochs_and_whoever_left_follows() {
    let chain = leaving(1);
    assert_eq!(leaving(1), chain, "one seed, two chains");
}

#[test]
fn a_validator_that_was_away_for_an_epoch_catches_up_and_votes_again() {
    runner(2).start(|context| async move {
        let world = World::new(context, committee(4)).await;
        let running: Vec<_> = (0..4).map(|place| world.start(place)).collect();
        world.reach([3], 2).await;
        running[3].abort();
        world.reach(0..3, 2 * EPOCH_BLOCKS + 2).await;
        assert!(world.ledgers[3].height() < EPOCH_BLOCKS, "it was away");
        assert_eq!(world.signers[3].views(2), 0);
        let _again = world.start(3);
        world.reach(0..4, 4 * EPOCH_BLOCKS).await;
        assert!(world.signers[3].views(3) > 0, "it does not vote again");
        world.check();
    });
}

#[test]
fn a_disk_that_fails_before_or_after_any_block_loses_nothing() {
    for (seed, after) in [(3, false), (4, true)] {
        runner(seed).start(|context| async move {
            let mut world = World::new(context, committee(4)).await;
            world.ledgers[0].after = after;
            let mut running: Vec<_> = (0..4).map(|place| world.start(place)).collect();
            let mut failed = Vec::new();
            while world.ledgers[0].height() < 3 * EPOCH_BLOCKS {
                let height = world.ledgers[0].height() + 1;
                world.ledgers[0].at.store(height, Ordering::Relaxed);
                // None if another validator brought that block first.
                if let Some(why) = ended(&world, &mut running[0]).await {
                    assert_eq!(why.code(), "chain.commit");
                    failed.push(height);
                    running[0] = world.start(0);
                }
                world.reach([0], height).await;
            }
            assert!(failed.len() > 5, "the disk failed at {failed:?} alone");
            world.reach(0..4, 3 * EPOCH_BLOCKS + 2).await;
            world.check();
        });
    }
}

/// How a validator ended, if it does within ten seconds.
async fn ended(world: &World, running: &mut Handle<Result<(), StartError>>) -> Option<StartError> {
    commonware_macros::select! {
        ended = running => ended.ok().and_then(Result::err),
        _ = world.context.sleep(Duration::from_secs(10)) => None,
    }
}
