//! The proxy under test: its configuration, its processes, its memory.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Where clients come in.
#[derive(Clone, Copy)]
pub struct Doors {
    pub plain: SocketAddr,
    pub named: SocketAddr,
    /// For peers in 127.0.4.0/24, which must send a PROXY header.
    pub balanced: SocketAddr,
}

pub fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("bound")
}

pub struct Proxy {
    child: Child,
}

pub struct Files {
    dir: PathBuf,
    pub doors: Doors,
    guests: [SocketAddr; 2],
    connections_max: usize,
}

impl Files {
    pub fn new(dir: &Path, guests: [SocketAddr; 2], connections_max: usize) -> Self {
        let doors = Doors {
            plain: free_address(),
            named: free_address(),
            balanced: free_address(),
        };
        Self {
            dir: dir.to_owned(),
            doors,
            guests,
            connections_max,
        }
    }

    pub fn config(&self) -> PathBuf {
        self.dir.join("proxy.toml")
    }

    pub fn metrics(&self) -> PathBuf {
        self.dir.join("m.sock")
    }

    /// `variant` changes what a reload may change.
    pub fn write(&self, variant: u32) {
        let (dir, [a, b], max) = (self.dir.display(), self.guests, self.connections_max);
        let Doors { plain, named, balanced } = self.doors;
        let first_bytes = 3 + variant;
        let text = format!(
            "version = 1\nworkers = 2\ndrain_s = 7200\nmetrics = \"unix:{dir}/m.sock\"\nhandover = \"{dir}/h.sock\"\n\
             [limits]\nconnections_max = {max}\nconnections_per_s = 20000\nclient_connections_max = 256\n\
             client_connections_per_s = 200\nfirst_bytes_s = {first_bytes}\nstall_s = 5\nhalf_closed_s = 5\n\
             [[listen]]\naddress = \"{plain}\"\npool = \"p\"\n\
             [[listen]]\naddress = \"{named}\"\nserver_names = {{ \"good.example\" = \"p\" }}\n\
             [[listen]]\naddress = \"{balanced}\"\npool = \"p\"\nproxy_header_from = [\"127.0.4.0/24\"]\n\
             [pool.p]\nguests = [\"{a}\", \"{b}\"]\nguest_connections_max = {max}\ndeadline_s = 5\n\
             health = {{ interval_s = 0.5, timeout_s = 2, fall = 3, rise = 1 }}\n"
        );
        std::fs::write(self.config(), text).expect("written");
    }

    pub fn start(&self) -> Proxy {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hanzo-proxy"));
        command.arg("run").arg("--config").arg(self.config());
        let child = command.stdin(Stdio::null()).stdout(Stdio::null());
        let proxy = Proxy {
            child: child.spawn().expect("the proxy starts"),
        };
        let limit = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(self.doors.balanced).is_err() {
            assert!(Instant::now() < limit, "the proxy does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        proxy
    }
}

impl Proxy {
    pub fn hang_up(&self) {
        self.signal(rustix::process::Signal::HUP);
    }

    /// Ends it and says whether it ended well.
    pub fn stop(mut self) -> bool {
        self.signal(rustix::process::Signal::TERM);
        let limit = Instant::now() + Duration::from_secs(20);
        while Instant::now() < limit {
            if let Ok(Some(status)) = self.child.try_wait() {
                return status.success();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        false
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("signalled");
    }

    pub fn resident_kib(&self) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("status");
        let line = text.lines().find_map(|l| l.strip_prefix("VmRSS:")).expect("VmRSS");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
