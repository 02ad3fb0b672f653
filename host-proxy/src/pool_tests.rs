use std::time::Duration;

use super::*;
use crate::config::Breaker;

fn config(guests: usize, balance: Balance) -> config::Pool {
    config::Pool {
        guests: (1..=guests)
            .map(|n| format!("127.0.0.1:{n}").parse().unwrap())
            .collect(),
        balance,
        guest_connections_max: 2,
        queue_max: 1,
        deadline: Duration::from_secs(1),
        connect: Duration::from_secs(1),
        send_header: None,
        discover: None,
        health: None,
        breaker: Breaker {
            failures: 2,
            open: Duration::from_millis(40),
        },
    }
}

fn pool(guests: usize, balance: Balance) -> Arc<Pool> {
    Pool::new("p", config(guests, balance), None)
}

fn take(pool: &Arc<Pool>, client: u64) -> Lease {
    match pool.pick(client, 0) {
        Pick::One(lease, _) => lease,
        other => panic!("{other:?}"),
    }
}

fn loads(pool: &Pool) -> Vec<u32> {
    pool.set().guests.iter().map(|g| g.outstanding()).collect()
}

#[test]
fn the_least_loaded_guest_is_taken_and_a_full_pool_says_so() {
    let pool = pool(3, Balance::LeastOutstanding);
    let mut kept: Vec<_> = (0..3).map(|_| take(&pool, 0)).collect();
    assert_eq!(loads(&pool), [1, 1, 1]);
    kept.remove(1);
    let one = take(&pool, 0);
    assert_eq!(loads(&pool), [1, 1, 1], "the free one");
    kept.push(one);
    kept.extend((0..3).map(|_| take(&pool, 0)));
    assert!(matches!(pool.pick(0, 0), Pick::Full));
    kept.pop();
    take(&pool, 0);
}

#[test]
fn a_client_stays_with_its_guest_and_moves_only_if_that_one_is_gone() {
    let ten = pool(10, Balance::Rendezvous);
    let of = |pool: &Arc<Pool>, client| take(pool, client).guest.address;
    let clients: Vec<u64> = (0..200).map(mixed).collect();
    let home: Vec<_> = clients.iter().map(|&c| of(&ten, c)).collect();
    assert_eq!(home, clients.iter().map(|&c| of(&ten, c)).collect::<Vec<_>>());
    let gone = ten.set().guests[3].clone();
    gone.set_healthy(false, "p");
    let mut moved = 0;
    for (client, home) in clients.iter().zip(&home) {
        let now = of(&ten, *client);
        assert_ne!(now, gone.address);
        assert_eq!(now == *home, *home != gone.address, "only its clients move");
        moved += usize::from(now != *home);
    }
    assert!((8..40).contains(&moved), "about a tenth: {moved}");
}

#[test]
fn failures_open_the_breaker_and_one_trial_at_a_time_closes_it() {
    let pool = pool(1, Balance::LeastOutstanding);
    let guest = pool.set().guests[0].clone();
    let breaker = pool.config.breaker;
    guest.failed(&breaker, "p");
    guest.accepted();
    guest.failed(&breaker, "p");
    assert!(guest.is_up(), "a success in between starts the count again");
    guest.failed(&breaker, "p");
    assert!(!guest.is_up() && matches!(pool.pick(0, 0), Pick::Nobody));
    std::thread::sleep(Duration::from_millis(60));
    let trial = take(&pool, 0);
    assert!(matches!(pool.pick(0, 0), Pick::Nobody), "the others wait for the trial");
    guest.failed(&breaker, "p");
    drop(trial);
    assert!(!guest.is_up(), "it failed");
    std::thread::sleep(Duration::from_millis(60));
    let mut trial = take(&pool, 0);
    trial.accepted();
    take(&pool, 0);
    assert!(guest.is_up());
    // The connection that was the trial stays; a later trial is another one.
    guest.failed(&breaker, "p");
    guest.failed(&breaker, "p");
    std::thread::sleep(Duration::from_millis(60));
    let later = take(&pool, 0);
    drop(trial);
    assert!(matches!(pool.pick(0, 0), Pick::Nobody), "the later trial is under way");
    drop(later);
}

#[test]
fn a_reload_keeps_what_is_known_about_a_guest() {
    let before = pool(2, Balance::LeastOutstanding);
    before.set().guests[0].set_healthy(false, "p");
    let _lease = take(&before, 0);
    let after = Pool::new("p", config(3, Balance::Rendezvous), Some(&before));
    assert_eq!(loads(&after), [0, 1, 0]);
    assert!(!after.set().guests[0].is_up() && after.set().guests[2].is_up());
}

#[test]
fn one_too_many_in_the_queue_is_told_at_once_and_a_free_place_wakes_the_worker() {
    let mut poll = mio::Poll::new().unwrap();
    let waker = Arc::new(Waker::new(poll.registry(), mio::Token(1)).unwrap());
    let mut is_woken = || {
        let mut events = mio::Events::with_capacity(4);
        poll.poll(&mut events, Some(Duration::ZERO)).unwrap();
        !events.is_empty()
    };
    let pool = pool(1, Balance::LeastOutstanding);
    let (first, second) = (take(&pool, 0), take(&pool, 0));
    drop(second);
    assert!(!is_woken(), "nobody waits");
    let second = take(&pool, 0);
    let waiting = pool.queue(0, &waker).unwrap();
    assert_eq!(pool.queue(0, &waker).unwrap_err(), Refused::QueueFull);
    assert!(!is_woken());
    drop(second);
    assert!(is_woken());
    drop(waiting);
    assert_eq!(pool.waiting(), 0);
    drop(first);
    assert!(!is_woken(), "nobody waits any more");
}

fn at(ports: &[u16]) -> Vec<Address> {
    ports
        .iter()
        .map(|&p| Address::Tcp(([127, 0, 0, 1], p).into()))
        .collect()
}

fn discovered(before: Option<&Pool>) -> Arc<Pool> {
    let discover = config::Discover {
        source: config::Source::Socket("/nowhere".into()),
        keep: Duration::from_secs(1),
    };
    let config = config::Pool {
        guests: Vec::new(),
        discover: Some(discover),
        ..config(0, Balance::LeastOutstanding)
    };
    Pool::new("p", config, before)
}

#[test]
fn a_guest_that_is_gone_keeps_its_connections_and_gets_no_new_ones() {
    let pool = discovered(None);
    assert!(pool.replace(&at(&[1, 2])) && !pool.replace(&at(&[1, 2])));
    let kept = [take(&pool, 0), take(&pool, 0)];
    assert!(pool.replace(&at(&[2, 3])));
    assert_eq!((loads(&pool), pool.parting()), (vec![1, 0], 1));
    assert!(
        kept.iter().any(|l| l.guest.address == at(&[1])[0]),
        "its connection is open"
    );
    for _ in 0..3 {
        let lease = take(&pool, 0);
        assert_ne!(lease.guest.address, at(&[1])[0]);
        std::mem::forget(lease);
    }
    assert!(matches!(pool.pick(0, 0), Pick::Full), "2 has two, 3 has two");
    // It comes back with the connection that it never lost.
    assert!(pool.replace(&at(&[1])));
    assert_eq!((loads(&pool), pool.parting()), (vec![1], 4));
    drop(kept);
    assert_eq!((loads(&pool), pool.parting()), (vec![0], 3));
}

#[test]
fn a_reload_keeps_discovered_guests_only_of_the_same_source() {
    let before = discovered(None);
    before.replace(&at(&[1, 2]));
    let lease = take(&before, 0);
    assert_eq!(loads(&discovered(Some(&before))).iter().sum::<u32>(), 1);
    let listed = Pool::new("p", config(2, Balance::LeastOutstanding), Some(&before));
    assert_eq!(
        loads(&listed).iter().sum::<u32>(),
        1,
        "listed and discovered guests are the same guests"
    );
    let other = discovered(Some(&listed));
    assert!(other.set().guests.is_empty() && other.parting() == 1);
    assert!(
        matches!(other.pick(0, 0), Pick::Full),
        "clients wait for the first answer"
    );
    other.replace(&[]);
    assert!(matches!(other.pick(0, 0), Pick::Nobody), "twin: the answer was nobody");
    drop(lease);
}
