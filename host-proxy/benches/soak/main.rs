//! The proxy under ten minutes of load and attack: idle and active clients, hostile ones among them, a reload, a hot restart, and a
//! guest that is killed.
//!
//! `cargo bench -p hanzo-proxy --bench soak`: 10,000 idle and 500 active connections, 525 hostile clients, ten minutes.
//! `-- --smoke` is the same with a few hundred in seconds, and so is `cargo test`. `-- --seconds N`, `--idle N` and `--active N`
//! change one number each. Guests and proxies are processes of their own. Ends with 1 if a goal is missed.

mod backend;
mod healthy;
mod hello;
mod hostile;
mod proxy;

use std::io::{Read as _, Write as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use backend::Backend;
use healthy::{Client, Seen};
use hostile::{Attempts, Hostile, KINDS};
use proxy::{Files, Proxy};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Within this time clients of a killed guest must know.
const DEADLINE_MS: f64 = 5_000.0;

/// Memory may grow by a tenth and this much while the same clients are there.
const SLACK_KIB: u64 = 2 * 1024;

/// Tenths of the time at which something happens.
const RELOAD: usize = 2;
const RESTART: usize = 4;
const RELOAD_AGAIN: usize = 6;
const KILL: usize = 7;
const REVIVE: usize = 8;

struct Size {
    seconds: u64,
    idle: u32,
    active: u32,
}

impl Size {
    fn of(args: &[String]) -> Self {
        let is_full = args.iter().any(|a| a == "--bench") && !args.iter().any(|a| a == "--smoke");
        let mut size = match is_full {
            true => Self {
                seconds: 600,
                idle: 10_000,
                active: 500,
            },
            false => Self {
                seconds: 10,
                idle: 300,
                active: 50,
            },
        };
        let number = |name: &str| {
            let value = args.iter().skip_while(|a| *a != name).nth(1)?;
            Some(value.parse::<u32>().expect("a number"))
        };
        size.seconds = number("--seconds").map_or(size.seconds, u64::from);
        size.idle = number("--idle").unwrap_or(size.idle);
        size.active = number("--active").unwrap_or(size.active);
        size
    }

    fn hostile(&self) -> u32 {
        (self.idle + self.active).div_ceil(20)
    }
}

/// Resident memory of both processes at the end of each tenth.
#[derive(Clone, Copy)]
struct Sample {
    tenth: usize,
    old_kib: u64,
    new_kib: Option<u64>,
    idle: u64,
    exchanges: u64,
    failures: usize,
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    if let [_, flag, name, at] = args.as_slice()
        && flag == "--guest"
    {
        backend::run(name.as_bytes()[0], at.parse().expect("an address"));
        return ExitCode::SUCCESS;
    }
    let size = Size::of(&args);
    raise_descriptors(2 * u64::from(size.idle + size.active + size.hostile()) + 4_096);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(soak(&size))
}

/// One process has one descriptor a client here, and two in the proxy, which inherits this.
fn raise_descriptors(wanted: u64) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let now = getrlimit(Resource::Nofile);
    if now.current.is_none_or(|n| n >= wanted) {
        return;
    }
    let maximum = now.maximum.map(|max| max.max(wanted));
    let limit = Rlimit {
        current: Some(wanted),
        maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        eprintln!(
            "soak: {wanted} FILE DESCRIPTORS ARE NEEDED and {:?} allowed ({error}): expect refusals. Two runs side by side, each \
             with --idle {} --active {}, need half of it each",
            now.maximum, 5_000, 250
        );
    }
}

struct Stage {
    files: Files,
    guests: [Backend; 2],
    old: Proxy,
    new: Option<Proxy>,
    seen: Arc<Seen>,
}

async fn soak(size: &Size) -> ExitCode {
    let dir = tempfile::tempdir().expect("a directory");
    let guests = [('a', proxy::free_address()), ('b', proxy::free_address())];
    let everybody = (size.idle + size.active + 2 * size.hostile()) as usize + 500;
    let files = Files::new(dir.path(), guests.map(|g| g.1), everybody);
    files.write(0);
    let mut stage = Stage {
        guests: guests.map(|(name, at)| Backend::start(name, at)),
        old: files.start(),
        new: None,
        files,
        seen: Arc::default(),
    };
    let attempts: Arc<Attempts> = Arc::default();
    let (stop, stopped) = watch::channel(false);
    let mut tasks = JoinSet::new();
    let client = |number, seen: &Arc<Seen>, doors| Client {
        seen: seen.clone(),
        doors,
        number,
        stop: stopped.clone(),
    };
    let doors = stage.files.doors;
    for number in 0..size.idle {
        tasks.spawn(client(number, &stage.seen, doors).idle());
        if number % 20 == 19 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    for number in 0..size.active {
        // A tenth keeps one connection for the whole time, the others change theirs.
        let per_connection = if number % 10 == 0 { usize::MAX } else { 20 };
        tasks.spawn(client(number, &stage.seen, doors).active(per_connection, Duration::from_millis(400)));
    }
    for number in 0..size.hostile() {
        let hostile = Hostile {
            attempts: attempts.clone(),
            doors,
            number,
            stop: stopped.clone(),
        };
        tasks.spawn(hostile.run());
    }
    let tenth = Duration::from_secs(size.seconds) / 10;
    let started = Instant::now();
    let mut samples = Vec::new();
    for n in 1..=10 {
        let until = started + tenth * n as u32;
        tokio::time::sleep_until(until.into()).await;
        samples.push(stage.sample(n));
        eprintln!(
            "soak: {} of 10, first failure: {:?}",
            n,
            stage.seen.failures.lock().expect("not poisoned").first()
        );
        stage.act(n);
    }
    let metrics = scrape(&stage.files);
    stop.send_replace(true);
    let ended = tokio::time::timeout(Duration::from_secs(30), tasks.join_all())
        .await
        .is_ok();
    let guests = [stage.guests[0].at, stage.guests[1].at];
    let is_b_used = value(
        &metrics,
        &format!(
            "hanzo_proxy_guest_connections_open{{pool=\"p\",guest=\"{}\"}}",
            guests[1]
        ),
    ) > 0;
    let Stage { old, new, seen, .. } = stage;
    let stopped_well = old.stop() & new.is_none_or(Proxy::stop);
    report(
        size,
        &samples,
        &seen,
        &attempts,
        &metrics,
        ended && stopped_well && is_b_used,
    )
}

impl Stage {
    fn sample(&self, tenth: usize) -> Sample {
        Sample {
            tenth,
            old_kib: self.old.resident_kib(),
            new_kib: self.new.as_ref().map(Proxy::resident_kib),
            idle: self.seen.idle.load(Ordering::Relaxed),
            exchanges: self.seen.exchanges.load(Ordering::Relaxed),
            failures: self.seen.failures.lock().expect("not poisoned").len(),
        }
    }

    fn act(&mut self, tenth: usize) {
        let event = || self.seen.events.lock().expect("not poisoned").push(Instant::now());
        match tenth {
            RELOAD => {
                event();
                self.files.write(1);
                self.old.hang_up();
            }
            RESTART => {
                event();
                self.new = Some(self.files.start());
            }
            RELOAD_AGAIN => {
                event();
                self.files.write(2);
                self.new.as_ref().expect("started").hang_up();
            }
            KILL => {
                *self.seen.killed.lock().expect("not poisoned") = Some(Instant::now());
                self.guests[1].kill();
            }
            REVIVE => self.guests[1].start_again(),
            _ => {}
        }
    }
}

fn report(
    size: &Size,
    samples: &[Sample],
    seen: &Seen,
    attempts: &Attempts,
    metrics: &str,
    rest_is_well: bool,
) -> ExitCode {
    println!(
        "{} idle and {} active connections, {} hostile clients, {} s",
        size.idle,
        size.active,
        size.hostile(),
        size.seconds
    );
    println!(
        "{:>6}{:>12}{:>12}{:>10}{:>12}{:>10}  after it",
        "tenth", "old KiB", "new KiB", "idle", "requests", "failed"
    );
    for s in samples {
        let new = s.new_kib.map_or("-".to_owned(), |kib| kib.to_string());
        let what = match s.tenth {
            RELOAD | RELOAD_AGAIN => "SIGHUP with another file",
            RESTART => "hot restart",
            KILL => "guest b killed",
            REVIVE => "guest b started",
            _ => "",
        };
        println!(
            "{:>6}{:>12}{new:>12}{:>10}{:>12}{:>10}  {what}",
            s.tenth, s.old_kib, s.idle, s.exchanges, s.failures
        );
    }
    for (kind, n) in KINDS.iter().zip(&attempts.of) {
        println!("{kind:<32}{:>10} attempts", n.load(Ordering::Relaxed));
    }
    for line in metrics
        .lines()
        .filter(|l| l.contains("refused_total{") || l.contains("ended_total{"))
    {
        if !line.ends_with(" 0") {
            println!("  {line}");
        }
    }
    let failures = seen.failures.lock().expect("not poisoned");
    for failure in failures.iter().take(10) {
        println!("FAILED: {failure}");
    }
    let told = seen.told_ms.lock().expect("not poisoned");
    let told_max = told.iter().copied().fold(0.0, f64::max);
    let lost = seen.streams_lost.load(Ordering::Relaxed);
    let count = |n: &AtomicU64| n.load(Ordering::Relaxed);
    let growth = growth_kib(samples);
    let is_long = size.seconds >= 60;
    let goals = [
        ("healthy failures", failures.len() as f64, failures.is_empty()),
        ("streams lost by reload or restart", lost as f64, lost == 0),
        ("told of the killed guest, clients", told.len() as f64, !told.is_empty()),
        ("told after at most, ms", told_max, told_max <= DEADLINE_MS),
        (
            "requests answered",
            count(&seen.exchanges) as f64,
            count(&seen.exchanges) > 0,
        ),
        (
            "connections opened",
            count(&seen.opened) as f64,
            count(&seen.opened) >= u64::from(size.idle),
        ),
        (
            "memory growth over the allowed, KiB",
            growth as f64,
            !is_long || growth == 0,
        ),
        (
            "guest b used again, all ended well",
            f64::from(u8::from(rest_is_well)),
            rest_is_well,
        ),
    ];
    let mut json = Vec::new();
    for (name, value, is_met) in &goals {
        println!("{name:<40}{value:>12.0}  {}", if *is_met { "met" } else { "MISSED" });
        json.push(format!("\"{name}\":{value:.0}"));
    }
    let kib = |of: &dyn Fn(&Sample) -> Option<u64>| {
        let all = samples
            .iter()
            .map(|s| of(s).map_or("null".to_owned(), |kib| kib.to_string()));
        all.collect::<Vec<_>>().join(",")
    };
    println!(
        "{{\"seconds\":{},\"idle\":{},\"active\":{},\"hostile\":{},{},\"old_kib\":[{}],\"new_kib\":[{}]}}",
        size.seconds,
        size.idle,
        size.active,
        size.hostile(),
        json.join(","),
        kib(&|s| Some(s.old_kib)),
        kib(&|s| s.new_kib)
    );
    match goals.iter().all(|(_, _, is_met)| *is_met) {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// Between two events that move connections the same clients are there: from its first sample in between no process may grow.
fn growth_kib(samples: &[Sample]) -> u64 {
    let parts = [1..=RESTART, RESTART + 1..=KILL, KILL + 1..=10];
    let grown = |of: &dyn Fn(&Sample) -> Option<u64>| {
        let grown = parts.iter().map(|part| {
            let all: Vec<u64> = samples
                .iter()
                .filter(|s| part.contains(&s.tenth))
                .filter_map(of)
                .collect();
            let first = all.first().copied().unwrap_or(0);
            let most = all.iter().copied().max().unwrap_or(0);
            most.saturating_sub(first + first / 10 + SLACK_KIB)
        });
        grown.max().unwrap_or(0)
    };
    grown(&|s| Some(s.old_kib)).max(grown(&|s| s.new_kib))
}

fn scrape(files: &Files) -> String {
    let mut text = String::new();
    if let Ok(mut socket) = std::os::unix::net::UnixStream::connect(files.metrics()) {
        let asked = socket.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        let _ = asked.and_then(|()| socket.read_to_string(&mut text));
    }
    text
}

fn value(metrics: &str, name: &str) -> u64 {
    let line = metrics.lines().find_map(|l| l.strip_prefix(name));
    line.and_then(|v| v.trim().parse().ok()).unwrap_or(0)
}
