//! Rotation and destruction of tenants' keys, seen by guests and operators.

#[path = "support/harness.rs"]
mod harness;

use std::process::{Command, Output};

use hanzo_attestation::name::{KeyId, Name};
use hanzo_kbs::{KbsConfig, KbsError, Shredded, StoreMode, rotate_keks, shred};
use hanzo_policy::PrivacyTier;
use hanzo_root::Surroundings;
use hanzo_vault::{KeyPolicy, RootPurpose};
use harness::{Broker, DEK, Guest, policy};

const BIN: &str = env!("CARGO_BIN_EXE_hanzo-kbs");

fn tenant() -> Name {
    Name::new("hanzo").unwrap()
}

fn of_other(mut policy: KeyPolicy) -> KeyPolicy {
    policy.tenant = Name::new("other").unwrap();
    policy
}

fn code<T>(outcome: Result<T, KbsError>) -> &'static str {
    match outcome {
        Ok(_) => "ok",
        Err(e) => e.code(),
    }
}

fn rotate(broker: &mut Broker) -> Vec<hanzo_kbs::RotationReport> {
    broker.stop();
    rotate_keks(&broker.config, broker.mode, Some(&tenant()), |_| {}).unwrap()
}

fn sql(config: &KbsConfig, statements: &str) {
    let root = config.root.provider(&Surroundings::default()).load().unwrap();
    let key = hex::encode(root.derive(RootPurpose::Store).unwrap().expose());
    let connection = hanzo_store::rusqlite::Connection::open(&config.store).unwrap();
    connection
        .execute_batch(&format!("PRAGMA key = \"x'{key}'\"; {statements}"))
        .unwrap();
}

#[test]
fn guests_get_the_same_keys_after_a_rotation() {
    let mut broker = Broker::simulated();
    let keys: Vec<_> = (0..5).map(|n| format!("hanzo/dek/k{n}")).collect();
    for key in &keys {
        broker.put(key, 1, &policy()).unwrap();
    }
    let report = rotate(&mut broker);
    assert_eq!((report[0].kek_version, report[0].moved, report[0].destroyed), (2, 5, 1));
    assert!(!report[0].resumed);
    broker.restart().unwrap();
    for key in &keys {
        let guest = Guest::new().attested(broker.address);
        let reply = guest.ask(broker.address, key);
        assert_eq!(reply.status, 200, "{key}");
    }
    // What comes later is sealed under the new KEK, and moves again.
    broker.put(&keys[0], 2, &policy()).unwrap();
    let report = rotate(&mut broker);
    assert_eq!((report[0].kek_version, report[0].moved, report[0].destroyed), (3, 6, 1));
    assert_eq!(
        code(rotate_keks(
            &broker.config,
            broker.mode,
            Some(&Name::new("nobody").unwrap()),
            |_| {}
        )),
        "kbs.tenant.none"
    );
    assert_eq!(DEK.len(), 32);
}

#[test]
fn a_destroyed_key_and_a_destroyed_tenant_are_gone_for_ever() {
    let mut broker = Broker::simulated();
    for key in ["hanzo/dek/a", "hanzo/dek/b"] {
        broker.put(key, 1, &policy()).unwrap();
    }
    broker.put("other/dek/c", 1, &of_other(policy())).unwrap();
    broker.stop();
    let config = broker.config.clone();
    let a = KeyId::new("hanzo/dek/a").unwrap();
    assert_eq!(
        code(shred(&config, broker.mode, &Shredded::Key(a.clone(), 2))),
        "kbs.key.none"
    );
    let report = shred(&config, broker.mode, &Shredded::Key(a, 1)).unwrap();
    assert_eq!((report.keks, report.secrets), (0, 1));
    let ask = |broker: &Broker, key: &str| {
        let asked = Guest::new().attested(broker.address).ask(broker.address, key);
        match asked.status {
            200 => "ok".to_owned(),
            _ => asked.error().1,
        }
    };
    broker.restart().unwrap();
    assert_eq!(ask(&broker, "hanzo/dek/a"), "kbs.key.revoked");
    assert_eq!(ask(&broker, "hanzo/dek/b"), "ok");

    broker.stop();
    let report = shred(&config, broker.mode, &Shredded::Tenant(tenant())).unwrap();
    assert_eq!((report.keks, report.secrets), (1, 2));
    assert_eq!(
        code(shred(&config, broker.mode, &Shredded::Tenant(tenant()))),
        "kbs.tenant.none"
    );
    broker.restart().unwrap();
    assert_eq!(ask(&broker, "hanzo/dek/b"), "kbs.key.revoked");
    assert_eq!(ask(&broker, "other/dek/c"), "ok", "another tenant's keys live");
    // The tenant may begin anew, under a KEK of its own.
    broker.put("hanzo/dek/b", 2, &policy()).unwrap();
    assert_eq!(ask(&broker, "hanzo/dek/b"), "ok");
    let lines = broker.audit_whole();
    let actions: Vec<_> = lines.iter().filter_map(|l| l["action"].as_str()).collect();
    for action in ["new-kek", "shred-key", "shred-tenant"] {
        assert!(actions.contains(&action), "{action} of {actions:?}");
    }
    // Whoever has the store's key cannot make it undone unnoticed.
    sql(
        &config,
        "UPDATE keys SET sealed_dek = randomblob(61) WHERE key_id = 'hanzo/dek/a'",
    );
    assert_eq!(broker.restart().unwrap_err().code(), "store.audit");
}

#[test]
fn keks_taken_out_or_put_back_are_missed_by_the_chain() {
    for statement in [
        "DELETE FROM keks",
        "INSERT INTO keks VALUES ('hanzo', 7, 'live', 0, zeroblob(61))",
        "UPDATE keks SET state = 'retired', wrapped = zeroblob(61)",
        "UPDATE keks SET wrapped = zeroblob(61)",
    ] {
        let mut broker = Broker::simulated();
        broker.put("hanzo/dek/m", 1, &policy()).unwrap();
        broker.stop();
        sql(&broker.config, statement);
        assert_eq!(broker.restart().unwrap_err().code(), "store.audit", "{statement}");
    }
}

/// A row whose policy was edited to a lower class of tiers: its secret does not open in the other vault. The chain misses
/// the policy first; the vault alone is tested in hanzo-vault.
#[test]
fn limits_of_the_tier_bound_every_policy() {
    let broker = Broker::simulated();
    let mut wide = policy();
    wide.max_uses = 1000;
    broker.put("hanzo/dek/a", 1, &wide).unwrap();
    wide.max_uses = 1001;
    let refused = broker.put("hanzo/dek/b", 1, &wide).unwrap_err();
    assert_eq!(refused.code(), "vault.limit.uses");
    let refused = broker.set_policy("hanzo/dek/a", 1, &wide).unwrap_err();
    assert_eq!(refused.code(), "vault.limit.uses");
}

/// Every page of the store, decrypted: also what no table shows any more. AES-256-CBC, 4096-byte pages that end with a
/// 16-byte IV and a 64-byte MAC; the first page starts with a 16-byte salt (SQLCipher 4).
fn pages(config: &KbsConfig) -> Vec<u8> {
    use aws_lc_rs::cipher::{AES_256, DecryptingKey, DecryptionContext, UnboundCipherKey};
    let root = config.root.provider(&Surroundings::default()).load().unwrap();
    let key = root.derive(RootPurpose::Store).unwrap();
    let mut plain = Vec::new();
    for (n, page) in std::fs::read(&config.store).unwrap().chunks(4096).enumerate() {
        let start = if n == 0 { 16 } else { 0 };
        let mut iv: [u8; 16] = page[4016..4032].try_into().unwrap();
        let cipher = DecryptingKey::ecb(UnboundCipherKey::new(&AES_256, key.expose()).unwrap()).unwrap();
        let mut body = page[start..4016].to_vec();
        cipher.decrypt(&mut body, DecryptionContext::None).unwrap();
        for (block, sealed) in body.chunks_mut(16).zip(page[start..4016].chunks(16)) {
            block.iter_mut().zip(iv).for_each(|(b, i)| *b ^= i);
            iv = sealed.try_into().unwrap();
        }
        plain.extend(body);
    }
    plain
}

#[test]
fn nothing_of_a_destroyed_kek_or_secret_is_left_in_any_page() {
    let mut broker = Broker::simulated();
    for key in ["hanzo/dek/a", "hanzo/dek/b"] {
        broker.put(key, 1, &policy()).unwrap();
    }
    broker.stop();
    let config = broker.config.clone();
    let column = |sql: &str| -> Vec<Vec<u8>> {
        let root = config.root.provider(&Surroundings::default()).load().unwrap();
        let key = hex::encode(root.derive(RootPurpose::Store).unwrap().expose());
        let connection = hanzo_store::rusqlite::Connection::open(&config.store).unwrap();
        connection
            .execute_batch(&format!("PRAGMA key = \"x'{key}'\";"))
            .unwrap();
        let mut statement = connection.prepare(sql).unwrap();
        let rows = statement.query_map([], |row| row.get::<_, Vec<u8>>(0)).unwrap();
        rows.map(Result::unwrap).collect()
    };
    let holds = |what: &[u8]| pages(&config).windows(what.len()).any(|w| w == what);
    let first = column("SELECT wrapped FROM keks");
    assert!(first.len() == 1 && holds(&first[0]), "the search finds what is there");
    rotate_keks(&config, broker.mode, Some(&tenant()), |_| {}).unwrap();
    assert!(!holds(&first[0][1..]), "the KEK that a rotation ended");
    let mut all = column("SELECT wrapped FROM keks WHERE state = 'live'");
    all.extend(column("SELECT sealed_dek FROM keys"));
    assert!(all.len() == 3 && all.iter().all(|sealed| holds(sealed)));
    shred(&config, broker.mode, &Shredded::Tenant(tenant())).unwrap();
    for sealed in &all {
        assert!(!holds(&sealed[1..]));
    }
    let wal = config.store.with_extension("db-wal");
    assert!(!wal.exists(), "and no write-ahead log stays behind");
}

/// A root of another kind from the start, its passphrase on standard input, as a user who may not read its own process's
/// memory: what hardening forbids is not in the way.
#[test]
fn a_broker_starts_from_a_passphrase_on_a_descriptor_and_moves_to_another_kind() {
    use std::io::Write;
    use std::os::unix::process::CommandExt;
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("kbs");
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let cost = "cost = { memory_kib = 19456, passes = 2, lanes = 1 }";
    let table = write(
        "passphrase.toml",
        &format!("kind = \"passphrase-file\"\npath = \"root.json\"\npassphrase = {{ fd = 0 }}\n{cost}\n"),
    );
    let as_root = rustix::process::geteuid().is_root();
    if as_root {
        std::os::unix::fs::chown(dir.path(), Some(65_534), Some(65_534)).unwrap();
    }
    // Where that user can reach it.
    let program = dir.path().join("hanzo-kbs");
    std::fs::copy(BIN, &program).unwrap();
    let run = |arguments: &[&str], passphrase: &str| {
        let mut command = Command::new(&program);
        if as_root {
            command.uid(65_534).gid(65_534);
        }
        let mut child = command
            .args(arguments)
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let _ = child.stdin.take().unwrap().write_all(passphrase.as_bytes());
        child.wait_with_output().unwrap()
    };
    let dir_text = place.to_str().unwrap();
    let config = format!("{dir_text}/kbs.toml");
    let words = "correct horse battery\n";
    let made = run(&["init", "--dir", dir_text, "--root", &table], words);
    assert!(made.status.success(), "{made:?}");
    let checked = run(&["check", "--config", &config], words);
    assert!(checked.status.success(), "{checked:?}");
    let wrong = run(&["check", "--config", &config], "wrong horse battery\n");
    assert!(String::from_utf8(wrong.stderr).unwrap().contains("[root.passphrase]"));
    let target = write("file.toml", "kind = \"key-file\"\npath = \"moved.key\"\n");
    let moved = run(&["root", "move", "--config", &config, "--to", &target], words);
    assert!(moved.status.success(), "{moved:?}");
    let again = run(&["root", "move", "--config", &config, "--to", &target], words);
    assert!(String::from_utf8(again.stderr).unwrap().contains("[root.exists]"));
    let text = std::fs::read_to_string(&config).unwrap();
    let (head, _) = text.split_once("[root]").unwrap();
    std::fs::write(
        &config,
        format!("{head}[root]\nkind = \"key-file\"\npath = \"moved.key\"\n"),
    )
    .unwrap();
    let checked = run(&["check", "--config", &config], "");
    assert!(checked.status.success(), "{checked:?}");
}

fn run(arguments: &[&str]) -> Output {
    Command::new(BIN).args(arguments).output().unwrap()
}

#[test]
fn the_commands_rotate_destroy_and_split() {
    let mut broker = Broker::start(StoreMode::Production, false, |_| {});
    let mut real = policy();
    real.allow_simulated = false;
    broker.put("hanzo/dek/a", 1, &real).unwrap();
    broker.put("other/dek/b", 1, &of_other(real)).unwrap();
    broker.stop();
    let config = broker.made.config_path.to_str().unwrap().to_owned();
    let output = run(&["rotate-kek", "--config", &config, "--all", "--json"]);
    assert!(output.status.success(), "{output:?}");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["rotated"][1]["tenant"], "other");
    assert_eq!(report["rotated"][0]["moved"], 1);
    let output = run(&["rotate-kek", "--config", &config, "--tenant", "hanzo"]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("hanzo: KEK version 3, 1 secrets moved"), "{said}");
    assert_eq!(run(&["rotate-kek", "--config", &config]).status.code(), Some(2));

    let refused = run(&["shred", "--config", &config, "--tenant", "hanzo", "--confirm", "hanz"]);
    assert_eq!(refused.status.code(), Some(1));
    let done = run(&["shred", "--config", &config, "--tenant", "hanzo", "--confirm", "hanzo"]);
    let said = String::from_utf8(done.stdout).unwrap();
    assert!(said.contains("hanzo: 1 KEKs and 1 secrets destroyed"), "{said}");

    let status = run(&["root", "status", "--config", &config, "--json"]);
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(status["kind"], "key-file");
    let shares = broker.dir.path().join("shares");
    std::fs::create_dir(&shares).unwrap();
    let out = shares.to_str().unwrap();
    let split = run(&[
        "root",
        "export-shares",
        "--config",
        &config,
        "--out",
        out,
        "--threshold",
        "2",
        "--shares",
        "3",
    ]);
    assert!(split.status.success(), "{split:?}");

    // A broker whose root is now those shares opens the same store; two operators suffice, one does not.
    let text = std::fs::read_to_string(&config).unwrap();
    let (head, tail) = text.split_once("[root]").unwrap();
    let tail = tail
        .split_once("\n[")
        .map_or(String::new(), |(_, rest)| format!("[{rest}"));
    let list: Vec<_> = (1..=3)
        .map(|n| format!("{{ path = \"{out}/share-{n}.json\" }}"))
        .collect();
    let root = format!(
        "[root]\nkind = \"shamir\"\npath = \"{out}/set.json\"\nthreshold = 2\nshares = [{}]\n",
        list.join(", ")
    );
    std::fs::write(&config, format!("{head}{root}{tail}")).unwrap();
    std::fs::remove_file(shares.join("share-2.json")).unwrap();
    let output = run(&["check", "--config", &config]);
    assert!(output.status.success(), "{output:?}");
    std::fs::remove_file(shares.join("share-1.json")).unwrap();
    let output = run(&["check", "--config", &config]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("[root.shares.too_few]"), "{said}");
}

/// SIGKILL at many moments of a rotation, then one run to the end. It opens every secret, so its success is theirs.
#[test]
fn a_rotation_that_is_killed_again_and_again_ends_with_every_secret_readable() {
    const KEYS: u64 = 400;
    let mut broker = Broker::start(StoreMode::Production, false, |_| {});
    let mut real = policy();
    real.allow_simulated = false;
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let (owner, real, identity) = (broker.admin(), real.clone(), broker.made.identity.clone());
            let address = broker.address;
            std::thread::spawn(move || {
                harness::block_on(async {
                    for n in 0..KEYS / 4 {
                        let key = KeyId::new(&format!("hanzo/dek/w{writer}-{n}")).unwrap();
                        let dek = hanzo_pqc::Dek::generate().unwrap();
                        hanzo_kbs::admin::put_key(address, &identity, &owner, &key, 1, &dek, &real)
                            .await
                            .unwrap();
                    }
                })
            })
        })
        .collect();
    writers.into_iter().for_each(|w| w.join().unwrap());
    broker.stop();
    let config = broker.made.config_path.to_str().unwrap().to_owned();
    let arguments = ["rotate-kek", "--config", &config, "--tenant", "hanzo", "--json"];
    let report = || {
        let output = run(&arguments);
        assert!(output.status.success(), "{output:?}");
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        report["rotated"][0].clone()
    };
    // The head moves with each committed step: begun, batch by batch, ended. Killed at the first sight of one, a run leaves
    // a rotation behind for the next, unless this test was too slow to see it.
    let (mut killed, mut resumed) = (0, 0);
    for _ in 0..4 {
        // The newest decision of the file's lines: opening the store writes them anew.
        let head = || -> u64 {
            let text = std::fs::read_to_string(&broker.config.head_file).unwrap_or_default();
            let numbers = text.lines().filter_map(|line| line.split(' ').nth(2)?.parse().ok());
            numbers.max().unwrap_or(0)
        };
        let before = head();
        let mut child = Command::new(BIN)
            .args(arguments)
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        while head() == before && child.try_wait().unwrap().is_none() {
            std::thread::sleep(std::time::Duration::from_micros(200));
        }
        child.kill().unwrap();
        killed += usize::from(!child.wait().unwrap().success());
        resumed += usize::from(report()["resumed"] == true);
    }
    assert!(
        killed > 0 && resumed > 0,
        "killed {killed} times, taken up {resumed} times"
    );
    let last = report();
    eprintln!("killed {killed} times, taken up {resumed} times, then {last}");
    assert_eq!((&last["moved"], &last["resumed"]), (&KEYS.into(), &false.into()));
    assert!(run(&["check", "--config", &config]).status.success());
}

/// Another class of tiers is another vault: the secret moves with its policy, up and down.
#[test]
fn a_key_follows_its_policy_from_vault_to_vault() {
    let broker = Broker::simulated();
    let key = "hanzo/dek/m";
    broker.put(key, 1, &policy()).unwrap();
    let sealed = |broker: &Broker| Guest::new().attested(broker.address).ask(broker.address, key);
    assert_eq!(sealed(&broker).status, 200);
    for tier in [PrivacyTier::GpuCc, PrivacyTier::GpuTeeIo] {
        let mut higher = policy();
        higher.appraisal.minimum_tier = tier;
        broker.set_policy(key, 1, &higher).unwrap();
        assert_eq!(sealed(&broker).status, 403, "tier {tier}");
        // A tier has a bound of its own on releases.
        higher.max_uses = 101;
        let refused = broker.set_policy(key, 1, &higher).unwrap_err();
        assert_eq!(refused.code(), "vault.limit.uses");
    }
    broker.set_policy(key, 1, &policy()).unwrap();
    assert_eq!(sealed(&broker).status, 200);
}
