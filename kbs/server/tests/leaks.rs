//! No key is where it should not be: database, write-ahead log, head, backup, log output, core dump.

#[path = "support/harness.rs"]
mod harness;

use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use hanzo_attestation::name::KeyId;
use hanzo_kbs::{KbsConfig, StoreMode, admin};
use hanzo_pqc::{Dek, aead};
use hanzo_root::Surroundings;
use hanzo_vault::{Root, RootPurpose};
use harness::{Broker, policy};

const BIN: &str = env!("CARGO_BIN_EXE_hanzo-kbs");

struct Served {
    child: Child,
    address: SocketAddr,
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn serve(config: &Path, log: &Path) -> Served {
    let out = log.with_extension("out");
    let child = Command::new(BIN)
        .args(["serve", "--config", config.to_str().unwrap()])
        .env("HANZO_LOG", "trace")
        .stdout(File::create(&out).unwrap())
        .stderr(File::create(log).unwrap())
        .spawn()
        .unwrap();
    let start = Instant::now();
    loop {
        let said = fs::read_to_string(&out).unwrap();
        let ready = said
            .lines()
            .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
            .find_map(|line| line["listening"].as_str().map(|a| a.parse().unwrap()));
        if let Some(address) = ready {
            return Served { child, address };
        }
        assert!(start.elapsed() < Duration::from_secs(20), "not ready: {said}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// All forms in which a key could stand in a file.
fn forms(key: &[u8]) -> Vec<Vec<u8>> {
    let mut forms = vec![key.to_vec(), hex::encode(key).into(), hex::encode_upper(key).into()];
    for skipped in 0..3 {
        // The inner part of base64 text, wherever the key starts within a group of three bytes.
        let text = STANDARD_NO_PAD.encode([&vec![0; skipped], key].concat());
        forms.push(text.as_bytes()[4..text.len() - 4].to_vec());
    }
    forms.push(STANDARD.encode(key).into());
    forms.push(URL_SAFE_NO_PAD.encode(key).into());
    forms
}

fn holds(bytes: &[u8], key: &[u8]) -> bool {
    forms(key)
        .iter()
        .any(|form| bytes.windows(form.len()).any(|w| w == form))
}

fn files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files(&path, found),
            false => found.push(path),
        }
    }
}

fn frame(parts: &[&[u8]]) -> Vec<u8> {
    parts
        .iter()
        .flat_map(|p| [&(p.len() as u32).to_be_bytes(), *p].concat())
        .collect()
}

/// The KEKs that the store holds, opened by hand as SPEC.md of hanzo-vault says.
fn keks(config: &KbsConfig, root: &Root) -> Vec<Vec<u8>> {
    let key = hex::encode(root.derive(RootPurpose::Store).unwrap().expose());
    let connection = hanzo_store::rusqlite::Connection::open(&config.store).unwrap();
    connection
        .execute_batch(&format!("PRAGMA key = \"x'{key}'\";"))
        .unwrap();
    let mut statement = connection
        .prepare("SELECT tenant, kek_version, wrapped FROM keks WHERE state = 'live'")
        .unwrap();
    let rows = statement
        .query_map([], |row| {
            Ok((
                row.get::<_, String>(0)?,
                row.get::<_, i64>(1)?,
                row.get::<_, Vec<u8>>(2)?,
            ))
        })
        .unwrap();
    let wrap = root.derive(RootPurpose::KekWrap).unwrap();
    rows.map(|row| {
        let (tenant, version, wrapped) = row.unwrap();
        let aad = frame(&[b"hanzo/kek-wrap/v1", tenant.as_bytes(), &(version as u64).to_be_bytes()]);
        let mut kek = wrapped[13..].to_vec();
        aead::open_in_place(wrap.expose(), wrapped[1..13].try_into().unwrap(), &aad, &mut kek).unwrap();
        assert_eq!(kek.len(), 32);
        kek
    })
    .collect()
}

#[test]
fn no_key_stands_in_database_log_backup_or_output() {
    let mut broker = Broker::start(StoreMode::Production, false, |_| {});
    broker.stop();
    let config_path = broker.made.config_path.clone();
    let mut real = policy();
    real.allow_simulated = false;
    let log = broker.dir.path().join("serve.log");
    let mut served = serve(&config_path, &log);
    let mut secrets = Vec::new();
    for n in 0..5 {
        let key = KeyId::new(&format!("hanzo/dek/k{n}")).unwrap();
        let (dek, owner) = (Dek::generate().unwrap(), broker.admin());
        let put = admin::put_key(served.address, &broker.made.identity, &owner, &key, 1, &dek, &real);
        harness::block_on(put).unwrap();
        secrets.push(dek.expose().to_vec());
    }
    let search = |dir: &Path, secrets: &[Vec<u8>]| {
        let mut all = Vec::new();
        files(dir, &mut all);
        let mut seen = Vec::new();
        for path in &all {
            let name = path.file_name().unwrap().to_str().unwrap();
            let bytes = fs::read(path).unwrap();
            // Found where it belongs: the search does find keys.
            if name == "kbs.key" {
                assert!(holds(&bytes, &secrets[0]));
                continue;
            }
            for (n, secret) in secrets.iter().enumerate() {
                assert!(!holds(&bytes, secret), "secret {n} stands in {}", path.display());
            }
            seen.push(name.to_owned());
        }
        seen
    };
    // While it runs: the write-ahead log is there.
    let root = broker.config.root.provider(&Surroundings::default()).load().unwrap();
    secrets.insert(0, root.expose().to_vec());
    for purpose in RootPurpose::ALL {
        if purpose != RootPurpose::Commitment {
            secrets.push(root.derive(purpose).unwrap().expose().to_vec());
        }
    }
    let seen = search(broker.dir.path(), &secrets);
    for name in ["kbs.db", "kbs.db-wal", "kbs.head", "serve.log", "serve.out"] {
        assert!(seen.contains(&name.to_owned()), "{name} of {seen:?}");
    }

    // A core dump attempt: killed by a signal that dumps, and no core is left.
    let limits = fs::read_to_string(format!("/proc/{}/limits", served.child.id())).unwrap();
    let core = limits.lines().find(|l| l.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().collect::<Vec<_>>()[4..6], ["0", "0"], "{core}");
    let pid = rustix::process::Pid::from_child(&served.child);
    rustix::process::kill_process(pid, rustix::process::Signal::ABORT).unwrap();
    let status = served.child.wait().unwrap();
    assert!(status.signal().is_some() && !status.core_dumped(), "{status:?}");

    // At rest, and after a rotation; a copy of the file is a backup.
    secrets.extend(keks(&broker.config, &root));
    let rotated = Command::new(BIN)
        .args([
            "rotate-kek",
            "--config",
            config_path.to_str().unwrap(),
            "--all",
            "--json",
        ])
        .output()
        .unwrap();
    assert!(rotated.status.success(), "{rotated:?}");
    fs::write(
        broker.dir.path().join("rotate.out"),
        [rotated.stdout, rotated.stderr].concat(),
    )
    .unwrap();
    secrets.extend(keks(&broker.config, &root));
    fs::copy(&broker.config.store, broker.dir.path().join("backup.db")).unwrap();
    let seen = search(broker.dir.path(), &secrets);
    assert!(seen.contains(&"backup.db".to_owned()));
    assert_eq!(secrets.len(), 1 + 5 + 5 + 2);
}

#[test]
fn a_broker_cannot_be_dumped() {
    use rustix::process::{DumpableBehavior, Resource, dumpable_behavior, getrlimit};
    hanzo_kbs::harden_process().unwrap();
    assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
    let core = getrlimit(Resource::Core);
    assert_eq!((core.current, core.maximum), (Some(0), Some(0)));
}
