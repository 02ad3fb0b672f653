//! How long whole verdicts take: each kind alone, a mixed corpus on one thread and on two, and the policy's share.
//!
//! `cargo bench -p hanzo-verifier --bench verdicts`; with `-- --smoke` one round, to see that all are accepted. How much
//! memory they take is another bench (`memory`): an allocator that counts would be on the clock here.

#[path = "corpus/evidence.rs"]
mod evidence;
#[allow(dead_code, unused_imports, reason = "the verdict tests use the rest")]
#[path = "../tests/verdict/fixture.rs"]
mod fixture;
#[allow(dead_code, unused_imports, reason = "the verdict tests use the rest")]
#[path = "../tests/verdict/machine.rs"]
mod machine;
#[allow(dead_code, unused_imports, reason = "the verdict tests use the rest")]
#[path = "../tests/verdict/tdx.rs"]
mod tdx;
#[allow(dead_code, unused_imports, reason = "the verdict tests use the rest")]
#[path = "../tests/verdict/tpm.rs"]
mod tpm;

use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use evidence::{Case, Guest};
use hanzo_policy::appraise;

fn main() {
    let smoke = std::env::args().any(|a| a == "--smoke");
    let rounds = if smoke { 1 } else { 40 };
    let simulated = evidence::simulated();
    let real = evidence::real();
    if real.is_empty() {
        println!("VECTORS MISSING (shared/vectors beside the repository): simulated guests alone");
    }
    let mixed: Vec<&Case> = simulated.iter().chain(&real).collect();
    each_kind(&mixed, rounds);
    two_threads(&mixed, rounds.min(10));
    collateral_prepared(rounds);
    policy_share(rounds);
    longest(rounds.min(5));
}

/// Processor time of this thread: what others run on the machine is not in it. Without Linux' account of it, wall time.
fn sample(f: impl FnOnce()) -> Duration {
    let (cpu, start) = (on_cpu(), Instant::now());
    f();
    let elapsed = start.elapsed();
    match (cpu, on_cpu()) {
        (Some(before), Some(after)) => after.saturating_sub(before),
        _ => elapsed,
    }
}

/// First number of the account: nanoseconds on a processor. It is brought up to date when the thread is scheduled.
fn on_cpu() -> Option<Duration> {
    std::thread::yield_now();
    let account = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(Duration::from_nanos(account.split(' ').next()?.parse().ok()?))
}

fn us(d: Duration) -> f64 {
    d.as_secs_f64() * 1e6
}

/// Least and median of `rounds` runs.
fn timed(rounds: usize, mut f: impl FnMut()) -> (Duration, Duration) {
    let mut times: Vec<_> = (0..rounds).map(|_| sample(&mut f)).collect();
    times.sort();
    (times[0], times[rounds / 2])
}

fn each_kind(cases: &[&Case], rounds: usize) {
    println!("one verification, {rounds} rounds each, microseconds of processor time");
    for case in cases {
        let (least, median) = timed(rounds, || (case.verify)());
        println!(
            "  {:<34} {:>8} bytes  min {:>9.1}  median {:>9.1}",
            case.name,
            case.bytes,
            us(least),
            us(median)
        );
    }
}

/// Verdicts per second over the corpus, each case as often as the others, the best of three runs.
fn two_threads(cases: &[&Case], rounds: usize) {
    let run = |threads: usize| {
        let total = cases.len() * rounds;
        let next = AtomicUsize::new(0);
        let start = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    loop {
                        let i = next.fetch_add(1, Ordering::Relaxed);
                        if i >= total {
                            break;
                        }
                        (cases[i % cases.len()].verify)();
                    }
                });
            }
        });
        total as f64 / start.elapsed().as_secs_f64()
    };
    let best = |threads| (0..3).map(|_| run(threads)).fold(0.0, f64::max);
    let (one, two) = (best(1), best(2));
    println!(
        "mixed corpus of {} kinds, verdicts per second of wall time, best of three",
        cases.len()
    );
    println!("  one thread  {one:>8.1}");
    println!("  two threads {two:>8.1}");
    println!("  two : one   {:>8.2}x", two / one);
}

fn collateral_prepared(rounds: usize) {
    let (plain, prepared) = (evidence::trust_domain(), evidence::trust_domain_prepared());
    let (mut a, mut b) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        a.push(sample(|| drop(black_box(plain.verify()))));
        b.push(sample(|| drop(black_box(prepared.verify()))));
    }
    (a.sort(), b.sort());
    let (a, b) = (a[rounds / 2], b[rounds / 2]);
    println!("bundle: TDX, collateral verified for it alone against verified before, median microseconds");
    println!("  alone {:>9.1}  before {:>9.1}  {:>5.2}x", us(a), us(b), us(a) / us(b));
}

fn policy_share(rounds: usize) {
    let guest: Guest = evidence::trust_domain();
    let result = guest.verify();
    let policy = &guest.context.policy;
    let (_, whole) = timed(rounds, || drop(black_box(guest.verify())));
    // Too short to be timed one by one.
    let (_, hundred) = timed(rounds, || {
        for _ in 0..100 {
            black_box(appraise(result.bound(), result.keyset(), black_box(policy)));
        }
    });
    let alone = hundred / 100;
    println!("the policy's part of a TDX verification, median microseconds");
    println!(
        "  appraisal {:>7.1} of {:>9.1}: {:.2} % (goal at most 5 %)",
        us(alone),
        us(whole),
        100.0 * us(alone) / us(whole)
    );
}

fn longest(rounds: usize) {
    let guest = evidence::longest();
    let (least, median) = timed(rounds, || drop(black_box(guest.verify())));
    println!(
        "longest bundle, {} bytes, filled with RIMs that fit nobody: min {:.1} ms, median {:.1} ms",
        guest.bytes.len(),
        us(least) / 1e3,
        us(median) / 1e3
    );
}
