//! A guest's receipts and their log, whose process is killed at random moments under load.
//!
//! Fifteen kills; `HANZO_CRASH_ROUNDS=500 cargo test -p hanzo-receipts --test crash -- --nocapture` runs five hundred and says
//! what was seen.

#[path = "support/fixture.rs"]
mod fixture;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use fixture::*;
use hanzo_attestation::Digest384;
use hanzo_log::tile::{self, Kind, decode_entries};
use hanzo_log::{SignedCheckpoint, tree};
use hanzo_receipts::*;
use hanzo_verifier::receipt::{Leaf, verify_signed};

const PLACE: &str = "HANZO_CRASH_RECEIPTS";
const BOOT: &str = "HANZO_CRASH_BOOT";

fn unique(boot: u32, writer: u32, n: u32) -> FreshBytes {
    let mut fresh = fresh(1);
    for (to, from) in fresh.id.chunks_mut(4).zip([boot, writer, n, 0]) {
        to.copy_from_slice(&from.to_be_bytes());
    }
    fresh
}

/// Not a test: the process that is killed. It says what it gave out, after it could.
#[test]
fn the_guest_that_is_killed() {
    let (Some(place), Ok(boot)) = (std::env::var_os(PLACE), std::env::var(BOOT)) else {
        return;
    };
    let boot: u32 = boot.parse().unwrap();
    let public = public(&store(&PathBuf::from(place)));
    let log = Arc::new(under(&public, boot as u8));
    let say = |line: String| {
        let mut out = std::io::stdout().lock();
        writeln!(out, "GAVE {line} END").and_then(|()| out.flush()).is_ok()
    };
    std::thread::scope(|scope| {
        // More than one of them is in nearly every transaction.
        for writer in 0..8 {
            let (log, public) = (&log, &public);
            scope.spawn(move || {
                for n in 0.. {
                    let account = ["acme", "beta", "gamma"].get(writer as usize % 4).copied();
                    let receipt = charged(log, unique(boot, writer, n), None, account).unwrap();
                    let r = &receipt.receipt;
                    let mut told = say(format!("receipt {} {} {}", r.id, r.seq, r.keyset_digest));
                    if n % 8 == 0 {
                        let head = SignedCheckpoint::parse(public.checkpoint().unwrap().as_bytes()).unwrap();
                        told &= say(format!("head {} {} -", head.claimed().size, head.claimed().root));
                    }
                    if !told {
                        return;
                    }
                }
            });
        }
    });
}

/// Reads the whole log as an auditor does; ids and numbers of its receipts, by keyset.
fn audit(public: &PublicLog) -> BTreeMap<Digest384, Vec<(ReceiptId, u64)>> {
    let size = public.head().unwrap().size;
    let (mut keysets, mut last) = (BTreeMap::new(), BTreeMap::new());
    let mut all: BTreeMap<Digest384, Vec<(ReceiptId, u64)>> = BTreeMap::new();
    let mut hashes = Vec::new();
    for tile in tile::of_level(Kind::Entries, size) {
        let bytes = public.tile(&tile).unwrap().unwrap();
        for entry in decode_entries(&bytes, tile.width).unwrap() {
            match Leaf::parse(entry).unwrap() {
                Leaf::Keyset(leaf) => {
                    assert_eq!(leaf.previous.size, hashes.len() as u64);
                    assert_eq!(leaf.previous.root, tree::root(&hashes));
                    all.entry(leaf.keyset_digest).or_default();
                    assert!(
                        keysets.insert(leaf.keyset_digest, leaf.keyset).is_none(),
                        "a keyset twice"
                    );
                }
                Leaf::Order(_) => panic!("nobody ordered anything"),
                Leaf::Receipt(signed) => {
                    let digest = signed.receipt.keyset_digest;
                    let verified = verify_signed(&signed, &keysets[&digest]).unwrap();
                    match last.get(&digest) {
                        Some(before) => verified.follows(before).unwrap(),
                        None => assert_eq!(signed.receipt.seq, 0, "a gap at the start"),
                    }
                    all.entry(digest)
                        .or_default()
                        .push((signed.receipt.id, signed.receipt.seq));
                    last.insert(digest, verified);
                }
            }
            hashes.push(tree::leaf_hash(&[entry]));
        }
    }
    assert_eq!(tree::root(&hashes), public.head().unwrap().root);
    all
}

#[test]
fn a_killed_guest_leaves_a_log_without_gap_fork_or_doubled_number() {
    let rounds: u32 = std::env::var("HANZO_CRASH_ROUNDS").map_or(15, |n| n.parse().unwrap());
    let mut dir = tempfile::tempdir().unwrap();
    let mut random = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64 | 1;
    eprintln!("seed {random}");
    let (mut given, mut heads, mut kept) = (0, 0, 0);
    let start = Instant::now();
    for round in 0..rounds {
        // A keyset for each boot; a store for each 25 boots, because every check reads the whole log.
        if round % 25 == 0 {
            dir = tempfile::tempdir().unwrap();
            drop(store(dir.path()));
        }
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["the_guest_that_is_killed", "--exact", "--nocapture"])
            .env(PLACE, dir.path())
            .env(BOOT, (round % 25 + 1).to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (first, is_first) = std::sync::mpsc::channel();
        let reader = std::thread::spawn(move || {
            // The harness's own words come before the first. A line that was cut off was not said.
            let mut said = Vec::new();
            for line in lines.map_while(Result::ok) {
                let told = line.split_once("GAVE ").and_then(|(_, told)| told.strip_suffix(" END"));
                said.extend(told.map(str::to_owned));
                if !said.is_empty() {
                    let _ = first.send(());
                }
            }
            said
        });
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        // Some die while they boot, most under load.
        if !round.is_multiple_of(4) {
            let _ = is_first.recv_timeout(Duration::from_secs(20));
        }
        std::thread::sleep(Duration::from_millis(random % 160));
        // SIGKILL: no handler runs, nothing is flushed.
        child.kill().unwrap();
        child.wait().unwrap();
        let said = reader.join().unwrap();

        let public = public(&store(dir.path()));
        let all = audit(&public);
        let known: BTreeSet<(String, String, String)> = all
            .iter()
            .flat_map(|(k, v)| {
                v.iter()
                    .map(move |(id, seq)| (id.to_string(), seq.to_string(), k.to_string()))
            })
            .collect();
        for line in &said {
            let words: Vec<&str> = line.split(' ').collect();
            let word = |n: usize| words[n].to_owned();
            if words[0] == "head" {
                let then = public.head_at(words[1].parse().unwrap()).unwrap().unwrap();
                assert_eq!(
                    then.root.to_string(),
                    words[2],
                    "round {round}: a head that was shown is not the log's"
                );
                heads += 1;
            } else {
                let receipt = (word(1), word(2), word(3));
                assert!(
                    known.contains(&receipt),
                    "round {round}: {line} left the guest and is lost"
                );
                given += 1;
            }
        }
        kept = all.values().map(Vec::len).sum();
    }
    eprintln!(
        "{rounds} kills in {:?}: {given} given out, {heads} heads shown, {kept} in the last store",
        start.elapsed()
    );
    assert!(given >= rounds / 2, "the guests answered: {given}");
}
