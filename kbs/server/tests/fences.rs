//! Rollback: an older store put back together with its head file, and what further places notice.

#[path = "support/harness.rs"]
mod harness;

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hanzo_kbs::{FenceConfig, StoreMode, accept_head, export_audit};
use hanzo_log::LogKey;
use hanzo_log::audit::{AuditVerifier, Audited};
use harness::{Broker, Guest, policy};

const KEY: &str = "hanzo/dek/m";

/// A key that is released once, and its only use.
fn use_once(broker: &mut Broker) -> (Vec<u8>, Vec<u8>) {
    let mut once = policy();
    once.max_uses = 1;
    broker.restart().unwrap();
    broker.put(KEY, 1, &once).unwrap();
    broker.stop();
    let older = fs::read(&broker.config.store).unwrap();
    let older_head = fs::read(&broker.config.head_file).unwrap();
    broker.restart().unwrap();
    let guest = Guest::new().attested(broker.address);
    assert_eq!(guest.ask(broker.address, KEY).status, 200);
    broker.stop();
    (older, older_head)
}

fn code(broker: &mut Broker) -> Result<(), &'static str> {
    broker.restart().map_err(|e| e.code())
}

fn export(broker: &Broker, name: &str) -> Audited {
    let folder = broker.dir.path().join(name);
    let exported = export_audit(&broker.config, broker.mode, &folder, |_, _| {}).unwrap();
    let log = LogKey::from_document(&broker.made.identity.canonical().unwrap())
        .unwrap()
        .verifier()
        .unwrap();
    let mut verifier = AuditVerifier::new(&log, None);
    for line in fs::read_to_string(folder.join("log.jsonl")).unwrap().lines() {
        verifier.record(line.as_bytes()).unwrap();
    }
    let audited = verifier.finish().unwrap();
    assert_eq!(audited.head.size(), exported.entries);
    audited
}

#[test]
fn an_older_store_with_its_own_head_file_is_noticed_by_the_second_place_alone() {
    let mut broker = Broker::start(StoreMode::Simulated, true, |_| {});
    broker.stop();
    let second = broker.dir.path().join("elsewhere.head");
    broker.config.fences = vec![FenceConfig::File { path: second.clone() }];
    let (older, older_head) = use_once(&mut broker);
    let newest = fs::read(&broker.config.store).unwrap();
    let newest_head = fs::read(&broker.config.head_file).unwrap();
    let before = export(&broker, "before");

    fs::write(&broker.config.store, &older).unwrap();
    fs::write(&broker.config.head_file, &older_head).unwrap();
    assert_eq!(code(&mut broker), Err("store.rolled_back"));
    let fences = std::mem::take(&mut broker.config.fences);
    // Without the second place nobody would know: this is what it is for.
    assert_eq!(code(&mut broker), Ok(()));
    broker.stop();
    broker.config.fences = fences;
    assert_eq!(code(&mut broker), Err("store.rolled_back"));

    // The newest store again; one place behind (a crash between two writes) is no rollback.
    fs::write(&broker.config.store, &newest).unwrap();
    fs::write(&broker.config.head_file, &older_head).unwrap();
    assert_eq!(code(&mut broker), Ok(()));
    broker.stop();
    assert_eq!(fs::read(&broker.config.head_file).unwrap(), newest_head);

    // A place that is lost, or holds something else, stops the broker until its operator accepts that, on the record.
    fs::remove_file(&second).unwrap();
    assert_eq!(code(&mut broker), Err("kbs.file"));
    fs::write(&second, b"hanzo-kbs-head v1 007 00\n").unwrap();
    assert_eq!(code(&mut broker), Err("kbs.file"));
    fs::write(&broker.config.store, &older).unwrap();
    fs::write(&second, &newest_head).unwrap();
    accept_head(&broker.config, broker.mode).unwrap();
    assert_eq!(code(&mut broker), Ok(()));
    let lines = broker.audit();
    let last = lines.last().unwrap();
    assert_eq!(last["action"], "accept-head");
    let about = last["about"].as_str().unwrap();
    assert!(
        about.contains("elsewhere.head: 3") && about.ends_with("store: 2"),
        "{about}"
    );

    // The broker runs on; an auditor who kept a head sees what happened.
    export(&broker, "after");
    let log = LogKey::from_document(&broker.made.identity.canonical().unwrap())
        .unwrap()
        .verifier()
        .unwrap();
    let mut verifier = AuditVerifier::new(&log, Some(before.head));
    let text = fs::read_to_string(broker.dir.path().join("after/log.jsonl")).unwrap();
    let verdict = text.lines().try_for_each(|l| verifier.record(l.as_bytes()).map(drop));
    let verdict = verdict.and_then(|()| verifier.finish().map(drop));
    assert_eq!(verdict.unwrap_err().exit_code(), 30);
}

#[test]
fn nothing_leaves_while_a_place_cannot_be_written() {
    let mut broker = Broker::start(StoreMode::Simulated, true, |_| {});
    broker.stop();
    let folder = broker.dir.path().join("mount");
    fs::create_dir(&folder).unwrap();
    broker.config.fences = vec![FenceConfig::File {
        path: folder.join("kbs.head"),
    }];
    broker.restart().unwrap();
    broker.put(KEY, 1, &policy()).unwrap();
    let guest = Guest::new().attested(broker.address);
    fs::rename(&folder, broker.dir.path().join("gone")).unwrap();
    let asked = guest.ask(broker.address, KEY);
    assert_eq!(asked.error().0, 500, "no key without its place in every fence");
    fs::rename(broker.dir.path().join("gone"), &folder).unwrap();
    let other = Guest::new().attested(broker.address);
    assert_eq!(other.ask(broker.address, KEY).status, 200);
}

#[test]
fn rows_written_with_the_stores_own_key_are_missed_by_tree_and_heads() {
    let mut broker = Broker::simulated();
    broker.put(KEY, 1, &policy()).unwrap();
    broker.stop();
    export(&broker, "signed");
    let root = broker.config.root.provider(&Default::default()).load().unwrap();
    let key = root.derive(hanzo_vault::RootPurpose::Store).unwrap();
    let hex = hex::encode(key.expose());
    let good = fs::read(&broker.config.store).unwrap();
    for sql in [
        "DROP TRIGGER audit_is_append_only_update; UPDATE audit SET frontier = zeroblob(32);",
        "DROP TRIGGER audit_heads_are_append_only_update; UPDATE audit_heads SET size = 7;",
        "INSERT INTO audit_tiles VALUES (1, 0, zeroblob(32));",
    ] {
        fs::write(&broker.config.store, &good).unwrap();
        let connection = hanzo_store::rusqlite::Connection::open(&broker.config.store).unwrap();
        connection
            .execute_batch(&format!("PRAGMA key = \"x'{hex}'\"; {sql}"))
            .unwrap();
        drop(connection);
        assert_eq!(code(&mut broker), Err("store.audit"), "{sql}");
    }
    let _ = fs::remove_file(broker.config.store.with_extension("db-wal"));
    fs::write(&broker.config.store, &good).unwrap();
    assert_eq!(code(&mut broker), Ok(()));
}

#[test]
fn an_export_has_the_tiles_of_its_size_and_replaces_nothing() {
    let mut broker = Broker::simulated();
    broker.put(KEY, 1, &policy()).unwrap();
    broker.stop();
    for _ in 0..300 {
        accept_head(&broker.config, broker.mode).unwrap();
    }
    let audited = export(&broker, "out");
    assert_eq!(
        (audited.head.size(), audited.heads),
        (302, 2),
        "a head at 256, and the newest"
    );
    let out = broker.dir.path().join("out");
    for tile in hanzo_log::tile::all(302) {
        assert!(out.join(tile.to_string()).exists(), "{tile}");
    }
    let again = export_audit(&broker.config, broker.mode, &out, |_, _| {});
    assert_eq!(again.unwrap_err().code(), "kbs.init.exists");
    broker.restart().unwrap();
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
        let neighbours = || {
            let port = TcpListener::bind("127.0.0.1:0").ok()?.local_addr().ok()?.port();
            TcpListener::bind(("127.0.0.1", port.checked_add(1)?))
                .ok()
                .map(|_| port)
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
        this
    }

    fn tool(&self, program: &str, arguments: &[&str]) -> bool {
        let run = Command::new(program).args(["-T", &self.tcti]).args(arguments).output();
        run.unwrap().status.success()
    }
}

#[test]
fn an_older_store_is_noticed_by_a_tpm() {
    let present = |program: &str| Command::new(program).arg("--version").output().is_ok();
    if !present("swtpm") || !present("tpm2_nvread") {
        eprintln!("NOT TESTED: swtpm or tpm2-tools is absent: install both to test the fence in a TPM");
        return;
    }
    let mut broker = Broker::start(StoreMode::Simulated, true, |_| {});
    broker.stop();
    let tpm = Swtpm::start(&broker.dir.path().join("tpm"));
    let index = 0x0150_0042;
    broker.config.fences = vec![FenceConfig::TpmNv {
        tcti: tpm.tcti.clone(),
        index,
    }];
    let (older, older_head) = use_once(&mut broker);
    let newest = fs::read(&broker.config.store).unwrap();
    let newest_head = fs::read(&broker.config.head_file).unwrap();
    fs::write(&broker.config.store, &older).unwrap();
    fs::write(&broker.config.head_file, &older_head).unwrap();
    assert_eq!(code(&mut broker), Err("store.rolled_back"));
    fs::write(&broker.config.store, &newest).unwrap();
    fs::write(&broker.config.head_file, &newest_head).unwrap();
    assert_eq!(code(&mut broker), Ok(()));
    broker.stop();
    // Without the broker's secret nobody reads or writes the index; cleared, it is missed.
    assert!(!tpm.tool("tpm2_nvread", &["0x01500042", "-C", "0x01500042", "-s", "56"]));
    assert!(tpm.tool("tpm2_nvundefine", &["0x01500042", "-C", "o"]));
    assert_eq!(code(&mut broker), Err("kbs.file"));
    accept_head(&broker.config, broker.mode).unwrap();
    assert_eq!(code(&mut broker), Ok(()));
    broker.stop();
    drop(tpm);
    assert_eq!(code(&mut broker), Err("kbs.fence.tpm"));
}
