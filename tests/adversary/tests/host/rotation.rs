//! Keysets that follow each other under a client that asks all the time.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use hanzo_tests_adversary::appliance::{Appliance, Differs};
use hanzo_tests_adversary::wire::{Attack, HostileProxy};

use crate::engine;
use crate::wire::{CANARY, ask};

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_asks_all_the_time_loses_no_request_to_new_keysets() {
    let differs = Differs {
        // Of 3600 s: each keyset is followed by the next after two seconds.
        keyset_overlap_s: Some(3598),
        ..Differs::default()
    };
    let appliance = Appliance::start_as(engine::command(), differs).await;
    let proxy = HostileProxy::start(appliance.guest_at, Attack::None).await.unwrap();
    let client = appliance.client(proxy.at);
    let start = Instant::now();
    let askers = (0..3).map(|_| {
        let client = client.clone();
        tokio::spawn(async move {
            let (mut asked, mut keysets) = (0, BTreeSet::new());
            while start.elapsed() < Duration::from_secs(7) {
                let answer = ask(&client).await;
                assert!(answer.is_ok(), "after {:?}: {answer:?}", start.elapsed());
                asked += 1;
                keysets.insert(client.last_verdict().unwrap().keyset_digest().to_string());
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            (asked, keysets)
        })
    });
    let (mut asked, mut keysets) = (0, BTreeSet::new());
    for asker in askers.collect::<Vec<_>>() {
        let (more, seen) = asker.await.unwrap();
        asked += more;
        keysets.extend(seen);
    }
    let seen = keysets.len();
    println!("rotation: {asked} requests, none failed; the client saw {seen} keysets and attested each");
    assert!(seen >= 2, "{keysets:?}");
    assert!(keysets.contains(&appliance.ready.keyset_digest.to_string()));
    assert!(!proxy.saw(CANARY));
}
