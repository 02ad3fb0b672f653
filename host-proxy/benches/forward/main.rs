//! `hanzo-proxy` beside HAProxy in TCP mode, in one run.
//!
//! `cargo bench -p hanzo-proxy --bench forward`; with `-- --smoke` the same in seconds, to see that everything works.
//!
//! Each proxy has one thread, pinned to the first core; load and backend, the same for both, are on the others. Rounds take turns, and
//! the median of each proxy's rounds is shown. "per CPU-s" divides by the processor time that the kernel booked on the proxy's
//! process, so that other programs on the machine do not count; the other rows are wall clock and contain load, backend and all
//! else. The goals are ratios to HAProxy's figure of the same run.

mod load;
mod subject;

use std::process::ExitCode;

use load::Load;
use subject::Subject;

/// How much is done.
struct Size {
    rounds: usize,
    stream_bytes: u64,
    requests: usize,
    pings: usize,
    connections: usize,
    idle: usize,
}

const FULL: Size = Size {
    rounds: 7,
    stream_bytes: 1 << 30,
    requests: 30_000,
    pings: 5_000,
    connections: 4_000,
    idle: 4_000,
};

const SMOKE: Size = Size {
    rounds: 1,
    stream_bytes: 32 << 20,
    requests: 1_000,
    pings: 200,
    connections: 200,
    idle: 200,
};

/// What one round found.
#[derive(Default)]
struct Round {
    stream_per_s: f64,
    stream_per_cpu_s: f64,
    requests_per_s: f64,
    requests_per_cpu_s: f64,
    loaded_p99_us: f64,
    p50_us: f64,
    p99_us: f64,
    connections_per_s: f64,
    connections_per_cpu_s: f64,
    idle_bytes: f64,
}

fn main() -> ExitCode {
    let size = match std::env::args().any(|a| a == "--smoke") {
        true => SMOKE,
        false => FULL,
    };
    subject::pin_self();
    let load = Load::start();
    let dir = tempfile::tempdir().expect("a directory");
    let mut subjects = vec![Subject::hanzo(dir.path(), load.backend)];
    match Subject::haproxy(dir.path(), load.backend) {
        Some(haproxy) => subjects.push(haproxy),
        None => eprintln!("HAPROXY MISSING: NOT COMPARED (apt-get install haproxy)"),
    }
    let mut rounds: Vec<Vec<Round>> = subjects.iter().map(|_| Vec::new()).collect();
    let mut direct = Vec::new();
    for n in 0..size.rounds {
        direct.push(load.pings(load.backend, size.pings));
        // Whoever is first changes from round to round.
        for i in 0..subjects.len() {
            let i = (i + n) % subjects.len();
            rounds[i].push(round(&mut subjects[i], &load, &size));
        }
    }
    let direct_p50 = median(direct.iter().map(|d| d.0));
    let direct_p99 = median(direct.iter().map(|d| d.1));
    println!(
        "{} rounds; without a proxy: p50 {direct_p50:.1} us, p99 {direct_p99:.1} us",
        size.rounds
    );
    println!("{:<44}{:>12}{:>12}{:>8}  goal", "", "hanzo-proxy", "haproxy", "ratio");
    let of = |i: usize, what: &dyn Fn(&Round) -> f64| rounds.get(i).map(|r| median(r.iter().map(what)));
    let row = |name: &str, goal: &str, what: &dyn Fn(&Round) -> f64| {
        let (ours, theirs) = (of(0, what).unwrap_or(f64::NAN), of(1, what).unwrap_or(f64::NAN));
        println!("{name:<44}{ours:>12.1}{theirs:>12.1}{:>8.2}  {goal}", ours / theirs);
    };
    row("4 large streams, MB/s", ">= 1.0", &|r| r.stream_per_s / 1e6);
    row("4 large streams, MB per CPU-s", ">= 1.0", &|r| r.stream_per_cpu_s / 1e6);
    row("512-byte requests on 32 connections, /s", ">= 1.0", &|r| {
        r.requests_per_s
    });
    row("512-byte requests, per CPU-s", ">= 1.0", &|r| r.requests_per_cpu_s);
    row("the same, p99 us", "<= 1.0", &|r| r.loaded_p99_us);
    row("one request at a time, added p50 us", "<= 1.0", &|r| {
        r.p50_us - direct_p50
    });
    row("one request at a time, added p99 us", "<= 1.0", &|r| {
        r.p99_us - direct_p99
    });
    row("new connections with one request, /s", ">= 1.0", &|r| {
        r.connections_per_s
    });
    row("new connections, per CPU-s", ">= 1.0", &|r| r.connections_per_cpu_s);
    row("idle connection after a request, bytes", "<= 16384 bytes", &|r| {
        r.idle_bytes
    });
    ExitCode::SUCCESS
}

fn round(subject: &mut Subject, load: &Load, size: &Size) -> Round {
    subject.start();
    let at = subject.at;
    let mut round = Round::default();
    load.pings(at, size.pings / 10);

    let (seconds, cpu) = subject.timed(|| load.streams(at, 4, size.stream_bytes / 4));
    round.stream_per_s = size.stream_bytes as f64 / seconds;
    round.stream_per_cpu_s = size.stream_bytes as f64 / cpu;

    let mut p99 = 0.0;
    let (seconds, cpu) = subject.timed(|| p99 = load.requests(at, 32, size.requests));
    round.requests_per_s = size.requests as f64 / seconds;
    round.requests_per_cpu_s = size.requests as f64 / cpu;
    round.loaded_p99_us = p99;

    (round.p50_us, round.p99_us) = load.pings(at, size.pings);

    let (seconds, cpu) = subject.timed(|| load.connections(at, 16, size.connections));
    round.connections_per_s = size.connections as f64 / seconds;
    round.connections_per_cpu_s = size.connections as f64 / cpu;

    // A process that has done nothing yet, so that memory of earlier connections is not used again.
    subject.start();
    load.pings(at, 10);
    let before = subject.resident_bytes();
    let kept = load.idle(at, size.idle);
    round.idle_bytes = (subject.resident_bytes() - before) / size.idle as f64;
    drop(kept);
    subject.stop();
    round
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut all: Vec<f64> = values.collect();
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or(f64::NAN)
}
