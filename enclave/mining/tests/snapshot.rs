//! A store that goes on from somebody else's state: whole or not at all, also when its process is killed in the middle.
//!
//! `HANZO_CRASH_ROUNDS=200 cargo test --workspace --test snapshot` kills two hundred times.
#![allow(clippy::result_large_err, reason = "tests stop at the first surprise")]

#[path = "../../chain/types/tests/support/light.rs"]
mod light;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hanzo_chain_types::{Assembly, LightClient, Snapshot};
use hanzo_ledger::*;
use hanzo_mining::{MiningError, MiningLedger};
use hanzo_pqc::Dek;
use light::{Told, certify, set, told};

const PLACE: &str = "HANZO_SNAPSHOT_STORES";

fn open(place: &Path, genesis: &Genesis) -> Result<MiningLedger, MiningError> {
    let key = Dek::from_slice(&[9; 32]).unwrap();
    MiningLedger::open(&place.join("ledger.db"), &key, genesis.clone())
}

/// A store that applied every block, with the certificates of the last two epochs.
fn whole(place: &Path, told: &Told) -> MiningLedger {
    let ledger = open(place, &told.genesis()).unwrap();
    for block in &told.w.blocks {
        ledger.submit(block.clone()).unwrap();
        if block.header == told.handover.certificate.header {
            ledger.certify(&told.handover.certificate).unwrap();
        }
    }
    ledger.certify(&told.certificate).unwrap();
    ledger
}

/// What somebody gets of it who knows the genesis.
fn fetched(from: &MiningLedger, told: &Told) -> Snapshot {
    let mut client = LightClient::of_genesis(&told.genesis()).unwrap();
    client.follow(&from.handover(1).unwrap().unwrap()).unwrap();
    let mut assembly = Assembly::begin(from.offer(0).unwrap().unwrap(), &client).unwrap();
    while let Some(part) = assembly.next() {
        assembly
            .take(part, &from.part(&assembly.plan(), part).unwrap().unwrap())
            .unwrap();
    }
    assembly.finish(told.genesis()).unwrap()
}

#[test]
fn a_store_goes_on_from_the_end_of_an_epoch_and_says_what_it_does_not_have() {
    let told = told();
    let dir = tempfile::tempdir().unwrap();
    let places = ["whole", "late", "old", "foreign"].map(|name| dir.path().join(name));
    places.iter().for_each(|place| std::fs::create_dir(place).unwrap());
    let from = whole(&places[0], &told);
    let blocks = &told.w.blocks;
    let last = blocks.last().unwrap().header.height;
    let epoch_blocks = told.genesis().params.epoch_blocks;
    let base = last / epoch_blocks * epoch_blocks - 1;
    assert!(base > 2 && base < last);
    // Nothing above what is there.
    assert!(from.offer(base).unwrap().is_none() && from.offer(base - 1).unwrap().is_some());
    assert!(from.part(&blocks[0].header.id(), 0).unwrap().is_none());

    let late = open(&places[1], &told.genesis()).unwrap();
    late.submit(blocks[0].clone()).unwrap();
    late.install(fetched(&from, &told)).unwrap();
    late.keep_handovers(&[told.handover.clone()]).unwrap();
    let holds = |late: &MiningLedger, height: u64| {
        late.read(|state| {
            let expected = &blocks[height as usize - 1].header;
            assert_eq!((state.head().height, state.root()), (height, expected.state_root));
            assert_eq!(state.tip(), expected.id());
        });
        assert_eq!(late.base(), Some(base));
        // What it applied before is still here, and so is what comes after; what is between is named.
        assert_eq!(late.block(1).unwrap().as_ref(), blocks.first());
        assert_eq!(late.block(2).unwrap(), None);
        let absent = late.absent(2).unwrap();
        assert!(
            matches!(absent, MiningError::Pruned { height: 2, base: b } if b == base),
            "{absent}"
        );
        assert!(late.absent(base + 1).is_none() && late.absent(0).is_none());
        assert!(matches!(late.replay(), Err(MiningError::Pruned { .. })));
        assert_eq!(late.handover(1).unwrap(), from.handover(1).unwrap());
    };
    holds(&late, base);
    drop(late);
    let late = open(&places[1], &told.genesis()).unwrap();
    holds(&late, base);
    // The next block, the snapshot's own again, and one that never was here.
    late.submit(blocks[base as usize].clone()).unwrap();
    holds(&late, base + 1);
    let again = late.submit(blocks[base as usize - 1].clone()).unwrap();
    assert!(again.again);
    let missing = late.submit(blocks[1].clone()).unwrap_err();
    assert_eq!(missing.code(), "mining.pruned");
    late.certify(&told.certificate).unwrap();
    drop(late);
    let late = open(&places[1], &told.genesis()).unwrap();
    holds(&late, last);
    // It hands out states itself: the newest, until an epoch has ended.
    let offer = late.offer(base).unwrap().unwrap();
    assert_eq!(offer.header().height, last);
    assert!(from.offer(last).unwrap().is_none());

    // A snapshot that is not ahead, and one of another chain.
    let behind = late.install(fetched(&from, &told)).unwrap_err();
    assert!(
        matches!(behind, MiningError::Behind { newest, got } if (newest, got) == (last, base)),
        "{behind}"
    );
    let mut other = told.genesis();
    other.time_ms += 1;
    let foreign = open(&places[3], &other).unwrap();
    let refused = foreign.install(fetched(&from, &told)).unwrap_err();
    assert_eq!(refused.code(), "mining.genesis.foreign");
    assert_eq!(foreign.read(|state| state.head().height), 0);
}

#[test]
fn a_changed_store_with_a_base_is_not_opened() {
    let told = told();
    let dir = tempfile::tempdir().unwrap();
    let places = ["whole", "late"].map(|name| dir.path().join(name));
    places.iter().for_each(|place| std::fs::create_dir(place).unwrap());
    let from = whole(&places[0], &told);
    let late = open(&places[1], &told.genesis()).unwrap();
    late.install(fetched(&from, &told)).unwrap();
    drop(late);
    let key = Dek::from_slice(&[9; 32]).unwrap();
    let change = |sql: &str| {
        let db = hanzo_store::EncryptedDb::open(&places[1].join("ledger.db"), &key, hanzo_mining::SCHEMA).unwrap();
        db.write(|tx| tx.execute_batch(sql).map_err(hanzo_store::StoreError::from))
    };
    assert!(change("DELETE FROM bases").is_err() && change("UPDATE bases SET height = 1").is_err());
    change("DELETE FROM entries WHERE key = (SELECT min(key) FROM entries)").unwrap();
    let refused = open(&places[1], &told.genesis()).map(|_| ()).unwrap_err();
    assert!(matches!(refused, MiningError::Damaged { .. }), "{refused}");
}

/// Not a test: the process that is killed. It says which stores went on, after they did.
#[test]
fn the_store_that_is_killed() {
    let Some(place) = std::env::var_os(PLACE) else { return };
    let (place, told) = (std::path::PathBuf::from(place), told());
    let from = whole(&place.join("whole"), &told);
    for n in 0..10_000 {
        let own = place.join(n.to_string());
        std::fs::create_dir(&own).unwrap();
        let late = open(&own, &told.genesis()).unwrap();
        late.install(fetched(&from, &told)).unwrap();
        let mut out = std::io::stdout().lock();
        if writeln!(out, "HAS {n} END").and_then(|()| out.flush()).is_err() {
            return;
        }
    }
}

#[test]
fn a_killed_store_has_the_state_before_or_the_state_after() {
    let rounds: u32 = std::env::var("HANZO_CRASH_ROUNDS").map_or(2, |n| n.parse().unwrap());
    let told = told();
    let mut random = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64 | 1;
    for round in 0..rounds {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("whole")).unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["the_store_that_is_killed", "--exact", "--nocapture"])
            .env(PLACE, dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (first, is_first) = std::sync::mpsc::channel();
        let reader = std::thread::spawn(move || {
            let said = lines.map_while(Result::ok).filter_map(|line| {
                let told = line.split_once("HAS ").and_then(|(_, told)| told.strip_suffix(" END"));
                let _ = first.send(());
                told.map(str::to_owned)
            });
            said.collect::<Vec<_>>()
        });
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let _ = is_first.recv_timeout(Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(random % 60));
        // SIGKILL: no handler runs, nothing is flushed.
        child.kill().unwrap();
        child.wait().unwrap();
        let said = reader.join().unwrap();
        for store in std::fs::read_dir(dir.path()).unwrap() {
            let store = store.unwrap();
            let name = store.file_name().into_string().unwrap();
            // Killed before there was a store at all.
            if name == "whole" || !store.path().join("ledger.db").exists() {
                continue;
            }
            // Opening counts all the money and holds the entries against the root of the state before, or of the snapshot's block.
            let ledger = open(&store.path(), &told.genesis()).unwrap();
            let height = ledger.read(|state| state.head().height);
            let after = ledger.base() == Some(height) && height > 0;
            assert!(
                after || (height == 0 && ledger.base().is_none()),
                "round {round}: {name}"
            );
            assert!(after || !said.contains(&name), "round {round}: {name} was lost");
        }
    }
}

#[test]
fn an_offer_needs_a_certificate_of_its_block_or_one_after() {
    let told = told();
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path(), &told.genesis()).unwrap();
    for block in &told.w.blocks[..5] {
        ledger.submit(block.clone()).unwrap();
    }
    assert!(ledger.offer(0).unwrap().is_none());
    let header = told.w.blocks[4].header;
    let certificate = certify(&ledger.read(|state| set(state, 0)), header, 3, &told.keys);
    ledger.certify(&certificate).unwrap();
    let offer = ledger.offer(0).unwrap().unwrap();
    assert_eq!((*offer.header(), offer.certificate), (header, certificate));
}

#[test]
fn parts_are_handed_out_by_who_was_never_asked_for_an_offer_and_by_their_plan_alone() {
    let told = told();
    let dir = tempfile::tempdir().unwrap();
    let places = ["asked", "other"].map(|name| dir.path().join(name));
    places.iter().for_each(|place| std::fs::create_dir(place).unwrap());
    let (asked, other) = (whole(&places[0], &told), whole(&places[1], &told));
    let plan = asked.offer(0).unwrap().unwrap().plan;
    let first = other.part(&plan.digest(), 0).unwrap();
    assert!(first.is_some() && first == asked.part(&plan.digest(), 0).unwrap());
    let none = plan.parts().len() as u16;
    assert_eq!(other.part(&plan.digest(), none).unwrap(), None);
    // The same state in other parts has another name.
    let header = *other.offer(0).unwrap().unwrap().header();
    let upto = dir.path().join("upto");
    std::fs::create_dir(&upto).unwrap();
    let upto = open(&upto, &told.genesis()).unwrap();
    for block in &told.w.blocks[..header.height as usize] {
        upto.submit(block.clone()).unwrap();
    }
    let cut = upto.read(State::clone).cut(1).unwrap();
    assert_eq!(cut.plan().verify(&header.state_root), Ok(()));
    assert_eq!(other.part(&cut.digest(), 0).unwrap(), None);
}

#[test]
fn a_state_from_before_a_snapshot_is_not_offered_with_headers_that_are_not_here() {
    let told = told();
    let dir = tempfile::tempdir().unwrap();
    let places = ["whole", "late"].map(|name| dir.path().join(name));
    places.iter().for_each(|place| std::fs::create_dir(place).unwrap());
    let from = whole(&places[0], &told);
    let late = open(&places[1], &told.genesis()).unwrap();
    // Handed out from here on: the state after the last block of the first epoch.
    let epoch_blocks = told.genesis().params.epoch_blocks as usize;
    for block in &told.w.blocks[..epoch_blocks] {
        late.submit(block.clone()).unwrap();
    }
    assert_eq!(late.offer(0).unwrap(), None, "no certificate yet");
    let snapshot = fetched(&from, &told);
    let base = snapshot.header().height as usize;
    assert!(base > epoch_blocks + 1);
    late.install(snapshot).unwrap();
    for block in &told.w.blocks[base..] {
        late.submit(block.clone()).unwrap();
    }
    late.certify(&told.certificate).unwrap();
    // The certificate is near enough; blocks between are not here.
    assert_eq!(late.offer(0).unwrap(), None);
    assert!(from.offer(0).unwrap().is_some());
}
