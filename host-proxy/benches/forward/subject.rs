//! A proxy under test: its process, what the kernel says it used, and who it is.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

pub struct Subject {
    command: Vec<String>,
    child: Option<Child>,
    pub at: SocketAddr,
}

/// Cores that this process may use, in order.
fn cores() -> Vec<usize> {
    let set = sched_getaffinity(None).expect("affinity");
    (0..CpuSet::MAX_CPU).filter(|&n| set.is_set(n)).collect()
}

/// Leaves the first core to the proxies.
pub fn pin_self() {
    let cores = cores();
    assert!(
        cores.len() > 1,
        "two cores are needed: one for the proxy, one for the load"
    );
    let mut set = CpuSet::new();
    for &core in &cores[1..] {
        set.set(core);
    }
    sched_setaffinity(None, &set).expect("affinity");
}

fn first_core() -> String {
    // `pin_self` took it away from this process.
    cores().first().map_or(0, |n| n.saturating_sub(1)).to_string()
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("bound")
}

impl Subject {
    pub fn hanzo(dir: &Path, backend: SocketAddr) -> Self {
        let at = free_address();
        let file = dir.join("proxy.toml");
        let text = format!(
            "version = 1\nworkers = 1\n[limits]\nconnections_max = 60000\nconnections_per_s = 1000000\n\
             client_connections_max = 60000\nclient_connections_per_s = 1000000\n\
             [[listen]]\naddress = \"{at}\"\npool = \"p\"\n[pool.p]\nguests = [\"{backend}\"]\nguest_connections_max = 60000\n"
        );
        fs::write(&file, text).expect("written");
        Self::new(&[env!("CARGO_BIN_EXE_hanzo-proxy"), "run", "--config"], &file, at)
    }

    pub fn haproxy(dir: &Path, backend: SocketAddr) -> Option<Self> {
        let program = ["/usr/sbin/haproxy", "/usr/local/sbin/haproxy"]
            .into_iter()
            .find(|p| Path::new(p).exists())?;
        let at = free_address();
        let file = dir.join("haproxy.cfg");
        let text = format!(
            "global\n  maxconn 7000\n  nbthread 1\ndefaults\n  mode tcp\n  option splice-auto\n  timeout connect 5s\n  \
             timeout client 1h\n  timeout server 1h\nfrontend f\n  bind {at}\n  default_backend b\nbackend b\n  \
             server s {backend} check inter 2s\n"
        );
        fs::write(&file, text).expect("written");
        Some(Self::new(&[program, "-db", "-f"], &file, at))
    }

    fn new(command: &[&str], file: &Path, at: SocketAddr) -> Self {
        let core = first_core();
        let mut all: Vec<String> = ["taskset", "-c", &core].map(str::to_owned).to_vec();
        all.extend(command.iter().map(|&w| w.to_owned()));
        all.push(PathBuf::from(file).display().to_string());
        Self {
            command: all,
            child: None,
            at,
        }
    }

    pub fn start(&mut self) {
        self.stop();
        let mut command = Command::new(&self.command[0]);
        command
            .args(&self.command[1..])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        self.child = Some(command.spawn().expect("taskset and the proxy start"));
        let started = Instant::now();
        while TcpStream::connect(self.at).is_err() {
            assert!(
                started.elapsed() < Duration::from_secs(10),
                "{:?} does not listen",
                self.command
            );
            sleep(Duration::from_millis(20));
        }
        sleep(Duration::from_millis(100));
    }

    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("killed");
            child.wait().expect("gone");
        }
    }

    /// What it takes until something is done.
    pub fn timed(&self, what: impl FnOnce()) -> Taken {
        let own = std::process::id();
        let (cpu, load_cpu, wall) = (cpu_s(self.pid()), cpu_s(own), Instant::now());
        what();
        Taken {
            wall_s: wall.elapsed().as_secs_f64(),
            cpu_s: cpu_s(self.pid()) - cpu,
            load_cpu_s: cpu_s(own) - load_cpu,
        }
    }
    pub fn resident_bytes(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("status");
        let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).expect("VmRSS");
        let kib: f64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
        kib * 1024.0
    }

    fn pid(&self) -> u32 {
        // taskset replaces itself by the proxy.
        self.child.as_ref().expect("started").id()
    }
}

/// Seconds, wall clock and as the scheduler counts them.
pub struct Taken {
    pub wall_s: f64,
    /// The proxy's.
    pub cpu_s: f64,
    /// Of load and backend.
    pub load_cpu_s: f64,
}

/// Of all threads of a process.
fn cpu_s(pid: u32) -> f64 {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("tasks");
    let ns = tasks.filter_map(|task| {
        let text = fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<f64>().ok()
    });
    ns.sum::<f64>() / 1e9
}

impl Drop for Subject {
    fn drop(&mut self) {
        self.stop();
    }
}
