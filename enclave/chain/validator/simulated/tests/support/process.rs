//! Validators as processes, and what they answer.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use hanzo_chain_rpc::calls::{Call, Status, StatusView};
use hanzo_chain_rpc::client::{PATH, answer, request};

/// What anything may take on a slow machine.
const LIMIT: Duration = Duration::from_secs(180);
/// Shows a process another time.
const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";

pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(begun.elapsed() < LIMIT, "never: {what}");
        thread::sleep(Duration::from_millis(50));
    }
}

pub struct Process {
    pub dir: PathBuf,
    child: Option<Child>,
    /// What libfaketime makes of its clock.
    clock: Option<&'static str>,
}

impl Process {
    pub fn new(dir: PathBuf) -> Self {
        let (child, clock) = (None, None);
        Self { dir, child, clock }
    }

    /// It sees a wall clock that is so much off, from its next start on; where that cannot be done, stderr says so.
    pub fn set_clock(&mut self, off: &'static str) {
        match Path::new(FAKETIME).is_file() {
            true => self.clock = Some(off),
            false => eprintln!("NO CLOCK IS WRONG: {FAKETIME} is not there (Debian: libfaketime)"),
        }
    }

    pub fn start(&mut self) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hanzo-validator-simulated"));
        command.arg("--dir").arg(&self.dir).stdin(Stdio::null());
        if let Some(off) = self.clock {
            let fake = [
                ("LD_PRELOAD", FAKETIME),
                ("FAKETIME", off),
                ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
            ];
            command.envs(fake);
        }
        self.start_as(command);
    }

    /// Another program in this folder.
    pub fn start_as(&mut self, mut command: Command) {
        let _ = fs::remove_file(self.dir.join("ready.json"));
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.dir.join("log"))
            .unwrap();
        self.child = Some(command.stdout(Stdio::null()).stderr(log).spawn().unwrap());
    }

    /// What `ready.json` says, once it is there.
    pub fn ready(&self, member: &str) -> String {
        let path = self.dir.join("ready.json");
        let text = until("ready.json", || fs::read_to_string(&path).ok());
        let all: serde_json::Value = serde_json::from_str(&text).unwrap();
        all[member].as_str().unwrap().to_owned()
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// A signal, by its name without SIG.
    pub fn signal(&self, name: &str) {
        let id = self.child.as_ref().unwrap().id().to_string();
        assert!(
            Command::new("kill")
                .arg(format!("-{name}"))
                .arg(id)
                .status()
                .unwrap()
                .success()
        );
    }

    /// SIGTERM; its exit code.
    pub fn stop(&mut self) -> Option<i32> {
        let mut child = self.child.take()?;
        let killed = Command::new("kill")
            .arg("-TERM")
            .arg(child.id().to_string())
            .status()
            .unwrap();
        assert!(killed.success());
        child.wait().unwrap().code()
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    pub fn call<C: Call>(&self, call: &C) -> Option<C::Answer> {
        let body = self.asked(call)?;
        match answer::<C>(1, &body) {
            Ok(answer) => Some(answer),
            Err(error) => panic!("{}: {error}: {}", C::METHOD, String::from_utf8_lossy(&body)),
        }
    }

    /// The body of an answer that is a refusal.
    pub fn refusal<C: Call>(&self, call: &C) -> String {
        let body = until("an answer", || self.asked(call));
        assert!(answer::<C>(1, &body).is_err(), "{} was answered", C::METHOD);
        String::from_utf8(body).unwrap()
    }

    fn asked<C: Call>(&self, call: &C) -> Option<Vec<u8>> {
        let at = self.ready("rpc");
        let body = request(1, call);
        let mut stream = TcpStream::connect(&at).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
        let head = format!(
            "POST {PATH} HTTP/1.1\r\nhost: {at}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            body.len()
        );
        stream.write_all(&[head.as_bytes(), &body].concat()).ok()?;
        let mut all = Vec::new();
        stream.read_to_end(&mut all).ok()?;
        let at = all.windows(4).position(|w| w == b"\r\n\r\n")?;
        Some(all[at + 4..].to_vec())
    }

    pub fn status(&self) -> StatusView {
        until("a status", || self.call(&Status {}))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
            if thread::panicking() {
                let log = self.log();
                let tail: Vec<_> = log.lines().rev().take(40).collect();
                eprintln!("--- {}", self.dir.display());
                tail.iter().rev().for_each(|line| eprintln!("{line}"));
            }
        }
    }
}

pub fn write(path: &Path, bytes: &[u8]) {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .unwrap();
    file.write_all(bytes).unwrap();
}
