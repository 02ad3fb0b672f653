//! A software TPM of its own: swtpm, driven by tpm2-tools, both packaged by Debian.
#![allow(dead_code, reason = "each test file uses a part")]

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// On two neighbouring loopback ports, ended when dropped.
pub struct Swtpm {
    child: Child,
    pub tcti: String,
}

impl Drop for Swtpm {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Swtpm {
    /// None, said loudly, where the programs are not installed.
    pub fn start(state: &Path) -> Option<Self> {
        let present = |program: &str| Command::new(program).arg("--version").output().is_ok();
        if !present("swtpm") || !present("tpm2_nvread") {
            let _ = writeln!(
                std::io::stderr(),
                "NOT TESTED: swtpm or tpm2-tools is absent: nothing about TPMs is run (apt-get install swtpm swtpm-tools tpm2-tools)"
            );
            return None;
        }
        fs::create_dir_all(state).unwrap();
        let neighbours = || {
            let port = TcpListener::bind("127.0.0.1:0").ok()?.local_addr().ok()?.port();
            let next = TcpListener::bind(("127.0.0.1", port.checked_add(1)?));
            next.ok().map(|_| port)
        };
        let port = (0..200).find_map(|_| neighbours()).unwrap();
        let flags = [
            "socket",
            "--tpm2",
            "--flags",
            "not-need-init,startup-clear",
            "--tpmstate",
        ];
        let child = Command::new("swtpm")
            .args(flags)
            .arg(format!("dir={}", state.display()))
            .args(["--server", &format!("type=tcp,port={port}")])
            .args(["--ctrl", &format!("type=tcp,port={}", port + 1)])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let tcti = format!("swtpm:host=127.0.0.1,port={port}");
        let this = Self { child, tcti };
        let start = Instant::now();
        while !this.tool("tpm2_getrandom", &["--hex", "4"]) {
            assert!(start.elapsed() < Duration::from_secs(10), "swtpm does not answer");
            std::thread::sleep(Duration::from_millis(50));
        }
        Some(this)
    }

    /// Whether a program of tpm2-tools succeeds.
    pub fn tool(&self, program: &str, arguments: &[&str]) -> bool {
        self.output(program, arguments).is_some()
    }

    /// What it prints, if it succeeds.
    pub fn output(&self, program: &str, arguments: &[&str]) -> Option<Vec<u8>> {
        let run = Command::new(program).args(["-T", &self.tcti]).args(arguments).output();
        let output = run.unwrap();
        output.status.success().then_some(output.stdout)
    }
}
