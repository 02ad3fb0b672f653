//! Peers' work at a desk: who asks much waits for itself alone.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests stop at the first surprise")]

use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use hanzo_chain::ValidatorKey;
use hanzo_chain_node::serve::Desk;
use hanzo_ledger::PublicKey;
use hanzo_pqc::dsa::{MlDsa65, SigningKey};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::unbounded_channel;

const LIMIT: Duration = Duration::from_secs(60);

fn peer(n: u8) -> ValidatorKey {
    let key: SigningKey<MlDsa65> = SigningKey::from_seed(&[n; 32]).unwrap();
    ValidatorKey::new(&PublicKey::new(key.verifying_key().as_bytes()).unwrap()).unwrap()
}

fn runtime() -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

#[test]
fn a_flood_of_one_peers_questions_keeps_nobody_elses_waiting() {
    runtime().block_on(async {
        let mut desk = Desk::new(2);
        let (say, mut said) = unbounded_channel();
        let (open, gate) = mpsc::channel::<()>();
        let gate = Arc::new(Mutex::new(gate));
        // Its first question is still worked on when all the others come.
        let taken_up = (0..100_000).filter(|_| {
            let (gate, say) = (Arc::clone(&gate), say.clone());
            let work = move || gate.lock().unwrap().recv().is_err();
            desk.take_up(&peer_of_the_flood(), work, move |_| say.send(0).unwrap())
        });
        assert_eq!(taken_up.count(), 1);
        for n in 1..=3 {
            let say = say.clone();
            assert!(desk.take_up(&peer(n), move || n, move |n| say.send(n).unwrap()));
        }
        let mut answered = Vec::new();
        for _ in 1..=3 {
            answered.push(tokio::time::timeout(LIMIT, said.recv()).await.unwrap().unwrap());
        }
        answered.sort_unstable();
        assert_eq!(answered, [1, 2, 3]);
        // Once its own is done it may ask again.
        drop(open);
        assert_eq!(tokio::time::timeout(LIMIT, said.recv()).await.unwrap(), Some(0));
        assert!(desk.take_up(&peer_of_the_flood(), || (), |()| ()));
    });
}

fn peer_of_the_flood() -> ValidatorKey {
    static KEY: std::sync::LazyLock<ValidatorKey> = std::sync::LazyLock::new(|| peer(99));
    KEY.clone()
}

#[test]
fn work_that_fails_ends_its_peers_turn_and_no_others() {
    runtime().block_on(async {
        let mut desk = Desk::new(1);
        let (say, mut said) = unbounded_channel();
        let never = say.clone();
        assert!(desk.take_up(&peer(1), || panic!("work that fails"), move |()| never.send(1).unwrap()));
        assert!(desk.take_up(&peer(2), || (), move |()| say.send(2).unwrap()));
        assert_eq!(tokio::time::timeout(LIMIT, said.recv()).await.unwrap(), Some(2));
        // The place is free again, and so is the turn before long.
        let again = async {
            while !desk.take_up(&peer(1), || (), |()| ()) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(LIMIT, again).await.unwrap();
    });
}
