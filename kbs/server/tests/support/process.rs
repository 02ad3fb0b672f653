//! A broker as a process of its own.
#![allow(dead_code, reason = "each test file uses a part")]

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Killed, not asked, when dropped.
pub struct Process {
    pub child: Child,
    pub address: SocketAddr,
}

impl Process {
    /// `hanzo-kbs serve`.
    pub fn serve(config: &Path) -> Self {
        Self::of(
            Command::new(env!("CARGO_BIN_EXE_hanzo-kbs"))
                .args(["serve", "--config"])
                .arg(config)
                .env("HANZO_LOG", "off"),
        )
    }

    /// Starts a program and waits until it says where it listens, as `hanzo-kbs serve` does.
    pub fn of(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut said = Vec::new();
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            if let Some(address) = listening(&line) {
                return Self { child, address };
            }
            said.push(line);
        }
        panic!("not ready: {said:?}");
    }

    pub fn kill(&mut self) {
        // SIGKILL: no handler runs, nothing is flushed.
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The address in a line that tells one.
pub fn listening(line: &str) -> Option<SocketAddr> {
    let line: serde_json::Value = serde_json::from_str(line).ok()?;
    line["listening"].as_str()?.parse().ok()
}
