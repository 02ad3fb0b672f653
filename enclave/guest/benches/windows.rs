//! Challenges answered per second by one security processor that takes 5 ms: each in a call of its own, and in windows.
//!
//! `cargo bench -p hanzo-guest --bench windows`; with `-- --smoke` for half a second each, to see that it works.
//!
//! Both sides are the guest's own desk over the same simulated SNP processor, in one run. Callers ask, take the whole
//! bundle, and ask again; every hundredth bundle is parsed and its path followed to the nonce. The transport is left out:
//! what is measured is the queue before the processor.

#[path = "../tests/windows/slow_device.rs"]
mod slow_device;

use std::sync::Arc;
use std::time::{Duration, Instant};

use hanzo_attestation::bundle::Bundle;
use hanzo_attestation::{Digest256, Nonce};
use hanzo_guest::evidence::{EvidenceDesk, Windows};
use slow_device::{SlowDevice, sealed};

const CALL: Duration = Duration::from_millis(5);
const CALLERS: usize = 256;

struct Figures {
    answers: usize,
    calls: usize,
    seconds: f64,
    /// Sorted.
    waits: Vec<Duration>,
}

impl Figures {
    fn per_second(&self) -> f64 {
        self.answers as f64 / self.seconds
    }

    fn line(&self, name: &str) {
        let at = |share: f64| {
            let index = ((self.waits.len() as f64 * share) as usize).min(self.waits.len().saturating_sub(1));
            self.waits.get(index).copied().unwrap_or_default().as_secs_f64() * 1e3
        };
        println!(
            "{name:<14} {:>9.0} answers/s  {:>6} calls  {:>7.1} answers a call  p50 {:>8.1} ms  p99 {:>8.1} ms",
            self.per_second(),
            self.calls,
            self.answers as f64 / self.calls.max(1) as f64,
            at(0.50),
            at(0.99)
        );
    }
}

async fn measure(windows: Windows, lasting: Duration) -> Figures {
    let device = SlowDevice::new(CALL);
    let desk = EvidenceDesk::open(device.clone(), Arc::new(sealed()), Nonce([1; 32]), windows).await;
    let desk = desk.expect("the standing bundle");
    device.forget();
    let start = Instant::now();
    let callers = (0..CALLERS).map(|caller| {
        let desk = desk.clone();
        tokio::spawn(async move {
            let mut waits = Vec::new();
            for turn in 0_usize.. {
                if start.elapsed() >= lasting {
                    break;
                }
                let challenge = Nonce(Digest256::of(format!("{caller} {turn}").as_bytes()).0);
                let asked = Instant::now();
                let fresh = desk.fresh(challenge).await.expect("an answer");
                if start.elapsed() < lasting {
                    waits.push(asked.elapsed());
                }
                if turn % 100 == 0 {
                    let bundle = Bundle::parse(&fresh.to_bytes()).expect("a bundle");
                    let path = bundle.freshness.expect("an answer to a challenge");
                    assert!(path.challenge == challenge && path.leads_to(&bundle.nonce));
                }
            }
            waits
        })
    });
    let callers: Vec<_> = callers.collect();
    tokio::time::sleep_until((start + lasting).into()).await;
    // Those that wait now are answered after the end, and not counted.
    let calls = device.calls();
    let mut waits = Vec::new();
    for caller in callers {
        waits.extend(caller.await.expect("a caller"));
    }
    waits.sort_unstable();
    Figures {
        answers: waits.len(),
        calls,
        seconds: lasting.as_secs_f64(),
        waits,
    }
}

fn main() {
    let smoke = std::env::args().any(|a| a == "--smoke");
    let lasting = Duration::from_millis(if smoke { 500 } else { 5_000 });
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    println!("one processor, {} ms a call; {CALLERS} callers", CALL.as_millis());
    let alone = Windows {
        challenges_max: 1,
        spacing: Duration::ZERO,
        ..Windows::default()
    };
    let alone = runtime.block_on(measure(alone, lasting));
    alone.line("a call each");
    let unspaced = Windows {
        spacing: Duration::ZERO,
        ..Windows::default()
    };
    let unspaced = runtime.block_on(measure(unspaced, lasting));
    unspaced.line("windows, bare");
    let windows = runtime.block_on(measure(Windows::default(), lasting));
    windows.line("windows");
    println!(
        "windows / a call each: {:.1} (without the pause between calls: {:.1})",
        windows.per_second() / alone.per_second(),
        unspaced.per_second() / alone.per_second()
    );
    assert!(windows.per_second() > alone.per_second(), "windows must not be slower");
}
