//! A writer is killed at random moments; what it acknowledged is there, whole.
//!
//! `HANZO_CRASH_ROUNDS=1000 cargo test -p hanzo-store --test crash` runs all thousand.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hanzo_pqc::{Dek, kdf};
use hanzo_store::{Migration, Store, StoreError, StoreMode, StoreSchema};

const SCHEMA: StoreSchema = StoreSchema {
    application_id: 0x6861_6e04,
    migrations: &[Migration {
        sqlite: "CREATE TABLE chain (seq INTEGER PRIMARY KEY, link BLOB NOT NULL, who TEXT NOT NULL) STRICT;
                 CREATE TABLE total (id INTEGER PRIMARY KEY, n INTEGER NOT NULL) STRICT; INSERT INTO total VALUES (1, 0);",
        postgres: "",
    }],
};
const PLACE: &str = "HANZO_CRASH_WRITER";
const KEY: [u8; 32] = [9; 32];

fn open(path: &Path) -> Store {
    Store::sqlcipher(path, &Dek::from_slice(&KEY).unwrap(), SCHEMA, StoreMode::Production).unwrap()
}

fn link(previous: &[u8], who: &str) -> [u8; 32] {
    let mut link = [0; 32];
    kdf::hkdf_sha256(previous, who.as_bytes(), b"crash test", &mut link).unwrap();
    link
}

/// A link of the chain and the total, in one transaction, as the broker writes decisions.
fn append(store: &Store, who: &str) -> Result<(), StoreError> {
    store.write(|tx| {
        let last = tx.query_opt("SELECT seq, link FROM chain ORDER BY seq DESC LIMIT 1", &[])?;
        let (seq, previous) = match &last {
            Some(row) => (row.integer(0)?, row.blob(1)?),
            None => (0, &[][..]),
        };
        tx.execute(
            "INSERT INTO chain (seq, link, who) VALUES (?1, ?2, ?3)",
            &[(seq + 1).into(), link(previous, who).into(), who.into()],
        )?;
        tx.execute("UPDATE total SET n = n + 1", &[])?;
        Ok(())
    })
}

/// Replays the chain; who is in it.
fn replay(store: &Store) -> Vec<String> {
    store
        .read(|tx| {
            let mut previous = Vec::new();
            let mut all = Vec::new();
            for (n, row) in tx
                .query("SELECT seq, link, who FROM chain ORDER BY seq", &[])?
                .iter()
                .enumerate()
            {
                assert_eq!(row.integer(0)?, n as i64 + 1, "a gap");
                assert_eq!(row.blob(1)?, link(&previous, row.text(2)?), "a broken link");
                previous = row.blob(1)?.to_vec();
                all.push(row.text(2)?.to_owned());
            }
            assert_eq!(
                tx.query_one("SELECT n FROM total", &[])?.integer(0)?,
                all.len() as i64,
                "torn"
            );
            Ok::<_, StoreError>(all)
        })
        .unwrap()
}

/// Not a test: the process that is killed. It says what was acknowledged.
#[test]
fn the_writer_that_is_killed() {
    let Some(place) = std::env::var_os(PLACE) else { return };
    let store = Arc::new(open(&PathBuf::from(place)));
    let round = std::process::id();
    let writers: Vec<_> = (0..4)
        .map(|w| {
            let store = Arc::clone(&store);
            std::thread::spawn(move || {
                for n in 0.. {
                    let who = format!("{round}-{w}-{n}");
                    append(&store, &who).unwrap();
                    let mut out = std::io::stdout().lock();
                    if writeln!(out, "ACK {who} END").and_then(|()| out.flush()).is_err() {
                        return;
                    }
                }
            })
        })
        .collect();
    writers.into_iter().for_each(|w| w.join().unwrap());
}

#[test]
fn every_acknowledged_write_outlives_kill_9() {
    let rounds: u64 = std::env::var("HANZO_CRASH_ROUNDS").map_or(20, |n| n.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s.db");
    drop(open(&path));
    let mut random = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64 | 1;
    eprintln!("seed {random}");
    let mut acknowledged: u64 = 0;
    let mut known = 0;
    let start = Instant::now();
    for round in 0..rounds {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["the_writer_that_is_killed", "--exact", "--nocapture"])
            .env(PLACE, &path)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let reader = std::thread::spawn(move || {
            // The harness's own words come before the first. A line that was cut off was not said.
            let said = lines.map_while(Result::ok);
            said.filter_map(|l| Some(l.split_once("ACK ")?.1.strip_suffix(" END")?.to_owned()))
                .collect::<Vec<_>>()
        });
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        std::thread::sleep(Duration::from_millis(20 + random % 150));
        // SIGKILL: no handler runs, nothing is flushed.
        child.kill().unwrap();
        child.wait().unwrap();
        let said = reader.join().unwrap();
        let store = open(&path);
        let all = replay(&store);
        let new: std::collections::BTreeSet<&String> = all.iter().skip(known).collect();
        for who in &said {
            assert!(new.contains(who), "round {round}: {who} was acknowledged and is lost");
        }
        acknowledged += said.len() as u64;
        known = all.len();
    }
    eprintln!(
        "{rounds} kills in {:?}: {acknowledged} acknowledged, {known} kept",
        start.elapsed()
    );
    assert!(acknowledged > rounds / 2, "the writers wrote: {acknowledged}");
    assert!(known as u64 >= acknowledged);
}
