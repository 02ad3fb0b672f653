//! Rollback: an older store put back together with its head file, and what further places notice.

#[path = "support/harness.rs"]
mod harness;
#[path = "../../root/tests/support/swtpm.rs"]
mod swtpm;

use std::fs;
use std::path::Path;

use hanzo_kbs::{FenceConfig, StoreMode, accept_head, export_audit};
use hanzo_log::LogKey;
use hanzo_log::audit::{AuditVerifier, Audited};
use harness::{Broker, Guest, policy};
use swtpm::Swtpm;

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

/// The newer of the two lines of a head file: its number and hash.
fn held(path: &Path) -> (u64, String) {
    let text = fs::read_to_string(path).unwrap();
    let lines = text.lines().map(|line| {
        let mut words = line.split(' ').skip(2);
        (words.next().unwrap().parse().unwrap(), words.next().unwrap().to_owned())
    });
    lines.max().unwrap()
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
    assert_eq!(held(&broker.config.head_file), held(&second));

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

/// The secret of a broker's place in a TPM, derived by hand from its store.
fn fence_secret(broker: &Broker) -> String {
    let root = broker.config.root.provider(&Default::default()).load().unwrap();
    let key = root.derive(hanzo_vault::RootPurpose::Store).unwrap();
    let sql = format!("PRAGMA key = \"x'{}'\";", hex::encode(key.expose()));
    let connection = hanzo_store::rusqlite::Connection::open(&broker.config.store).unwrap();
    connection.execute_batch(&sql).unwrap();
    let sql = "SELECT sealed_secret FROM identity WHERE name = 'signer'";
    let sealed: Vec<u8> = connection.query_row(sql, [], |row| row.get(0)).unwrap();
    let columns = hanzo_store::ColumnSealer::new(&key).unwrap();
    let seed = columns
        .open("identity", "sealed_secret", b"signer", 1, &sealed)
        .unwrap();
    let mut secret = [0; 32];
    hanzo_pqc::kdf::hkdf_sha256(b"", &seed, b"hanzo/kbs-fence/v1", &mut secret).unwrap();
    format!("hex:{}", hex::encode(secret))
}

/// And nobody sets the TPM back: not with the secret of its indices either.
#[test]
fn an_older_store_is_noticed_by_a_tpm() {
    const INDEX: u32 = 0x0150_0042;
    const HEAD: &str = "0x01500042";
    const COUNTER: &str = "0x01500043";
    const START: &str = "0x01500044";
    let mut broker = Broker::start(StoreMode::Simulated, true, |_| {});
    broker.stop();
    let Some(tpm) = Swtpm::start(&broker.dir.path().join("tpm")) else {
        return;
    };
    broker.config.fences = vec![FenceConfig::TpmNv {
        tcti: tpm.tcti.clone(),
        index: INDEX,
    }];
    let secret = fence_secret(&broker);
    let read = |index: &str, size: &str| {
        let bytes = tpm.output("tpm2_nvread", &[index, "-C", index, "-P", &secret, "-s", size]);
        bytes.unwrap()
    };
    let file = broker.dir.path().join("area");
    let write = |index: &str, bytes: &[u8]| {
        fs::write(&file, bytes).unwrap();
        let path = file.to_str().unwrap();
        tpm.tool("tpm2_nvwrite", &[index, "-C", index, "-P", &secret, "-i", path])
    };
    broker.restart().unwrap();
    broker.put("hanzo/dek/first", 1, &policy()).unwrap();
    let older_area = read(HEAD, "56");
    let (older, older_head) = use_once(&mut broker);
    let newest = fs::read(&broker.config.store).unwrap();
    let newest_head = fs::read(&broker.config.head_file).unwrap();
    let newest_area = read(HEAD, "56");
    let put = |broker: &Broker, store: &[u8], head: &[u8]| {
        fs::write(&broker.config.store, store).unwrap();
        fs::write(&broker.config.head_file, head).unwrap();
    };
    put(&broker, &older, &older_head);
    assert_eq!(code(&mut broker), Err("store.rolled_back"));
    put(&broker, &newest, &newest_head);
    assert_eq!(code(&mut broker), Ok(()));
    broker.stop();

    // With the secret: an older head is written, and stands behind the counter, which nobody sets back; nor its start.
    assert!(write(HEAD, &older_area));
    for (store, head) in [(&older, &older_head), (&newest, &newest_head)] {
        put(&broker, store, head);
        assert_eq!(code(&mut broker), Err("kbs.fence.set_back"));
    }
    assert!(!write(COUNTER, &[0; 8]) && !write(START, &[0xff; 8]));
    assert!(write(HEAD, &newest_area));
    assert_eq!(code(&mut broker), Ok(()));
    broker.stop();
    // The counter counts decisions, not writes.
    let number = |bytes: &[u8]| u64::from_be_bytes(bytes[..8].try_into().unwrap());
    let counted = number(&read(COUNTER, "8")).wrapping_sub(number(&read(START, "8")));
    assert_eq!(counted, number(&newest_area));

    // Killed after the head was written and before the counter went up: the head is ahead, and that is no rollback.
    assert!(tpm.tool("tpm2_nvundefine", &[COUNTER, "-C", "o"]));
    assert_eq!(
        code(&mut broker),
        Err("kbs.fence.tpm"),
        "a counter that is gone is missed"
    );
    accept_head(&broker.config, broker.mode).unwrap();
    assert_eq!(code(&mut broker), Ok(()));
    broker.stop();

    // Without the secret nobody reads or writes it; cleared, it is missed.
    assert!(!tpm.tool("tpm2_nvread", &[HEAD, "-C", HEAD, "-s", "56"]));
    assert!(tpm.tool("tpm2_nvundefine", &[HEAD, "-C", "o"]));
    assert_eq!(code(&mut broker), Err("kbs.file"));
    // An older store that its operator accepts starts the counter anew.
    put(&broker, &older, &older_head);
    accept_head(&broker.config, broker.mode).unwrap();
    assert_eq!(code(&mut broker), Ok(()));
    broker.stop();
    drop(tpm);
    assert_eq!(code(&mut broker), Err("kbs.fence.tpm"));
}
