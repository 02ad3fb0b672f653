//! Two brokers on one PostgreSQL: any of them takes the answer to a challenge of any, once, and hands out the keys.

#[path = "../../postgres/tests/support/cluster.rs"]
mod cluster;
#[path = "support/harness.rs"]
mod harness;

use cluster::Cluster;
use hanzo_kbs::StoreMode;
use hanzo_kbs_protocol::ATTEST_PATH;
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
