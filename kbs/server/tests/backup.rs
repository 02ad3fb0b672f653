//! Copies of a store in use, and what is refused when one is put back.

#[path = "support/harness.rs"]
mod harness;

use std::fs;
use std::path::Path;

use hanzo_kbs::{KbsError, backup, restore};
use harness::{Broker, Guest, policy};

const KEY: &str = "hanzo/dek/m";

fn code<T>(r: Result<T, KbsError>) -> &'static str {
    match r {
        Ok(_) => panic!("accepted"),
        Err(e) => e.code(),
    }
}

fn asks(broker: &Broker) -> (u16, String) {
    let reply = Guest::new().attested(broker.address).ask(broker.address, KEY);
    match reply.status {
        200 => (200, String::new()),
        _ => reply.error(),
    }
}

#[test]
fn a_backup_of_a_running_broker_is_put_back_and_proves_what_it_holds() {
    let mut broker = Broker::simulated();
    broker.put(KEY, 1, &policy()).unwrap();
    assert_eq!(asks(&broker).0, 200);
    let to = broker.dir.path().join("copy.db");
    let (config, mode) = (broker.config.clone(), broker.mode);
    let made = backup(&config, mode, &to).unwrap();
    // The broker goes on meanwhile, and a second backup does not replace the first.
    assert_eq!(asks(&broker).0, 200);
    assert_eq!(code(backup(&config, mode, &to)), "kbs.backup");
    assert_eq!(code(restore(&config, mode, &to, false)), "store.in_use");
    let lines = broker.audit_whole();
    assert!(made.seq > 0 && (made.seq as usize) < lines.len());

    // What it holds is encrypted under the store's key.
    let bytes = fs::read(&to).unwrap();
    for secret in [&harness::DEK[..], b"SQLite format 3", b"put-key"] {
        assert!(!bytes.windows(secret.len()).any(|w| w == secret));
    }

    // The newest decision is missing from it: uses would be given back.
    let store = fs::read(&config.store).unwrap();
    assert_eq!(code(restore(&config, mode, &to, false)), "store.rolled_back");
    assert_eq!(fs::read(&config.store).unwrap(), store, "and nothing was changed");
    broker.restart().unwrap();
    broker.stop();

    // A newer one is put back as it is, over a store that was lost.
    let newest = broker.dir.path().join("newest.db");
    assert_eq!(backup(&config, mode, &newest).unwrap().seq, lines.len() as u64);
    fs::remove_file(&config.store).unwrap();
    assert_eq!(code(broker.restart()), "store.missing");
    assert_eq!(restore(&config, mode, &newest, false).unwrap().seq, lines.len() as u64);
    broker.restart().unwrap();
    assert_eq!(asks(&broker).0, 200);
    assert_eq!(
        broker.audit_whole().len(),
        lines.len() + 1,
        "one more decision, none lost"
    );
}

#[test]
fn an_override_is_in_the_audit_chain() {
    let mut broker = Broker::simulated();
    let mut once = policy();
    once.max_uses = 1;
    broker.put(KEY, 1, &once).unwrap();
    let to = broker.dir.path().join("copy.db");
    let (config, mode) = (broker.config.clone(), broker.mode);
    let seq = backup(&config, mode, &to).unwrap().seq;
    assert_eq!(asks(&broker).0, 200);
    let before = broker.audit_whole().len();
    assert_eq!(code(restore(&config, mode, &to, false)), "store.rolled_back");
    assert_eq!(restore(&config, mode, &to, true).unwrap().seq, seq + 1);
    let lines = broker.audit_whole();
    let last = lines.last().unwrap();
    assert_eq!(last["action"], "accept-head");
    let about = last["about"].as_str().unwrap();
    assert!(
        about.contains(&format!(": {before}")) && about.ends_with(&format!("store: {seq}")),
        "{about}"
    );
    // What was there is kept beside it.
    let kept = fs::read_dir(config.store.parent().unwrap()).unwrap();
    let kept = kept.filter(|e| e.as_ref().unwrap().file_name().to_string_lossy().contains(".before-"));
    assert!(kept.count() >= 1);
    broker.restart().unwrap();
    assert_eq!(
        asks(&broker).0,
        200,
        "the operator gave the use back, and the chain says so"
    );
    // The backup is now older than the store, again.
    broker.stop();
    assert_eq!(code(restore(&config, mode, &to, false)), "store.rolled_back");
}

#[test]
fn changed_backups_and_changed_manifests_are_refused() {
    let mut broker = Broker::simulated();
    broker.put(KEY, 1, &policy()).unwrap();
    broker.stop();
    let (config, mode) = (broker.config.clone(), broker.mode);
    let to = broker.dir.path().join("copy.db");
    backup(&config, mode, &to).unwrap();
    let manifest = to.with_added_extension("manifest.json");
    let (file, text) = (fs::read(&to).unwrap(), fs::read_to_string(&manifest).unwrap());
    let tries = |from: &Path| restore(&config, mode, from, true);

    let mut flipped = file.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    for bad in [
        &flipped[..],
        &file[..file.len() - 4096],
        &[file.clone(), vec![0; 4096]].concat(),
    ] {
        fs::write(&to, bad).unwrap();
        assert_eq!(code(tries(&to)), "kbs.backup");
    }
    fs::write(&to, &file).unwrap();
    let claims = text.replacen("\"seq\":", "\"seq\":9", 1);
    fs::write(&manifest, &claims).unwrap();
    assert_eq!(code(tries(&to)), "kbs.backup");
    fs::write(&manifest, text.replacen("-v1", "-v2", 1)).unwrap();
    assert_eq!(code(tries(&to)), "kbs.backup");
    fs::remove_file(&manifest).unwrap();
    assert_eq!(code(tries(&to)), "kbs.backup");
    // Another broker's backup is under another key.
    let mut other = Broker::simulated();
    other.stop();
    let theirs = other.dir.path().join("theirs.db");
    backup(&other.config, other.mode, &theirs).unwrap();
    assert_eq!(code(tries(&theirs)), "kbs.backup");
    // Of the other mode.
    assert_eq!(
        code(backup(
            &config,
            hanzo_kbs::StoreMode::Production,
            &broker.dir.path().join("x.db")
        )),
        "store.simulated"
    );
    assert!(!broker.dir.path().join("x.db").exists());

    fs::write(&manifest, &text).unwrap();
    restore(&config, mode, &to, false).unwrap();
    broker.restart().unwrap();
}
