//! Validators over stores on a disk: one chain, kept with its certificates, that a light client follows and a replay confirms.

#[path = "support/committee.rs"]
mod committee;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use committee::{Committee, START_MS};
use commonware_p2p::simulated::{Config, Link, Network};
use commonware_runtime::deterministic::{self, Context};
use commonware_runtime::{Clock, Quota, Runner, Spawner, Supervisor};
use commonware_utils::{NZU32, NZUsize, probability};
use hanzo_chain::*;
use hanzo_chain_types::LightClient;
use hanzo_ledger::{Header, State};
use hanzo_mining::MiningLedger;
use hanzo_pqc::Dek;

#[derive(Default)]
struct Heard(AtomicU64);

impl Watcher for Heard {
    fn committed(&self, header: &Header) {
        let before = self.0.swap(header.height, Ordering::Relaxed);
        assert_eq!(before + 1, header.height, "blocks come one by one");
    }
}

fn open(place: &Path, committee: &Committee) -> MiningLedger {
    let key = Dek::from_slice(&[7; 32]).unwrap();
    MiningLedger::open(&place.join("ledger.db"), &key, committee.state.genesis().clone()).unwrap()
}

async fn run(context: Context, committee: &Committee, stores: &[StoredBlocks<Heard>], height: u64) {
    let config = Config {
        max_size: 1 << 20,
        max_peers_per_set: NZUsize!(20),
        disconnect_on_block: false,
        tracked_peer_sets: NZUsize!(1),
    };
    let members = committee.set.validators();
    let keys: Vec<_> = members.iter().map(|v| ValidatorKey::new(&v.key).unwrap()).collect();
    let (network, oracle) = Network::new_with_peers(context.child("network"), config, keys.clone()).await;
    network.start();
    for from in &keys {
        for to in keys.iter().filter(|to| *to != from) {
            let link = Link {
                latency: Duration::from_millis(10),
                jitter: Duration::ZERO,
                success_rate: probability!(1.0),
            };
            oracle.add_link(from.clone(), to.clone(), link).await.unwrap();
        }
    }
    for (place, store) in stores.iter().enumerate() {
        let control = oracle.control(keys[place].clone());
        let pool = Arc::new(Pool::new());
        pool.submit(committee.transfer(1, 900), &committee.state).unwrap();
        let validator = Validator {
            config: ConsensusConfig::ai_chain_testnet(),
            key: members[place].key.clone(),
            signer: committee.honest(place) as Arc<dyn VoteSigner>,
            ledger: store.clone(),
            pool,
            progress: Progress::default(),
            blocker: control.clone(),
            partition: format!("validator-{place}"),
        };
        let links = move |epoch: u64| {
            let (control, quota) = (control.clone(), Quota::per_second(NZU32!(1_024)));
            async move {
                let first = 4 * epoch;
                Links {
                    votes: control.register(first, quota).await.unwrap(),
                    certificates: control.register(first + 1, quota).await.unwrap(),
                    resolver: control.register(first + 2, quota).await.unwrap(),
                    blocks: control.register(first + 3, quota).await.unwrap(),
                }
            }
        };
        let context = context.child("validator").with_attribute("place", place);
        context.spawn(move |context| async move { run_epochs(context, validator, links).await });
    }
    let end = context.current() + Duration::from_secs(60);
    while stores.iter().any(|s| s.height() < height) {
        let heights: Vec<_> = stores.iter().map(FinalBlocks::height).collect();
        assert!(context.current() < end, "heights {heights:?}");
        context.sleep(Duration::from_millis(100)).await;
    }
}

#[test]
fn stores_hold_one_chain_with_certificates_that_a_light_client_follows() {
    const EPOCH_BLOCKS: u64 = 3;
    let committee = Committee::with(4, |params| params.epoch_blocks = EPOCH_BLOCKS);
    let places: Vec<_> = (0..4).map(|_| tempfile::tempdir().unwrap()).collect();
    let stores = || -> Vec<_> {
        let each = places.iter().map(|place| Arc::new(open(place.path(), &committee)));
        each.map(|ledger| StoredBlocks::new(ledger, Arc::new(Heard::default())))
            .collect()
    };
    let start = UNIX_EPOCH + Duration::from_millis(START_MS);
    let config = deterministic::Config::new().with_seed(9).with_start_time(start);
    deterministic::Runner::new(config).start(|context| {
        let (committee, stores) = (&committee, stores());
        async move { run(context, committee, &stores, 3 * EPOCH_BLOCKS + 1).await }
    });
    // As after a restart: only what is on the disks counts.
    let stores = stores();
    let mut roots = Vec::new();
    for store in &stores {
        let ledger = store.ledger();
        let newest = ledger.replay().unwrap();
        assert!(newest > 3 * EPOCH_BLOCKS);
        let mut client = LightClient::of_genesis(committee.state.genesis()).unwrap();
        let certified = ledger.certified().unwrap().unwrap();
        assert!(certified + 1 >= newest);
        for epoch in 1..certified / EPOCH_BLOCKS {
            let handover = ledger.handover(epoch).unwrap().unwrap();
            client.follow(&handover).unwrap();
        }
        let certificate = ledger.certificate_from(certified).unwrap().unwrap();
        client.finality(&certificate).unwrap();
        let block = store.block(3 * EPOCH_BLOCKS).unwrap();
        roots.push((block.header.id(), block.header.state_root));
        let paid = committee.set.validators()[1].id;
        assert_eq!(ledger.read(|state: &State| state.account(&paid).balance), 1_000_900);
    }
    assert!(roots.windows(2).all(|pair| pair[0] == pair[1]));
}
