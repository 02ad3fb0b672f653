//! Two brokers on one PostgreSQL: any of them takes the answer to a challenge of any, once, and hands out the keys.

#[path = "../../postgres/tests/support/cluster.rs"]
mod cluster;
#[path = "support/harness.rs"]
mod harness;

use cluster::Cluster;
use hanzo_attestation::Nonce;
use hanzo_attestation::name::KeyId;
use hanzo_kbs::StoreMode;
use hanzo_kbs_protocol::ATTEST_PATH;
use hanzo_kbs_protocol::heads::{HEADS_PATH, HeldLease};
use harness::{Broker, Guest, http, policy};

const KEY: &str = "hanzo/dek/smollm2";

#[test]
fn a_challenge_from_one_replica_is_answered_at_the_other_exactly_once() {
    let Some(cluster) = Cluster::start(&[]) else { return };
    let url = cluster.database("kbs");
    let one = Broker::start_at(StoreMode::Simulated, true, Some(&url), |_| {});
    one.put(KEY, 1, &policy()).unwrap();
    let two = one.replica();
    for asked_first in [one.address, two.address] {
        let guest = Guest::new().challenged(one.address);
        let answered: Vec<_> = [one.address, two.address, one.address, two.address]
            .into_iter()
            .map(|at| {
                let (cookie, body) = (guest.cookie.clone(), guest.attest.clone());
                std::thread::spawn(move || {
                    let reply = http(at, "POST", ATTEST_PATH, &cookie, &body);
                    (reply.status, reply.text())
                })
            })
            .collect();
        let answers: Vec<_> = answered.into_iter().map(|t| t.join().unwrap()).collect();
        let (won, lost): (Vec<_>, Vec<_>) = answers.iter().partition(|(status, _)| *status == 200);
        assert_eq!(won.len(), 1, "{answers:?}");
        assert!(
            lost.iter()
                .all(|(s, text)| *s == 401 && text.contains("kbs.session.used")),
            "{answers:?}"
        );
        // Either hands out the key, also the one that did not see the answer; both together once.
        let reply = guest.ask(asked_first, KEY);
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert!(guest.open(&reply.body, &one, KEY).is_ok());
        for at in [one.address, two.address] {
            assert_eq!(guest.ask(at, KEY).error(), (403, "kbs.grant.repeated".into()));
            // And long after the race it is still used.
            assert_eq!(guest.send_attest(at).error(), (401, "kbs.session.used".into()));
        }
    }
    // A challenge that nobody answered is no session at any of them.
    let silent = Guest::new().challenged(two.address);
    for at in [one.address, two.address] {
        assert_eq!(silent.ask(at, KEY).error(), (401, "kbs.session.not_attested".into()));
    }
}

/// The lease of a store's head is acquired at a replica that did not see the session attest.
#[test]
fn a_session_of_one_replica_acquires_a_lease_at_the_other() {
    let Some(cluster) = Cluster::start(&[]) else { return };
    let url = cluster.database("kbs");
    let one = Broker::start_at(StoreMode::Simulated, true, Some(&url), |_| {});
    one.put(KEY, 1, &policy()).unwrap();
    let two = one.replica();
    let store = KeyId::new(KEY).unwrap();
    let acquire = |at, cookie: &str, n: u8| {
        let body = HeldLease::acquire_body(&store, 60, Nonce([n; 32])).unwrap();
        http(at, "POST", &format!("{HEADS_PATH}{KEY}"), cookie, &body)
    };
    let guest = Guest::new().attested(one.address);
    assert_eq!(guest.ask(one.address, KEY).status, 200);
    let reply = acquire(two.address, &guest.cookie, 1);
    assert_eq!(reply.status, 200, "{}", reply.text());
    let signer = one.made.identity.verifying_keys().unwrap();
    let lease = HeldLease::open(&reply.body, &store, &Nonce([1; 32]), &guest.key, &signer).unwrap();
    assert_eq!(lease.state().token, 1);
    // Its neighbours: a challenge that nobody answered, and a cookie of no broker.
    let silent = Guest::new().challenged(one.address);
    for cookie in [silent.cookie.as_str(), "kbs-session-id=AAAA", ""] {
        assert_eq!(
            acquire(two.address, cookie, 2).error(),
            (401, "kbs.head.session".into())
        );
    }
}

/// While the database is held up, one session piles up requests: it gets the bound, another one its place.
#[test]
fn one_session_does_not_take_the_places_of_all() {
    let Some(cluster) = Cluster::start(&[]) else { return };
    let url = cluster.database("kbs");
    let broker = Broker::start_at(StoreMode::Simulated, true, Some(&url), |_| {});
    broker.put(KEY, 1, &policy()).unwrap();
    let greedy = Guest::new().attested(broker.address);
    let modest = Guest::new().attested(broker.address);
    std::thread::scope(|scope| {
        // The lock that writers of this store take.
        let held = scope.spawn(|| {
            cluster.sql(
                "kbs",
                "SELECT pg_advisory_lock(application_id::int, 1), pg_sleep(3) FROM hanzo_store",
            )
        });
        while cluster.sql("kbs", "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == "0" {
            std::thread::yield_now();
        }
        let ask = |guest: &Guest| {
            let (cookie, at) = (guest.cookie.clone(), broker.address);
            move || http(at, "GET", &format!("/kbs/v0/resource/{KEY}"), &cookie, b"")
        };
        let asking: Vec<_> = (0..12).map(|_| scope.spawn(ask(&greedy))).collect();
        let other = scope.spawn(ask(&modest));
        assert_eq!(other.join().unwrap().status, 200);
        let replies: Vec<_> = asking.into_iter().map(|t| t.join().unwrap()).collect();
        let busy = replies.iter().filter(|r| r.status == 429);
        let codes: Vec<_> = busy.map(|r| r.error().1).collect();
        assert_eq!(codes, vec!["kbs.session.busy"; 4], "12 asked, 8 were let in");
        assert_eq!(replies.iter().filter(|r| r.status == 200).count(), 1);
        held.join().unwrap();
    });
    // Whoever was turned away may come again.
    assert_eq!(
        greedy.ask(broker.address, KEY).error(),
        (403, "kbs.grant.repeated".into())
    );
}

/// A standby that took over and had not got the last decisions: noticed at the next transaction of a running broker, which
/// hands out nothing until an operator accepts the loss.
#[test]
fn an_older_database_that_takes_over_is_noticed_by_a_running_broker() {
    let Some(cluster) = Cluster::start(&[]) else { return };
    let url = cluster.database("kbs");
    let mut once = policy();
    once.max_uses = 1;
    let mut broker = Broker::start_at(StoreMode::Simulated, true, Some(&url), |_| {});
    broker.put(KEY, 1, &once).unwrap();
    let take_over = |by: &str, aside: &str| {
        cluster.sql(
            "postgres",
            &format!(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname IN ('kbs', '{by}');
                 ALTER DATABASE kbs RENAME TO {aside}"
            ),
        );
        cluster.sql("postgres", &format!("ALTER DATABASE {by} RENAME TO kbs"));
    };
    // The standby stands still here.
    cluster.sql(
        "postgres",
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'kbs'",
    );
    cluster.sql("postgres", "CREATE DATABASE standby TEMPLATE kbs");
    let first = Guest::new().attested(broker.address);
    assert_eq!(first.ask(broker.address, KEY).status, 200, "its only use");
    let second = Guest::new().challenged(broker.address);
    take_over("standby", "newest");
    let rolled_back = (503, "store.rolled_back".to_owned());
    assert_eq!(second.send_attest(broker.address).error(), rolled_back);
    assert_eq!(first.ask(broker.address, KEY).error(), rolled_back);
    assert_eq!(
        broker.put("hanzo/dek/n", 1, &once).unwrap_err().code(),
        "store.rolled_back"
    );
    let health = http(broker.address, "GET", "/health", "", b"");
    assert_eq!(health.status, 503, "{}", health.text());

    // The newest one comes back: all is well, and its only use was used.
    take_over("newest", "standby");
    let second = Guest::new().attested(broker.address);
    assert_eq!(second.ask(broker.address, KEY).error(), (403, "kbs.key.used_up".into()));

    // The older one again; an operator accepts it, while the broker runs.
    take_over("standby", "newest");
    assert_eq!(first.ask(broker.address, KEY).error(), rolled_back);
    hanzo_kbs::accept_head(&broker.config, broker.mode).unwrap();
    let third = Guest::new().attested(broker.address);
    assert_eq!(third.ask(broker.address, KEY).status, 200, "the use that was lost");
    let lines = broker.audit();
    let accepted = lines.iter().find(|l| l["action"] == "accept-head").unwrap();
    assert!(
        accepted["about"].as_str().unwrap().ends_with("; store: 2"),
        "{accepted}"
    );
}
