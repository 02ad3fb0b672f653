//! No key is where it should not be: database, write-ahead log, fences, backups, exports, logs, output, a dump of the
//! database server, a core.

#[path = "../../postgres/tests/support/cluster.rs"]
mod cluster;
#[path = "support/harness.rs"]
mod harness;
#[path = "support/process.rs"]
mod process;
#[path = "support/scanner.rs"]
mod scanner;

use std::fs::{self, File};
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use cluster::Cluster;
use hanzo_attestation::name::KeyId;
use hanzo_kbs::{FenceConfig, KbsConfig, StoreMode, admin, backup, harden_process, serve};
use hanzo_pqc::{Dek, aead, kdf};
use hanzo_root::Surroundings;
use hanzo_store::ColumnSealer;
use hanzo_vault::{KeyPolicy, Root, RootPurpose};
use harness::{Broker, Guest, policy};
use process::{Process, listening};
use rustix::process::Signal;
use scanner::Scanner;

const BIN: &str = env!("CARGO_BIN_EXE_hanzo-kbs");
const PLACE: &str = "HANZO_SEARCHED_BROKER";

/// Not a test: a broker of the simulated mode that says all there is to say.
#[test]
fn the_broker_that_is_searched() {
    let Some(config) = std::env::var_os(PLACE) else { return };
    harden_process().unwrap();
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(std::io::stderr)
        .init();
    let config = KbsConfig::load(Path::new(&config)).unwrap();
    let ready = |address| println!(r#"{{"listening":"{address}"}}"#);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime
        .block_on(serve(config, StoreMode::Simulated, std::future::pending(), ready))
        .unwrap();
}

/// A broker whose output and log are files.
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

fn logged(command: &mut Command, log: &Path) -> Served {
    let out = log.with_extension("out");
    let child = command
        .stdout(File::create(&out).unwrap())
        .stderr(File::create(log).unwrap())
        .spawn()
        .unwrap();
    let start = Instant::now();
    loop {
        let said = fs::read_to_string(&out).unwrap();
        if let Some(address) = said.lines().find_map(listening) {
            return Served { child, address };
        }
        assert!(start.elapsed() < Duration::from_secs(20), "not ready: {said}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn run(arguments: &[&str]) -> Vec<u8> {
    let output = Command::new(BIN).args(arguments).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    [output.stdout, output.stderr].concat()
}

fn put(at: SocketAddr, broker: &Broker, key: &str, policy: &KeyPolicy) -> Dek {
    let (key, dek, owner) = (KeyId::new(key).unwrap(), Dek::generate().unwrap(), broker.admin());
    let put = admin::put_key(at, &broker.made.identity, &owner, &key, 1, &dek, policy);
    harness::block_on(put).unwrap();
    dek
}

fn frame(parts: &[&[u8]]) -> Vec<u8> {
    parts
        .iter()
        .flat_map(|p| [&(p.len() as u32).to_be_bytes(), *p].concat())
        .collect()
}

/// What a store holds sealed: rows of `keks` (tenant, version, wrapped), and secrets of `identity` (name, sealed).
struct Sealed {
    keks: Vec<(String, u64, Vec<u8>)>,
    secrets: Vec<(String, Vec<u8>)>,
}

impl Sealed {
    fn in_file(config: &KbsConfig, root: &Root) -> Self {
        let key = hex::encode(root.derive(RootPurpose::Store).unwrap().expose());
        let connection = hanzo_store::rusqlite::Connection::open(&config.store).unwrap();
        connection
            .execute_batch(&format!("PRAGMA key = \"x'{key}'\";"))
            .unwrap();
        let mut keks = connection
            .prepare("SELECT tenant, kek_version, wrapped FROM keks WHERE state = 'live'")
            .unwrap();
        let keks = keks.query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)? as u64, row.get(2)?)));
        let keks = keks.unwrap().collect::<Result<_, _>>().unwrap();
        let mut secrets = connection.prepare("SELECT name, sealed_secret FROM identity").unwrap();
        let secrets = secrets.query_map([], |row| Ok((row.get(0)?, row.get(1)?)));
        Self {
            keks,
            secrets: secrets.unwrap().collect::<Result<_, _>>().unwrap(),
        }
    }

    fn in_database(cluster: &Cluster, database: &str) -> Self {
        let rows = |sql: &str| -> Vec<Vec<String>> {
            let text = cluster.sql(database, sql);
            text.lines()
                .map(|l| l.split('|').map(str::to_owned).collect())
                .collect()
        };
        let keks = rows("SELECT tenant, kek_version, encode(wrapped, 'hex') FROM keks WHERE state = 'live'");
        let keks = keks
            .into_iter()
            .map(|r| (r[0].clone(), r[1].parse().unwrap(), hex::decode(&r[2]).unwrap()))
            .collect();
        let secrets = rows("SELECT name, encode(sealed_secret, 'hex') FROM identity");
        let secrets = secrets
            .into_iter()
            .map(|r| (r[0].clone(), hex::decode(&r[1]).unwrap()))
            .collect();
        Self { keks, secrets }
    }

    /// Opens it all by hand, as the SPEC.md of hanzo-vault and hanzo-store say.
    fn open(&self, root: &Root, scanner: &mut Scanner) {
        let wrap = root.derive(RootPurpose::KekWrap).unwrap();
        for (tenant, version, wrapped) in &self.keks {
            let aad = frame(&[b"hanzo/kek-wrap/v1", tenant.as_bytes(), &version.to_be_bytes()]);
            let mut kek = wrapped[13..].to_vec();
            aead::open_in_place(wrap.expose(), wrapped[1..13].try_into().unwrap(), &aad, &mut kek).unwrap();
            scanner.add(&format!("KEK {tenant} {version}"), &kek);
        }
        let columns = ColumnSealer::new(&root.derive(RootPurpose::Store).unwrap()).unwrap();
        for (name, sealed) in &self.secrets {
            let opened = columns
                .open("identity", "sealed_secret", name.as_bytes(), 1, sealed)
                .unwrap();
            match name.as_str() {
                "token" => {
                    // ECPrivateKey of RFC 5915: version 1, then the scalar.
                    let start = opened.windows(5).position(|w| w == [2, 1, 1, 4, 32]).unwrap() + 5;
                    scanner.add("token key", &opened[start..start + 32]);
                }
                "signer" => {
                    for (part, half) in opened.chunks(32).enumerate() {
                        scanner.add(&format!("signer seed {part}"), half);
                    }
                    for purpose in ["hanzo/kbs-log-key/v1", "hanzo/kbs-lease/v1", "hanzo/kbs-fence/v1"] {
                        let mut derived = [0; 32];
                        kdf::hkdf_sha256(b"", &opened, purpose.as_bytes(), &mut derived).unwrap();
                        scanner.add(purpose, &derived);
                    }
                }
                _ => scanner.add(name, &opened),
            }
        }
    }
}

/// The root of a broker, and what is derived from it.
fn root_of(broker: &Broker, scanner: &mut Scanner) -> Root {
    let root = broker.config.root.provider(&Surroundings::default()).load().unwrap();
    scanner.add("root", root.expose());
    for purpose in RootPurpose::ALL {
        if purpose != RootPurpose::Commitment {
            scanner.add(&format!("{purpose:?}"), root.derive(purpose).unwrap().expose());
        }
    }
    root
}

fn must_have_seen(seen: &[String], names: &[&str]) {
    for name in names {
        assert!(seen.iter().any(|s| s == name), "{name} of {seen:?}");
    }
}

#[test]
fn no_key_stands_in_database_log_backup_or_output() {
    let mut broker = Broker::start(StoreMode::Production, false, |_| {});
    broker.stop();
    let dir = broker.dir.path().to_owned();
    let config_path = broker.made.config_path.clone();
    let config = config_path.to_str().unwrap();
    broker.config.fences = vec![FenceConfig::File {
        path: dir.join("second.head"),
    }];
    hanzo_kbs::accept_head(&broker.config, broker.mode).unwrap();
    fs::write(&config_path, toml::to_string(&broker.config).unwrap()).unwrap();
    let mut real = policy();
    real.allow_simulated = false;
    let mut serve = Command::new(BIN);
    serve.args(["serve", "--config", config]).env("HANZO_LOG", "trace");
    let mut served = logged(&mut serve, &dir.join("serve.log"));
    let mut scanner = Scanner::new();
    for n in 0..5 {
        let dek = put(served.address, &broker, &format!("hanzo/dek/k{n}"), &real);
        scanner.add(&format!("DEK {n}"), dek.expose());
    }
    let root = root_of(&broker, &mut scanner);

    // While it runs: the write-ahead log and its index are there, and so is a backup taken meanwhile.
    let online = dir.join("online.db");
    let said = run(&["backup", "--config", config, "--to", online.to_str().unwrap()]);
    fs::write(dir.join("backup.out"), said).unwrap();
    let own = ["kbs.key", "admin.key"];
    let seen = scanner.must_find_nothing(&dir, &own);
    must_have_seen(
        &seen,
        &[
            "kbs.db",
            "kbs.db-wal",
            "kbs.db-shm",
            "kbs.head",
            "second.head",
            "online.db",
        ],
    );
    must_have_seen(
        &seen,
        &[
            "online.db.manifest.json",
            "serve.log",
            "serve.out",
            "backup.out",
            "identity.json",
        ],
    );
    assert_eq!(scanner.find(&fs::read(dir.join("kbs/kbs.key")).unwrap()), ["root"]);
    served.child.kill().unwrap();
    served.child.wait().unwrap();

    // At rest, before and after a rotation, as files, copies and exports.
    Sealed::in_file(&broker.config, &root).open(&root, &mut scanner);
    scanner.must_find_nothing(&dir, &own);
    let said = run(&["rotate-kek", "--config", config, "--all", "--json"]);
    fs::write(dir.join("rotate.out"), said).unwrap();
    let log = dir.join("export");
    let said = run(&["audit", "export", "--config", config, "--to", log.to_str().unwrap()]);
    fs::write(dir.join("export.out"), said).unwrap();
    Sealed::in_file(&broker.config, &root).open(&root, &mut scanner);
    fs::copy(&broker.config.store, dir.join("closed.db")).unwrap();
    let seen = scanner.must_find_nothing(&dir, &own);
    must_have_seen(
        &seen,
        &["closed.db", "log.jsonl", "checkpoint", "rotate.out", "export.out"],
    );
    // DEKs, root and what is derived from it; twice: KEK, import, token, both halves of the signer's seed and three keys of it.
    assert_eq!(scanner.len(), 5 + RootPurpose::ALL.len() + 2 * 8);
    scanner.must_find_what_is_planted();
}

#[test]
fn no_key_stands_in_what_a_broker_says_while_it_releases() {
    let mut broker = Broker::simulated();
    broker.stop();
    let dir = broker.dir.path().to_owned();
    let arguments = ["the_broker_that_is_searched", "--exact", "--nocapture"];
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(arguments).env(PLACE, &broker.made.config_path);
    let served = logged(&mut command, &dir.join("serve.log"));
    let mut scanner = Scanner::new();
    for n in 0..3 {
        let key = format!("hanzo/dek/k{n}");
        let dek = put(served.address, &broker, &key, &policy());
        let guest = Guest::new().attested(served.address);
        let reply = guest.ask(served.address, &key);
        assert_eq!(reply.status, 200, "{}", reply.text());
        let opened = guest.open(&reply.body, &broker, &key).unwrap();
        assert_eq!(opened.dek.expose(), dek.expose());
        scanner.add(&key, dek.expose());
        // Whoever has a session's cookie asks in its name: logs do not hold it either.
        let cookie = guest.cookie.split_once('=').unwrap().1;
        scanner.add(&format!("session {n}"), cookie.as_bytes());
        assert_eq!(guest.ask(served.address, &key).status, 403);
    }
    let root = root_of(&broker, &mut scanner);
    Sealed::in_file(&broker.config, &root).open(&root, &mut scanner);
    let log = fs::read_to_string(dir.join("serve.log")).unwrap();
    assert!(log.contains("grant"), "it said something: {log}");
    let seen = scanner.must_find_nothing(&dir, &["kbs.key", "admin.key"]);
    must_have_seen(&seen, &["serve.log", "kbs.db-wal", "kbs.db"]);
    backup(&broker.config, broker.mode, &dir.join("online.db")).unwrap();
    drop(served);
    scanner.must_find_nothing(&dir, &["kbs.key", "admin.key"]);
    scanner.must_find_what_is_planted();
}

#[test]
fn no_key_stands_in_the_files_of_a_database_server_or_its_dumps() {
    let Some(cluster) = Cluster::start(&[]) else { return };
    let url = cluster.database("kbs");
    let broker = Broker::start_at(StoreMode::Simulated, true, Some(&url), |_| {});
    let mut scanner = Scanner::new();
    let dek = put(broker.address, &broker, "hanzo/dek/m", &policy());
    scanner.add("DEK", dek.expose());
    let guest = Guest::new().attested(broker.address);
    assert_eq!(guest.ask(broker.address, "hanzo/dek/m").status, 200);
    let root = root_of(&broker, &mut scanner);
    Sealed::in_database(&cluster, "kbs").open(&root, &mut scanner);
    cluster.sql("kbs", "CHECKPOINT");
    let dump = cluster
        .program("pg_dump")
        .args(["-U", "kbs", "kbs", "-h"])
        .arg(cluster.dir.path())
        .output()
        .unwrap();
    assert!(dump.status.success() && String::from_utf8_lossy(&dump.stdout).contains("put-key"));
    assert_eq!(scanner.find(&dump.stdout), [""; 0]);
    let seen = scanner.must_find_nothing(cluster.dir.path(), &[]);
    assert!(seen.len() > 500, "tables and write-ahead log: {} files", seen.len());
    // The key of the replicas' challenges is one of those derived from the root.
    assert_eq!(scanner.len(), 1 + RootPurpose::ALL.len() + 8);
    scanner.must_find_what_is_planted();
}

/// A program with as much room for a core as there is, as a user without rights where this test has some.
fn as_nobody(program: &str, arguments: &[&str], scratch: &Path) -> Command {
    let script = match rustix::process::getuid().is_root() {
        true => "ulimit -c unlimited; exec setpriv --reuid 65534 --regid 65534 --clear-groups \"$0\" \"$@\"",
        false => "ulimit -c \"$(ulimit -H -c)\"; exec \"$0\" \"$@\"",
    };
    let mut command = Command::new("sh");
    command.args(["-c", script, program]).args(arguments);
    command.current_dir(scratch).stdin(Stdio::null());
    command
}

/// What others of a process's user get of it: its environment, its memory, a core through a debugger.
fn readable(pid: u32, scratch: &Path) -> [bool; 3] {
    let shell = |script: &str| {
        let mut command = as_nobody("sh", &["-c", script], scratch);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.status().unwrap().success()
    };
    [
        shell(&format!("cat /proc/{pid}/environ")),
        shell(&format!("exec 3< /proc/{pid}/mem")),
        shell(&format!("gcore -o dump {pid} && test -e dump.{pid} && rm dump.{pid}")),
    ]
}

#[test]
fn a_broker_cannot_be_dumped() {
    let mut broker = Broker::start(StoreMode::Production, false, |_| {});
    broker.stop();
    let dir = broker.dir.path();
    let scratch = dir.join("scratch");
    fs::create_dir(&scratch).unwrap();
    // Where that user can run it.
    let program = dir.join("hanzo-kbs");
    if fs::hard_link(BIN, &program).is_err() {
        fs::copy(BIN, &program).unwrap();
    }
    if rustix::process::getuid().is_root() {
        let owned = Command::new("chown").args(["-R", "65534:65534"]).arg(dir).status();
        assert!(owned.unwrap().success());
    }
    let program = program.to_str().unwrap();
    let config = broker.made.config_path.to_str().unwrap();
    let cores = || fs::read_dir(&scratch).unwrap().count();

    // What the same looks like for a program that does not mind.
    let mut control = as_nobody("sleep", &["60"], &scratch).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(200));
    let open = readable(control.id(), &scratch);
    let owner = fs::metadata(format!("/proc/{}/mem", control.id())).unwrap().uid();
    let pid = rustix::process::Pid::from_child(&control);
    rustix::process::kill_process(pid, Signal::SEGV).unwrap();
    let dumps = control.wait().unwrap().core_dumped();
    for (shown, what) in open.iter().zip(["/proc/PID/environ", "/proc/PID/mem", "gcore"]) {
        if !shown {
            let _ = writeln!(
                std::io::stderr(),
                "NOT SHOWN: {what} reads no other program here either"
            );
        }
    }
    if !dumps {
        let _ = writeln!(std::io::stderr(), "NOT SHOWN: no program leaves a core here");
    }
    fs::remove_dir_all(&scratch).unwrap();
    fs::create_dir(&scratch).unwrap();
    if rustix::process::getuid().is_root() {
        std::os::unix::fs::chown(&scratch, Some(65534), Some(65534)).unwrap();
    }

    for signal in [Signal::SEGV, Signal::ABORT] {
        let mut command = as_nobody(program, &["serve", "--config", config], &scratch);
        let mut served = Process::of(command.env("HANZO_LOG", "off"));
        let pid = served.child.id();
        let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
        let core = limits.lines().find(|l| l.starts_with("Max core file size")).unwrap();
        assert_eq!(core.split_whitespace().collect::<Vec<_>>()[4..6], ["0", "0"], "{core}");
        // The kernel gives what can be dumped to its user, and what cannot to root.
        assert_eq!(fs::metadata(format!("/proc/{pid}/mem")).unwrap().uid(), 0);
        assert_ne!(
            owner, 0,
            "this test runs as another user than root's, or as root's nobody"
        );
        assert_eq!(readable(pid, &scratch), [false; 3]);
        // Rust's own handler of a segmentation fault puts the default back and expects the fault to come again.
        let start = Instant::now();
        let status = loop {
            served.signal(signal);
            std::thread::sleep(Duration::from_millis(50));
            if let Some(status) = served.child.try_wait().unwrap() {
                break status;
            }
            assert!(start.elapsed() < Duration::from_secs(10), "it does not end");
        };
        assert_eq!(status.signal(), Some(signal.as_raw()));
        assert!(!status.core_dumped() && cores() == 0, "{status:?}");
    }
}
