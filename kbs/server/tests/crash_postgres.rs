//! The database is killed under a running broker: no answer but "not now", nothing acknowledged is lost, and the broker goes
//! on by itself.
//!
//! `HANZO_CRASH_ROUNDS=50 cargo test -p hanzo-kbs --test crash_postgres -- --nocapture` runs all fifty.

#[path = "../../postgres/tests/support/cluster.rs"]
mod cluster;
#[path = "support/harness.rs"]
mod harness;
#[path = "support/load.rs"]
mod load;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cluster::Cluster;
use hanzo_kbs::{StoreMode, check};
use harness::{Broker, http};
use load::{Chain, Load, Outage};

/// Replays what the database holds, while the broker stands by.
fn replay(broker: &Broker) -> Chain {
    let mut lines = Vec::new();
    check(&broker.config, broker.mode, |line| {
        lines.push(serde_json::from_str(line).unwrap());
    })
    .unwrap();
    Chain::new(&lines)
}

#[test]
fn what_was_acknowledged_outlives_the_database_server() {
    let Some(mut cluster) = Cluster::start(&[]) else { return };
    let rounds: u64 = std::env::var("HANZO_CRASH_ROUNDS").map_or(2, |n| n.parse::<u64>().unwrap().clamp(1, 50));
    let url = cluster.database("kbs");
    let broker = Broker::start_at(StoreMode::Simulated, true, Some(&url), |config| {
        let limits = &mut config.limits;
        (limits.auth_per_s, limits.attest_per_s) = (100_000, 100_000);
        (limits.release_per_s, limits.admin_per_s) = (100_000, 100_000);
    });
    load::prepare(&broker);
    let load = Load {
        address: broker.address,
        identity: broker.made.identity.clone(),
        admin_key: broker.made.admin_key_path.clone(),
        outage: Outage::Database,
    };
    let start = Instant::now();
    let (mut told, mut away) = (Vec::new(), 0);
    for round in 0..rounds {
        let (stop, count) = (AtomicBool::new(false), AtomicU64::new(0));
        let progress = |beyond: u64| {
            let until = Instant::now() + Duration::from_secs(60);
            while count.load(Ordering::SeqCst) <= beyond {
                assert!(
                    Instant::now() < until,
                    "round {round}: nothing is acknowledged any more"
                );
                std::thread::sleep(Duration::from_millis(2));
            }
        };
        let heard = std::thread::scope(|scope| {
            let clients = scope.spawn(|| load.run(round, &stop, &count));
            progress(round * 7919 % 13);
            std::thread::sleep(Duration::from_micros(round * 104_729 % 20_000));
            cluster.kill_all();
            std::thread::sleep(Duration::from_millis(60));
            let health = http(broker.address, "GET", "/health", "", b"");
            assert!([200, 503].contains(&health.status), "{}", health.text());
            cluster.up(&[]);
            // The same broker, not started again, over a new connection.
            progress(count.load(Ordering::SeqCst) + 3);
            stop.store(true, Ordering::SeqCst);
            clients.join().unwrap()
        });
        assert!(
            heard.away > 0,
            "round {round}: nobody was told that the database is away"
        );
        away += heard.away;
        told.extend(heard.told);
        let chain = replay(&broker);
        let fence = load::fenced(&broker.config.head_file).0;
        chain.must_hold(&told, &[fence]);
        chain.must_be_counted(&load);
    }
    let grants = told.iter().filter(|t| t.action == "grant").count();
    eprintln!(
        "{rounds} kills in {:.1} s: {} acknowledged ({grants} grants), {} decisions kept, {away} times told to wait",
        start.elapsed().as_secs_f64(),
        told.len(),
        replay(&broker).newest
    );
}
