//! The root sealed by a TPM: swtpm, driven by tpm2-tools, both packaged by Debian.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hanzo_root::{RootConfig, RootError, Surroundings};

fn code<T>(outcome: Result<T, RootError>) -> &'static str {
    match outcome {
        Ok(_) => "ok",
        Err(e) => e.code(),
    }
}

/// A software TPM on two neighbouring loopback ports, ended when dropped.
struct Swtpm {
    child: Child,
    tcti: String,
}

impl Drop for Swtpm {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Swtpm {
    fn start(state: &Path) -> Self {
        fs::create_dir_all(state).unwrap();
        let port = (0..200)
            .find_map(|_| {
                let port = TcpListener::bind("127.0.0.1:0").ok()?.local_addr().ok()?.port();
                let next = port.checked_add(1)?;
                TcpListener::bind(("127.0.0.1", next)).ok().map(|_| port)
            })
            .unwrap();
        let child = Command::new("swtpm")
            .args([
                "socket",
                "--tpm2",
                "--flags",
                "not-need-init,startup-clear",
                "--tpmstate",
            ])
            .arg(format!("dir={}", state.display()))
            .args(["--server", &format!("type=tcp,port={port}")])
            .args(["--ctrl", &format!("type=tcp,port={}", port + 1)])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let this = Self {
            child,
            tcti: format!("swtpm:host=127.0.0.1,port={port}"),
        };
        let start = Instant::now();
        while !this.tool("tpm2_getrandom", &["--hex", "4"]) {
            assert!(start.elapsed() < Duration::from_secs(10), "swtpm does not answer");
            std::thread::sleep(Duration::from_millis(50));
        }
        this
    }

    fn tool(&self, program: &str, arguments: &[&str]) -> bool {
        let output = Command::new(program)
            .args(["-T", &self.tcti])
            .args(arguments)
            .output()
            .unwrap();
        output.status.success()
    }
}

#[test]
fn a_tpm_hands_the_root_out_in_the_state_that_sealed_it_alone() {
    let present = |program: &str| Command::new(program).arg("--version").output().is_ok();
    if !present("swtpm") || !present("tpm2_unseal") {
        eprintln!("NOT TESTED: swtpm or tpm2-tools is absent: install both to test roots sealed by a TPM");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let tpm = Swtpm::start(&dir.path().join("tpm"));
    let config = |tpm: &Swtpm, pcrs: &[u8]| RootConfig::Tpm {
        path: dir.path().join("root.json"),
        tcti: tpm.tcti.clone(),
        pcrs: pcrs.to_vec(),
    };
    let load = |tpm: &Swtpm, pcrs: &[u8]| config(tpm, pcrs).provider(&Surroundings::default()).load();
    let right = config(&tpm, &[0, 16]);
    let root = right.provider(&Surroundings::default()).create().unwrap();
    for _ in 0..2 {
        assert_eq!(load(&tpm, &[0, 16]).unwrap().expose(), root.expose());
    }
    assert_eq!(code(right.provider(&Surroundings::default()).create()), "root.exists");
    assert_eq!(code(load(&tpm, &[0])), "root.range", "other registers than the blob's");
    for bad in [&[][..], &[16, 0], &[0, 0], &[24]] {
        assert_eq!(code(load(&tpm, bad)), "root.range");
    }

    // Another state of the machine; 16 is the debug register, which alone can be reset.
    let digest = "sha256=".to_owned() + &"ab".repeat(32);
    assert!(tpm.tool("tpm2_pcrextend", &[&format!("16:{digest}")]));
    assert_eq!(code(load(&tpm, &[0, 16])), "root.tpm.policy");
    assert!(tpm.tool("tpm2_pcrreset", &["16"]));
    assert_eq!(code(load(&tpm, &[0, 16])), "ok");

    // An altered blob, another TPM, none at all.
    let path = dir.path().join("root.json");
    let text = fs::read_to_string(&path).unwrap();
    for (member, expected) in [("private", "root.tpm"), ("commitment", "root.commitment")] {
        let value = text
            .split_once(&format!("\"{member}\":\""))
            .unwrap()
            .1
            .split('"')
            .next()
            .unwrap();
        let last = if value.ends_with('0') { "1" } else { "0" };
        fs::write(
            &path,
            text.replace(value, &format!("{}{last}", &value[..value.len() - 1])),
        )
        .unwrap();
        assert_eq!(code(load(&tpm, &[0, 16])), expected, "{member}");
    }
    fs::write(&path, &text).unwrap();
    let other = Swtpm::start(&dir.path().join("other"));
    assert_eq!(code(load(&other, &[0, 16])), "root.tpm");
    let none = RootConfig::Tpm {
        path,
        tcti: "device:/nonexistent/tpm".into(),
        pcrs: vec![0, 16],
    };
    assert_eq!(code(none.provider(&Surroundings::default()).load()), "root.tpm");
}
