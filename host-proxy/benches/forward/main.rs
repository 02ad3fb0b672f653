//! `hanzo-proxy` beside HAProxy in TCP mode, in one run.
//!
//! `cargo bench -p hanzo-proxy --bench forward`; with `-- --smoke` the same in seconds, to see that everything works; with
//! `-- --part requests` (or `streams`, `pings`, `connections`, `idle`) a part of it, with `-- --rounds 3` fewer rounds than seven.
//!
//! Each proxy has one thread, pinned to the first core; load and backend, the same for both, are on the others. Rounds take turns, and
//! the median of each proxy's rounds is shown. "CPU us" is processor time that the kernel booked on the proxy's process, so that
//! other programs on the machine count little; the other rows are wall clock and contain load, backend and all
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
    stream_cpu_us: f64,
    requests_per_s: f64,
    request_cpu_us: f64,
    request_load_us: f64,
    loaded_p99_us: f64,
    p50_us: f64,
    p99_us: f64,
    ping_cpu_us: f64,
    connections_per_s: f64,
    connection_cpu_us: f64,
    connection_load_us: f64,
    idle_bytes: f64,
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    let mut size = match args.iter().any(|a| a == "--smoke") {
        true => SMOKE,
        false => FULL,
    };
    if let Some(rounds) = args.iter().skip_while(|a| *a != "--rounds").nth(1) {
        size.rounds = rounds.parse().expect("--rounds N");
    }
    let parts = Parts::of(&args);
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
            rounds[i].push(round(&mut subjects[i], &load, &size, &parts));
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
    let row = |part: &str, name: &str, goal: &str, what: &dyn Fn(&Round) -> f64| {
        let (ours, theirs) = (of(0, what).unwrap_or(f64::NAN), of(1, what).unwrap_or(f64::NAN));
        if parts.has(part) {
            println!("{name:<44}{ours:>12.1}{theirs:>12.1}{:>8.2}  {goal}", ours / theirs);
        }
    };
    let (more, less) = (">= 1.0", "<= 1.0");
    row("streams", "4 large streams, MB/s", more, &|r| r.stream_per_s / 1e6);
    row("streams", "the same, CPU us a MB", less, &|r| r.stream_cpu_us);
    row("requests", "512-byte requests on 32 connections, /s", more, &|r| {
        r.requests_per_s
    });
    row("requests", "the same, CPU us a request", less, &|r| r.request_cpu_us);
    row("requests", "the same, CPU us of load and backend", "", &|r| {
        r.request_load_us
    });
    row("requests", "the same, p99 us", less, &|r| r.loaded_p99_us);
    row("pings", "one request at a time, added p50 us", less, &|r| {
        r.p50_us - direct_p50
    });
    row("pings", "one request at a time, added p99 us", less, &|r| {
        r.p99_us - direct_p99
    });
    row("pings", "the same, CPU us a request", less, &|r| r.ping_cpu_us);
    row("connections", "new connections with one request, /s", more, &|r| {
        r.connections_per_s
    });
    row("connections", "the same, CPU us a connection", less, &|r| {
        r.connection_cpu_us
    });
    row("connections", "the same, CPU us of load and backend", "", &|r| {
        r.connection_load_us
    });
    row(
        "idle",
        "idle connection after a request, bytes",
        "<= 16384 bytes",
        &|r| r.idle_bytes,
    );
    ExitCode::SUCCESS
}

fn round(subject: &mut Subject, load: &Load, size: &Size, parts: &Parts) -> Round {
    subject.start();
    let at = subject.at;
    let mut round = Round::default();
    load.pings(at, size.pings / 10);

    if parts.has("streams") {
        let taken = subject.timed(|| load.streams(at, 4, size.stream_bytes / 4));
        round.stream_per_s = size.stream_bytes as f64 / taken.wall_s;
        round.stream_cpu_us = taken.cpu_s * 1e6 / (size.stream_bytes as f64 / 1e6);
    }
    if parts.has("requests") {
        let mut p99 = 0.0;
        let taken = subject.timed(|| p99 = load.requests(at, 32, size.requests));
        round.requests_per_s = size.requests as f64 / taken.wall_s;
        round.request_cpu_us = taken.cpu_s * 1e6 / size.requests as f64;
        round.request_load_us = taken.load_cpu_s * 1e6 / size.requests as f64;
        round.loaded_p99_us = p99;
    }
    if parts.has("pings") {
        let mut found = (0.0, 0.0);
        let taken = subject.timed(|| found = load.pings(at, size.pings));
        (round.p50_us, round.p99_us) = found;
        round.ping_cpu_us = taken.cpu_s * 1e6 / size.pings as f64;
    }
    if parts.has("connections") {
        let taken = subject.timed(|| load.connections(at, 16, size.connections));
        round.connections_per_s = size.connections as f64 / taken.wall_s;
        round.connection_cpu_us = taken.cpu_s * 1e6 / size.connections as f64;
        round.connection_load_us = taken.load_cpu_s * 1e6 / size.connections as f64;
    }
    if parts.has("idle") {
        // A process that has done nothing yet, so that memory of earlier connections is not used again.
        subject.start();
        load.pings(at, 10);
        let before = subject.resident_bytes();
        let kept = load.idle(at, size.idle);
        round.idle_bytes = (subject.resident_bytes() - before) / size.idle as f64;
        drop(kept);
    }
    subject.stop();
    round
}

/// What is measured: all, or what `--part NAME` names.
struct Parts(Vec<String>);

impl Parts {
    fn of(args: &[String]) -> Self {
        let named = args.windows(2).filter(|w| w[0] == "--part");
        Self(named.map(|w| w[1].clone()).collect())
    }

    fn has(&self, part: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|p| p == part)
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut all: Vec<f64> = values.collect();
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or(f64::NAN)
}
