//! Brokers over one PostgreSQL database: replicas, a database that goes away, dumps.

#[path = "../../postgres/tests/support/cluster.rs"]
mod cluster;
#[path = "support/harness.rs"]
mod harness;

use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use cluster::Cluster;
use hanzo_attestation::name::KeyId;
use hanzo_kbs::{KbsError, StoreMode, backup};
use hanzo_kbs_protocol::resource_path;
use harness::{Broker, Guest, http, policy};

const KEY: &str = "hanzo/dek/m";

fn code<T>(r: Result<T, KbsError>) -> &'static str {
    match r {
        Ok(_) => panic!("accepted"),
        Err(e) => e.code(),
    }
}

#[test]
fn replicas_share_counts_and_one_audit_chain() {
    let Some(cluster) = Cluster::start(&[]) else { return };
    let url = cluster.database("kbs");
    let mut one = Broker::start_at(StoreMode::Simulated, true, Some(&url), |_| {});
    let mut thrice = policy();
    thrice.max_uses = 3;
    one.put(KEY, 1, &thrice).unwrap();
    let mut two = one.replica();
    // What one stored, the other releases; what one counted, the other counts on from.
    let (granted, used_up) = (AtomicU32::new(0), AtomicU32::new(0));
    std::thread::scope(|scope| {
        for broker in [&one, &two] {
            for _ in 0..3 {
                scope.spawn(|| {
                    let guest = Guest::new().attested(broker.address);
                    let reply = guest.ask(broker.address, KEY);
                    if reply.status == 200 {
                        guest.open(&reply.body, broker, KEY).unwrap();
                        granted.fetch_add(1, Ordering::SeqCst);
                    } else {
                        assert_eq!(reply.error(), (403, "kbs.key.used_up".into()));
                        used_up.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
        }
    });
    assert_eq!((granted.into_inner(), used_up.into_inner()), (3, 3));
    // A key replaced at one is replaced at the other at once.
    two.put(KEY, 2, &thrice).unwrap();
    let guest = Guest::new().attested(one.address);
    assert_eq!(guest.ask(one.address, KEY).status, 200);
    two.stop();
    let lines = one.audit();
    assert_eq!(lines.iter().filter(|l| l["action"] == "grant").count(), 4);
    two.restart().unwrap();
    two.stop();

    // The database server holds no secret in the clear.
    let dump = cluster
        .program("pg_dump")
        .args(["-U", "kbs", "kbs", "-h"])
        .arg(cluster.dir.path())
        .output()
        .unwrap();
    assert!(dump.status.success());
    let text = String::from_utf8(dump.stdout).unwrap();
    assert!(text.contains("put-key") && !text.contains(&hex::encode(harness::DEK)));
    assert_eq!(
        code(backup(&one.config, one.mode, &one.dir.path().join("b"))),
        "kbs.backup"
    );

    // Another broker's root does not open it.
    let other = Broker::simulated();
    let mut stranger = one.config.clone();
    stranger.root = other.config.root.clone();
    assert_eq!(code(hanzo_kbs::check(&stranger, one.mode, |_| {})), "store.wrong_key");

    // An older copy of the database is noticed by what the replica keeps outside.
    cluster.sql("postgres", "CREATE DATABASE older TEMPLATE kbs");
    one.restart().unwrap();
    one.set_policy(KEY, 2, &thrice).unwrap();
    one.stop();
    cluster.sql("postgres", "DROP DATABASE kbs");
    cluster.sql("postgres", "ALTER DATABASE older RENAME TO kbs");
    assert_eq!(code(one.restart()), "store.rolled_back");
    // Rows taken out by whoever runs the database are missed by the chain.
    cluster.sql(
        "kbs",
        "DELETE FROM grants WHERE audit_seq = (SELECT max(audit_seq) FROM grants)",
    );
    assert_eq!(code(two.restart()), "store.audit");
}

#[test]
fn a_database_that_goes_away_releases_nothing_and_is_found_again() {
    let Some(mut cluster) = Cluster::start(&[]) else { return };
    let url = cluster.database("kbs");
    let mut broker = Broker::start_at(StoreMode::Simulated, true, Some(&url), |_| {});
    broker.put(KEY, 1, &policy()).unwrap();
    let guest = Guest::new().attested(broker.address);
    // With its backends: one that is left would still answer.
    cluster.kill_all();
    let reply = guest.ask(broker.address, KEY);
    assert_eq!(reply.error(), (503, "store.connection".into()));
    let refused = broker.put("hanzo/dek/other", 1, &policy()).unwrap_err();
    assert_eq!(refused.code(), "store.connection");
    cluster.up(&[]);
    let reply = guest.ask(broker.address, KEY);
    assert_eq!(reply.status, 200, "{}", reply.text());
    let grants = broker.audit().iter().filter(|l| l["action"] == "grant").count();
    assert_eq!(grants, 1);

    // In the middle of a request: its connection ends while it waits for its turn to write.
    broker.restart().unwrap();
    let guest = Guest::new().attested(broker.address);
    let application = 0x686b_6273;
    let turn = format!("SELECT pg_advisory_lock({application}, 1); SELECT pg_sleep(60)");
    let mut holder = cluster.program("psql");
    holder.args(["-X", "-q", "-U", "kbs", "-d", "kbs", "-c", &turn, "-h"]);
    let mut holder = holder.arg(cluster.dir.path()).stdout(Stdio::null()).spawn().unwrap();
    let waits = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted";
    let held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND objid = 1";
    let until = |sql: &str| {
        let start = Instant::now();
        while cluster.sql("kbs", sql) == "0" {
            assert!(start.elapsed() < Duration::from_secs(10), "{sql}");
        }
    };
    until(held);
    let (address, cookie) = (broker.address, guest.cookie.clone());
    let asking = std::thread::spawn(move || {
        let path = resource_path(&KeyId::new(KEY).unwrap());
        http(address, "GET", &path, &cookie, b"")
    });
    // It connects again and waits once more; then there is nobody left to wait for.
    for _ in 0..2 {
        until(waits);
        let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted";
        cluster.sql("kbs", end);
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(asking.join().unwrap().error(), (503, "store.connection".into()));
    holder.kill().unwrap();
    holder.wait().unwrap();
    let over = "SELECT count(pg_terminate_backend(pid)) FROM pg_locks WHERE locktype = 'advisory' AND granted";
    cluster.sql("kbs", over);
    assert_eq!(guest.ask(broker.address, KEY).status, 200, "nothing of it was counted");
    let grants = broker.audit().iter().filter(|l| l["action"] == "grant").count();
    assert_eq!(grants, 2);

    // Made by a newer program, or on a server that forgets.
    cluster.sql("kbs", "UPDATE hanzo_store SET schema_version = schema_version + 1");
    assert_eq!(code(broker.restart()), "store.newer_schema");
    cluster.sql("kbs", "UPDATE hanzo_store SET schema_version = schema_version - 1");
    broker.restart().unwrap();
    broker.stop();

    // An empty database in its place is not taken for a new store.
    cluster.sql("postgres", "DROP DATABASE kbs");
    cluster.sql("postgres", "CREATE DATABASE kbs");
    assert_eq!(code(broker.restart()), "store.none");
    let said = broker
        .config
        .store
        .to_str()
        .unwrap()
        .replace("user=kbs", "password=hunter2");
    broker.config.store = said.into();
    let e = broker.restart().unwrap_err();
    assert_eq!(e.code(), "store.target");
    assert!(!e.to_string().contains("hunter2") && e.to_string().contains("passfile"));
}
