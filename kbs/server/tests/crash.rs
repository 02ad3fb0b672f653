//! A broker under load is killed at random moments: what it acknowledged is there, counted and on the record.
//!
//! `HANZO_CRASH_ROUNDS=1000 cargo test -p hanzo-kbs --test crash -- --nocapture` runs all thousand. `HANZO_CRASH_SEED` repeats the
//! moments of a run.
//!
//! The killed process is this test's own executable, which runs what `hanzo-kbs serve` runs: the program itself opens no
//! store whose keys simulated guests may have.

#[path = "support/harness.rs"]
mod harness;
#[path = "support/load.rs"]
mod load;
#[path = "support/process.rs"]
mod process;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hanzo_attestation::name::KeyId;
use hanzo_kbs::{FenceConfig, KbsConfig, StoreMode, check, harden_process, serve};
use hanzo_kbs_protocol::resource_path;
use harness::{Broker, Guest, policy, try_http};
use load::{Chain, Load, Outage, Told};
use process::Process;

const PLACE: &str = "HANZO_CRASH_BROKER";
/// Replaying the audit log is part of a start: a fresh store after so many rounds keeps them short.
const ROUNDS_OF_ONE_STORE: u64 = 25;

/// Not a test: the broker that is killed.
#[test]
fn the_broker_that_is_killed() {
    let Some(config) = std::env::var_os(PLACE) else { return };
    harden_process().unwrap();
    let config = KbsConfig::load(Path::new(&config)).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let ready = |address| println!(r#"{{"listening":"{address}"}}"#);
    runtime
        .block_on(serve(config, StoreMode::Simulated, std::future::pending(), ready))
        .unwrap();
}

fn serve_to_be_killed(config: &Path) -> Process {
    let arguments = ["the_broker_that_is_killed", "--exact", "--nocapture"];
    let mut command = Command::new(std::env::current_exe().unwrap());
    Process::of(command.args(arguments).env(PLACE, config).stderr(Stdio::null()))
}

/// A store with keys to ask for, whose broker does not run, and which has two fences.
struct Place {
    broker: Broker,
    fences: [PathBuf; 2],
    told: Vec<Told>,
}

impl Place {
    fn new() -> Self {
        let mut broker = Broker::simulated();
        load::prepare(&broker);
        broker.stop();
        let second = broker.dir.path().join("elsewhere.head");
        broker.config.fences = vec![FenceConfig::File { path: second.clone() }];
        // One peer stands for many here.
        let limits = &mut broker.config.limits;
        (limits.auth_per_s, limits.attest_per_s) = (100_000, 100_000);
        (limits.release_per_s, limits.admin_per_s) = (100_000, 100_000);
        hanzo_kbs::accept_head(&broker.config, broker.mode).unwrap();
        let text = toml::to_string(&broker.config).unwrap();
        fs::write(&broker.made.config_path, text).unwrap();
        Self {
            fences: [broker.config.head_file.clone(), second],
            broker,
            told: Vec::new(),
        }
    }

    fn load(&self, address: SocketAddr) -> Load {
        Load {
            address,
            identity: self.broker.made.identity.clone(),
            admin_key: self.broker.made.admin_key_path.clone(),
            outage: Outage::Killed,
        }
    }

    /// The number of the decision that each fence holds.
    fn remembered(&self) -> [u64; 2] {
        self.fences.each_ref().map(|path| load::fenced(path).0)
    }

    /// Opens the store as a broker does: pages, chain, tables and fences have to fit each other.
    fn replay(&self) -> Chain {
        let mut lines = Vec::new();
        check(&self.broker.config, self.broker.mode, |line| {
            lines.push(serde_json::from_str(line).unwrap());
        })
        .unwrap();
        Chain::new(&lines)
    }
}

/// xorshift64: the moments of a run follow from one number.
struct Moments(u64);

impl Moments {
    fn new() -> Self {
        let seed = std::env::var("HANZO_CRASH_SEED").ok().map(|s| s.parse().unwrap());
        let seed = seed.unwrap_or_else(|| {
            let now = std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)
                .unwrap();
            now.as_nanos() as u64 | 1
        });
        eprintln!("HANZO_CRASH_SEED={seed}");
        Self(seed)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

#[test]
fn what_a_killed_broker_acknowledged_is_there_counted_and_on_the_record() {
    let rounds: u64 = std::env::var("HANZO_CRASH_ROUNDS").map_or(6, |n| n.parse().unwrap());
    let mut moments = Moments::new();
    let start = Instant::now();
    let (mut acknowledged, mut grants, mut decisions, mut ahead) = (0, 0, 0, 0);
    let mut place = Place::new();
    let mut chain: Option<Chain> = None;
    for round in 0..rounds {
        if round > 0 && round.is_multiple_of(ROUNDS_OF_ONE_STORE) {
            decisions += place.replay().newest;
            (place, chain) = (Place::new(), None);
        }
        let mut served = serve_to_be_killed(&place.broker.made.config_path);
        let load = place.load(served.address);
        if let Some(chain) = &chain {
            chain.must_be_counted(&load);
        }
        let count = AtomicU64::new(0);
        // Some die before the first answer, some in the middle of many.
        let (least, wait) = (moments.below(12), Duration::from_micros(moments.below(60_000)));
        let heard = std::thread::scope(|scope| {
            let clients = scope.spawn(|| load.run(round, &AtomicBool::new(false), &count));
            let until = Instant::now() + Duration::from_secs(20);
            while count.load(Ordering::SeqCst) < least && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(1));
            }
            std::thread::sleep(wait);
            served.kill();
            clients.join().unwrap()
        });
        let fences = place.remembered();
        place.told.extend(heard.told.iter().cloned());
        let replayed = place.replay();
        replayed.must_hold(&place.told, &fences);
        ahead += u64::from(fences.iter().any(|fence| *fence < replayed.newest));
        acknowledged += heard.told.len();
        grants += heard.count("grant");
        chain = Some(replayed);
    }
    decisions += place.replay().newest;
    eprintln!(
        "{rounds} kills in {:.1} s: {acknowledged} acknowledged ({grants} grants), {decisions} decisions kept, {ahead} times killed between commit and fence",
        start.elapsed().as_secs_f64()
    );
    assert!(acknowledged as u64 > rounds, "the clients worked: {acknowledged}");
}

/// The commit is on the disk, the fence is not: the one moment in which store and fences differ.
#[test]
fn killed_between_commit_and_fence_a_decision_is_kept_and_no_reply_has_left() {
    const KEY: &str = "hanzo/dek/once";
    let mut place = Place::new();
    place.broker.restart().unwrap();
    let mut once = policy();
    once.max_uses = 1;
    place.broker.put(KEY, 1, &once).unwrap();
    place.broker.stop();
    let before = place.remembered();
    let mut served = serve_to_be_killed(&place.broker.made.config_path);
    let guest = Guest::new().attested(served.address);
    // It replaces such a file whole, and opening a pipe that nobody reads waits: the broker stands between its commit and the
    // second fence.
    load::of_earlier_version(&place.fences[1]);
    let pipe = place.fences[1].with_extension("tmp");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let (address, path) = (served.address, resource_path(&KeyId::new(KEY).unwrap()));
    let asking = std::thread::spawn(move || try_http(address, "GET", &path, &guest.cookie, b""));
    let until = Instant::now() + Duration::from_secs(20);
    while place.remembered()[0] == before[0] {
        assert!(Instant::now() < until, "the first fence was never written");
        std::thread::sleep(Duration::from_millis(2));
    }
    std::thread::sleep(Duration::from_millis(50));
    assert!(!asking.is_finished(), "nothing leaves before the last fence");
    served.kill();
    assert!(asking.join().unwrap().is_err(), "no whole reply left");
    fs::remove_file(&pipe).unwrap();
    let [first, second] = place.remembered();
    assert!(first == before[0] + 1 && second == before[1], "{first} {second}");

    // No rollback: the use is counted, the fence that was behind is brought up to date, and nobody gets a second one.
    let chain = place.replay();
    assert_eq!((chain.newest, chain.grants(KEY)), (first, 1));
    assert_eq!(place.remembered(), [first, first]);
    let served = serve_to_be_killed(&place.broker.made.config_path);
    let late = Guest::new().attested(served.address);
    assert_eq!(late.ask(served.address, KEY).error(), (403, "kbs.key.used_up".into()));
}
