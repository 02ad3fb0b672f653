//! What a broker refuses to start on, and what survives a kill.

#[path = "support/harness.rs"]
mod harness;
#[path = "support/process.rs"]
mod process;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use hanzo_attestation::name::KeyId;
use hanzo_kbs::{KbsConfig, StoreMode, accept_head, admin, check};
use hanzo_pqc::Dek;
use hanzo_vault::KeyPolicy;
use harness::{Broker, Guest, policy};
use process::Process;

const KEY: &str = "hanzo/dek/m";
const BIN: &str = env!("CARGO_BIN_EXE_hanzo-kbs");

fn run(arguments: &[&str]) -> Output {
    Command::new(BIN).args(arguments).output().unwrap()
}

fn refused(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_store_of_the_simulated_mode_is_refused_by_the_binary() {
    let mut broker = Broker::simulated();
    broker.put(KEY, 1, &policy()).unwrap();
    broker.stop();
    let config = broker.made.config_path.to_str().unwrap();
    for command in ["serve", "check", "audit", "accept-head"] {
        let said = refused(&[command, "--config", config]);
        assert!(said.contains("[store.simulated]"), "{said}");
    }
    broker.restart().unwrap();
}

#[test]
fn the_binary_holds_no_simulator() {
    let marker = hanzo_simulated_tee::DOMAIN.as_bytes();
    let bytes = fs::read(BIN).unwrap();
    assert!(!bytes.windows(marker.len()).any(|w| w == marker));
    let own = fs::read(std::env::current_exe().unwrap()).unwrap();
    assert!(
        own.windows(marker.len()).any(|w| w == marker),
        "the marker tells: this test has it"
    );
}

#[test]
fn an_older_store_a_lost_head_and_a_lost_store_are_noticed() {
    let mut broker = Broker::simulated();
    let mut once = policy();
    once.max_uses = 1;
    broker.put(KEY, 1, &once).unwrap();
    broker.stop();
    let older = fs::read(&broker.config.store).unwrap();
    broker.restart().unwrap();
    let guest = Guest::new().attested(broker.address);
    assert_eq!(guest.ask(broker.address, KEY).status, 200);
    broker.stop();
    let newest = fs::read(&broker.config.store).unwrap();
    let code = |broker: &mut Broker| broker.restart().map_err(|e| e.code());

    // The used-up key would be fresh again.
    fs::write(&broker.config.store, &older).unwrap();
    assert_eq!(code(&mut broker), Err("store.rolled_back"));
    fs::write(&broker.config.store, &newest).unwrap();
    assert_eq!(code(&mut broker), Ok(()));
    let other = Guest::new().attested(broker.address);
    assert_eq!(other.ask(broker.address, KEY).error(), (403, "kbs.key.used_up".into()));
    broker.stop();

    fs::remove_file(&broker.config.head_file).unwrap();
    assert_eq!(code(&mut broker), Err("kbs.file"));
    accept_head(&broker.config, broker.mode).unwrap();
    assert_eq!(code(&mut broker), Ok(()));
    broker.stop();

    fs::remove_file(&broker.config.store).unwrap();
    assert_eq!(code(&mut broker), Err("store.missing"));
    fs::remove_file(broker.config.store.with_extension("db.lock")).unwrap();
    assert_eq!(code(&mut broker), Err("kbs.store.none"));
}

#[test]
fn grants_taken_out_of_the_store_are_missed_by_the_chain() {
    let mut broker = Broker::simulated();
    broker.put(KEY, 1, &policy()).unwrap();
    let guest = Guest::new().attested(broker.address);
    assert_eq!(guest.ask(broker.address, KEY).status, 200);
    broker.stop();
    // Whoever has the store's key can write rows; the decisions still tell.
    let root = broker.config.root.provider(&Default::default()).load().unwrap();
    let key = root.derive(hanzo_vault::RootPurpose::Store).unwrap();
    let hex = hex::encode(key.expose());
    let connection = hanzo_store::rusqlite::Connection::open(&broker.config.store).unwrap();
    connection
        .execute_batch(&format!("PRAGMA key = \"x'{hex}'\"; DELETE FROM grants;"))
        .unwrap();
    drop(connection);
    assert_eq!(broker.restart().unwrap_err().code(), "store.audit");
}

/// Whatever stands where the store should be, the broker says which of these it is and does not start.
#[test]
fn a_store_that_is_not_this_brokers_is_named_and_not_touched() {
    let mut broker = Broker::start(StoreMode::Production, false, |_| {});
    broker.stop();
    let config = broker.made.config_path.to_str().unwrap().to_owned();
    let (store, lock) = (&broker.config.store, broker.config.store.with_extension("db.lock"));
    let key = broker.made.config_path.with_file_name("kbs.key");
    let (good, good_lock, good_key) = (
        fs::read(store).unwrap(),
        fs::read(&lock).unwrap(),
        fs::read(&key).unwrap(),
    );
    let root = broker.config.root.provider(&Default::default()).load().unwrap();
    let digits = hex::encode(root.derive(hanzo_vault::RootPurpose::Store).unwrap().expose());
    let with_sql = |sql: &str| {
        let connection = hanzo_store::rusqlite::Connection::open(store).unwrap();
        let keyed = format!("PRAGMA key = \"x'{digits}'\"; {sql}");
        connection.execute_batch(&keyed).unwrap();
    };
    let restored = || {
        for end in ["", "-wal", "-shm"] {
            let path = store.with_extension(format!("db{end}"));
            let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir(&path));
        }
        for (path, bytes) in [(store, &good), (&lock, &good_lock), (&key, &good_key)] {
            fs::write(path, bytes).unwrap();
        }
    };
    let (damaged, other) = (
        |at: usize| {
            let mut bytes = good.clone();
            bytes[at] ^= 1;
            fs::write(store, bytes).unwrap();
        },
        || fs::write(&key, [9; 32]).unwrap(),
    );
    type Change<'a> = Box<dyn Fn() + 'a>;
    let cases: [(&str, Change<'_>); 9] = [
        ("store.wrong_key", Box::new(other)),
        (
            "store.unreadable",
            Box::new(|| {
                other();
                // Without what remembers the key, nothing tells a wrong one from a damaged file.
                fs::remove_file(&lock).unwrap();
            }),
        ),
        ("store.newer_schema", Box::new(|| with_sql("PRAGMA user_version = 99;"))),
        ("store.foreign", Box::new(|| with_sql("PRAGMA application_id = 7;"))),
        (
            "store.foreign",
            Box::new(|| fs::write(store, b"SQLite format 3\0").unwrap()),
        ),
        ("store.corrupt", Box::new(|| damaged(good.len() / 2))),
        ("store.corrupt", Box::new(|| fs::write(store, &good[..10]).unwrap())),
        ("store.corrupt", Box::new(|| fs::write(store, b"").unwrap())),
        (
            "store.io",
            Box::new(|| {
                fs::remove_file(store).unwrap();
                fs::create_dir(store).unwrap();
            }),
        ),
    ];
    for (code, change) in cases {
        change();
        let before = fs::read(store).ok();
        for command in ["serve", "check"] {
            let said = refused(&[command, "--config", &config]);
            assert!(said.contains(&format!("[{code}]")), "expected {code}: {said}");
        }
        assert_eq!(fs::read(store).ok(), before, "{code}");
        restored();
        assert!(run(&["check", "--config", &config]).status.success(), "{code}");
    }
}

#[test]
fn a_taken_address_an_open_key_file_and_a_running_broker_are_named() {
    let mut broker = Broker::start(StoreMode::Production, false, |_| {});
    let config = broker.made.config_path.to_str().unwrap().to_owned();
    let said = refused(&["check", "--config", &config]);
    assert!(said.contains("[store.in_use]"), "{said}");
    broker.stop();

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let text = fs::read_to_string(&config)
        .unwrap()
        .replace("127.0.0.1:0", &address.to_string());
    fs::write(&config, text).unwrap();
    let said = refused(&["serve", "--config", &config]);
    assert!(
        said.contains("[kbs.listen]") && said.contains(&address.to_string()),
        "{said}"
    );
    drop(taken);

    use std::os::unix::fs::PermissionsExt;
    let key_file = broker.made.config_path.with_file_name("kbs.key");
    fs::set_permissions(&key_file, fs::Permissions::from_mode(0o644)).unwrap();
    let said = refused(&["check", "--config", &config]);
    assert!(said.contains("[root.mode]") && said.contains("chmod 600"), "{said}");
}

#[test]
fn init_makes_a_working_broker_and_replaces_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("kbs");
    let place = place.to_str().unwrap();
    let output = run(&["init", "--dir", place]);
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(
        said.contains("[kbs.signer]") && said.contains("suite = \"ml-dsa-87\""),
        "{said}"
    );
    assert!(refused(&["init", "--dir", place]).contains("[kbs.init.exists]"));
    let config = format!("{place}/kbs.toml");
    assert!(run(&["check", "--config", &config]).status.success());
    let text = fs::read_to_string(&config).unwrap();
    for (from, to) in [
        ("version = 1", "version = 2"),
        ("version = 1", "version = 1\nmetadata = 1"),
        ("session_ttl_s = 60", "session_ttl_s = 0"),
    ] {
        fs::write(&config, text.replacen(from, to, 1)).unwrap();
        assert!(
            refused(&["check", "--config", &config]).contains("[kbs.config]"),
            "{to}"
        );
    }
    assert!(run(&["completions", "bash"]).status.success());
    assert_eq!(run(&["--help"]).status.code(), Some(0));
    assert_eq!(run(&["serve"]).status.code(), Some(2));
}

/// SQLCipher pages are authentic, not fresh: an older page verifies. Whichever one is put back, no use is forgotten.
#[test]
fn a_single_older_page_never_gives_a_use_back() {
    const PAGE: usize = 4096;
    let mut broker = Broker::simulated();
    let mut once = policy();
    once.max_uses = 1;
    broker.put(KEY, 1, &once).unwrap();
    broker.stop();
    let older = fs::read(&broker.config.store).unwrap();
    broker.restart().unwrap();
    assert_eq!(
        Guest::new().attested(broker.address).ask(broker.address, KEY).status,
        200
    );
    broker.stop();
    let newest = fs::read(&broker.config.store).unwrap();
    let head = fs::read(&broker.config.head_file).unwrap();
    let mut tried = 0;
    for (n, (old, new)) in older.chunks(PAGE).zip(newest.chunks(PAGE)).enumerate() {
        if old == new {
            continue;
        }
        tried += 1;
        let mut mixed = newest.clone();
        mixed[n * PAGE..(n + 1) * PAGE].copy_from_slice(old);
        fs::write(&broker.config.store, mixed).unwrap();
        fs::write(&broker.config.head_file, &head).unwrap();
        if broker.restart().is_ok() {
            let asked = Guest::new().attested(broker.address).ask(broker.address, KEY);
            assert_eq!(asked.error(), (403, "kbs.key.used_up".into()), "page {n}");
        }
        broker.stop();
    }
    assert!(tried >= 3, "the grant changed several pages: {tried}");
    fs::write(&broker.config.store, &newest).unwrap();
    broker.restart().unwrap();
}

/// As above for what an admin decided: no page that is put back makes a revoked key alive, a tightened policy loose, or an
/// old request new.
#[test]
fn a_single_older_page_never_takes_an_admins_decision_back() {
    const PAGE: usize = 4096;
    let mut broker = Broker::simulated();
    broker.put(KEY, 1, &policy()).unwrap();
    let key = KeyId::new(KEY).unwrap();
    let mut tight = policy();
    tight.appraisal.snp.as_mut().unwrap().references.clear();
    for revoke in [false, true] {
        broker.stop();
        let older = fs::read(&broker.config.store).unwrap();
        broker.restart().unwrap();
        match revoke {
            false => broker.set_policy(KEY, 1, &tight).unwrap(),
            true => harness::block_on(admin::revoke(
                broker.address,
                &broker.made.identity,
                &broker.admin(),
                &key,
                1,
            ))
            .map(drop)
            .unwrap(),
        }
        broker.stop();
        let newest = fs::read(&broker.config.store).unwrap();
        let head = fs::read(&broker.config.head_file).unwrap();
        let mut missed = 0;
        for (n, (old, new)) in older.chunks(PAGE).zip(newest.chunks(PAGE)).enumerate() {
            if old == new {
                continue;
            }
            let mut mixed = newest.clone();
            mixed[n * PAGE..(n + 1) * PAGE].copy_from_slice(old);
            fs::write(&broker.config.store, mixed).unwrap();
            fs::write(&broker.config.head_file, &head).unwrap();
            match broker.restart() {
                Err(_) => missed += 1,
                Ok(()) => {
                    let code = if revoke { "kbs.key.revoked" } else { "snp.measurement" };
                    let asked = Guest::new().attested(broker.address).ask(broker.address, KEY);
                    assert_eq!(asked.error(), (403, code.into()), "page {n}");
                }
            }
            broker.stop();
        }
        assert!(missed >= 2, "keys and nonces changed: {missed}");
        fs::write(&broker.config.store, &newest).unwrap();
        fs::write(&broker.config.head_file, &head).unwrap();
        broker.restart().unwrap();
    }
}

#[test]
fn a_truncated_write_ahead_log_is_noticed() {
    let mut broker = Broker::start(StoreMode::Production, false, |_| {});
    broker.stop();
    let mut real = policy();
    real.allow_simulated = false;
    let mut process = Process::serve(&broker.made.config_path);
    for n in 0..3 {
        let key = KeyId::new(&format!("hanzo/dek/k{n}")).unwrap();
        let (dek, admin) = (Dek::generate().unwrap(), broker.admin());
        let put = admin::put_key(process.address, &broker.made.identity, &admin, &key, 1, &dek, &real);
        harness::block_on(put).unwrap();
    }
    process.kill();
    let wal = broker.config.store.with_extension("db-wal");
    let bytes = fs::read(&wal).unwrap();
    fs::write(&wal, &bytes[..bytes.len() / 2]).unwrap();
    let code = check(&broker.config, broker.mode, |_| {}).unwrap_err().code();
    assert_eq!(code, "store.rolled_back");
}

#[test]
fn the_example_configuration_is_one() {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/kbs.example.toml"));
    let config = KbsConfig::load(path).unwrap();
    assert!(config.listen.ip().is_loopback() && config.simulator_roots.is_empty() && config.admin_keys.is_empty());
}

#[test]
fn no_acknowledged_key_is_lost_when_the_broker_is_killed() {
    const KEYS: usize = 200;
    const WRITERS: usize = 4;
    let mut broker = Broker::start(StoreMode::Production, false, |_| {});
    broker.stop();
    let mut real: KeyPolicy = policy();
    real.allow_simulated = false;
    let mut process = Process::serve(&broker.made.config_path);
    let (address, identity) = (process.address, broker.made.identity.clone());
    let (report, reports) = std::sync::mpsc::channel();
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let (report, identity, real, admin) = (report.clone(), identity.clone(), real.clone(), broker.admin());
            std::thread::spawn(move || {
                harness::block_on(async {
                    for n in 0..KEYS / WRITERS {
                        let name = format!("hanzo/dek/w{writer}-{n}");
                        let key = KeyId::new(&name).unwrap();
                        let dek = Dek::generate().unwrap();
                        if admin::put_key(address, &identity, &admin, &key, 1, &dek, &real)
                            .await
                            .is_err()
                        {
                            return;
                        }
                        report.send(name).unwrap();
                    }
                });
            })
        })
        .collect();
    drop(report);
    let mut acknowledged = Vec::new();
    for name in reports {
        acknowledged.push(name);
        if acknowledged.len() == KEYS / 2 {
            process.kill();
        }
    }
    writers.into_iter().for_each(|w| w.join().unwrap());
    assert!(
        acknowledged.len() >= KEYS / 2 && acknowledged.len() < KEYS,
        "killed in the middle: {}",
        acknowledged.len()
    );

    let config = KbsConfig::load(&broker.made.config_path).unwrap();
    let mut stored = Vec::new();
    check(&config, StoreMode::Production, |line| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        stored.push(line["key_id"].as_str().unwrap().to_owned());
    })
    .unwrap();
    for name in &acknowledged {
        assert!(stored.contains(name), "{name} was acknowledged and is lost");
    }
    // And it serves again: the next version of an acknowledged key is taken, version 1 is not.
    let again = Process::serve(&broker.made.config_path);
    let key = KeyId::new(&acknowledged[0]).unwrap();
    let put = |version| {
        let dek = Dek::generate().unwrap();
        let admin = broker.admin();
        harness::block_on(admin::put_key(
            again.address,
            &identity,
            &admin,
            &key,
            version,
            &dek,
            &real,
        ))
        .map(drop)
    };
    assert_eq!(put(1).unwrap_err().code(), "kbs.admin.version");
    put(2).unwrap();
}

#[test]
fn key_owners_work_from_the_command_line() {
    let mut broker = Broker::start(StoreMode::Production, false, |_| {});
    let dir = broker.dir.path();
    let (dek, policy_file) = (dir.join("dek.key"), dir.join("policy.json"));
    hanzo_store::KeyFile::create(&dek).unwrap();
    let mut real = policy();
    real.allow_simulated = false;
    let mut text = real.canonical().unwrap();
    text.push(b'\n');
    fs::write(&policy_file, text).unwrap();
    let address = broker.address.to_string();
    let path = |p: &Path| p.to_str().unwrap().to_owned();
    let common = [
        "--broker",
        &address,
        "--identity",
        &path(&broker.made.identity_path),
        "--admin-key",
        &path(&broker.made.admin_key_path),
        "--key",
        KEY,
    ]
    .map(str::to_owned);
    let with = |command: &str, rest: &[&str]| -> Vec<String> {
        let rest = rest.iter().map(|s| (*s).to_owned());
        std::iter::once(command.to_owned())
            .chain(common.clone())
            .chain(rest)
            .collect()
    };
    let put = with("put-key", &["--dek-file", &path(&dek), "--policy", &path(&policy_file)]);
    let arguments: Vec<_> = put.iter().map(String::as_str).collect();
    let output = run(&arguments);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("{KEY} version 1\n"));
    assert!(refused(&arguments).contains("[kbs.admin.version]"));
    let revoke = with("revoke", &["--version", "1"]);
    assert!(
        run(&revoke.iter().map(String::as_str).collect::<Vec<_>>())
            .status
            .success()
    );
    fs::write(&policy_file, "{}").unwrap();
    assert!(refused(&arguments).contains("policy.json"));
    broker.stop();
    assert!(refused(&revoke.iter().map(String::as_str).collect::<Vec<_>>()).contains("[kbs.unreachable]"));
}

#[test]
fn a_broker_that_cannot_be_made_leaves_nothing_behind() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("kbs");
    let options = |roots: Vec<Vec<u8>>| hanzo_kbs::InitOptions {
        dir: dir.clone(),
        listen: ([127, 0, 0, 1], 0).into(),
        mode: hanzo_kbs::StoreMode::Simulated,
        simulator_roots: roots,
    };
    // The store comes after keys and configuration, and cannot be made where its journal is a folder.
    let journal = dir.join("kbs.db-journal");
    fs::create_dir_all(&journal).unwrap();
    assert!(hanzo_kbs::init(&options(vec![vec![0; 8]])).is_err());
    let left: Vec<_> = fs::read_dir(&dir).unwrap().map(|e| e.unwrap().path()).collect();
    assert_eq!(left, std::slice::from_ref(&journal));
    fs::remove_dir(&journal).unwrap();
    hanzo_kbs::init(&options(Vec::new())).unwrap();
    let code = hanzo_kbs::init(&options(Vec::new())).unwrap_err().code();
    assert_eq!(code, "kbs.init.exists", "and what was made is not touched");
    assert!(dir.join("kbs.key").exists());
}
