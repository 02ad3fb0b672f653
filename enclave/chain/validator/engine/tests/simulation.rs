//! Whole networks in simulated time, with real ML-DSA-65 signatures: no fork, finality after healing, no honest double vote, and one
//! chain for one seed.
//!
//! A long run, in parts because a simulated network keeps some memory until its process ends:
//! `HANZO_CHAIN_FIRST=0 HANZO_CHAIN_SEEDS=100 cargo test --manifest-path enclave/chain/validator/Cargo.toml -p hanzo-chain --test simulation seeds -- --nocapture`.
//! One seed again: `HANZO_CHAIN_SEED=17`, test `one_seed`.

#[path = "support/committee.rs"]
mod committee;
#[path = "support/sim.rs"]
mod sim;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

use sim::{KINDS, Kind, run};

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name}: expected a number, got {text}")),
    )
}

/// What a seed means: most of 4 validators, some of 7, a few of 20.
fn plan(seed: u64) -> (usize, Kind) {
    let n = match seed % 50 {
        49 => 20,
        at if at % 10 == 9 => 7,
        _ => 4,
    };
    (n, KINDS[(seed % 13 % 12) as usize])
}

fn run_seed(seed: u64) {
    let (n, kind) = plan(seed);
    let work = || {
        let chain = run(n, kind, seed);
        if seed % 8 == 3 {
            assert_eq!(run(n, kind, seed), chain, "one seed, two chains");
        }
    };
    if let Err(cause) = catch_unwind(AssertUnwindSafe(work)) {
        let text = cause.downcast_ref::<String>().map(String::as_str);
        let text = text.or(cause.downcast_ref::<&str>().copied()).unwrap_or("it panicked");
        panic!(
            "seed {seed} ({n} validators, {kind:?}): {text}\nagain: HANZO_CHAIN_SEED={seed} cargo test --manifest-path enclave/chain/validator/Cargo.toml -p hanzo-chain --test simulation one_seed -- --nocapture"
        );
    }
}

#[test]
fn seeds_neither_fork_nor_lose_finality_nor_vote_twice() {
    let first = number("HANZO_CHAIN_FIRST").unwrap_or(0);
    let last = first + number("HANZO_CHAIN_SEEDS").unwrap_or(24);
    let next = AtomicU64::new(first);
    std::thread::scope(|scope| {
        let work = || {
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= last {
                    return;
                }
                if seed > first && (seed - first) % 100 == 0 {
                    println!("{} seeds", seed - first);
                }
                run_seed(seed);
            }
        };
        let threads: Vec<_> = (0..2).map(|_| scope.spawn(work)).collect();
        for thread in threads {
            if let Err(cause) = thread.join() {
                std::panic::resume_unwind(cause);
            }
        }
    });
}

#[test]
fn one_seed_again() {
    if let Some(seed) = number("HANZO_CHAIN_SEED") {
        run_seed(seed);
    }
}

#[test]
fn seven_validators_bear_two_that_are_byzantine() {
    for kind in [Kind::Twins, Kind::Conflicter] {
        run(7, kind, 1);
    }
}

#[test]
fn twenty_validators_finalize_with_six_that_never_vote_for_a_block() {
    run(20, Kind::NullifyOnly, 1);
}

#[test]
fn one_seed_is_one_chain() {
    for kind in [Kind::Calm, Kind::Lossy, Kind::Partition, Kind::CrashOfAll, Kind::Twins] {
        let (first, again) = (run(4, kind, 5), run(4, kind, 5));
        assert_eq!(first, again, "{kind:?}");
    }
    assert_ne!(run(4, Kind::Lossy, 5), run(4, Kind::Lossy, 6));
}
