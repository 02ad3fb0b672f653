//! A ledger on a disk: once each block, one chain, nothing damaged.

#![allow(clippy::result_large_err, reason = "tests stop at the first surprise")]

#[path = "../../ledger/tests/support/fixture.rs"]
mod fixture;

use std::path::Path;

use fixture::*;
use hanzo_ledger::*;
use hanzo_mining::{MiningError, MiningLedger, SCHEMA};
use hanzo_pqc::Dek;
use hanzo_store::{EncryptedDb, StoreError};

fn key() -> Dek {
    Dek::from_slice(&[9; 32]).unwrap()
}

fn open(place: &Path, genesis: &Genesis) -> Result<MiningLedger, MiningError> {
    MiningLedger::open(&place.join("ledger.db"), &key(), genesis.clone())
}

/// A chain of six blocks.
fn chain() -> World {
    let mut w = world(params());
    let answer = w.boot.receipt(0, |_| {});
    let claim = answer.cosigned(&w.network(), &w.users[0], &w.users[1], 1_000);
    w.does(0, claimed(claim)).unwrap();
    for amount in 1..5 {
        let action = transfer(&w.users[2], amount);
        w.does(1, action).unwrap();
    }
    w
}

/// Changes rows as somebody would who has the key.
fn meddle(place: &Path, sql: &str) {
    let db = EncryptedDb::open(&place.join("ledger.db"), &key(), SCHEMA).unwrap();
    db.write(|tx| tx.execute_batch(sql).map_err(StoreError::from)).unwrap();
}

#[test]
fn blocks_are_stored_with_their_state_and_the_same_block_again_changes_nothing() {
    let w = chain();
    let dir = tempfile::tempdir().unwrap();
    let genesis = w.state.genesis();
    let ledger = open(dir.path(), genesis).unwrap();
    for block in &w.blocks {
        let done = ledger.submit(block.clone()).unwrap();
        assert!(!done.again && done.root == block.header.state_root && done.id == block.header.id());
        let again = ledger.submit(block.clone()).unwrap();
        assert!(again.again && again.root == done.root);
    }
    drop(ledger);
    let ledger = open(dir.path(), genesis).unwrap();
    assert_eq!(ledger.read(State::root), w.state.root());
    assert_eq!(ledger.read(|s| s.entries().clone()), *w.state.entries());
    let early = ledger.submit(w.blocks[1].clone()).unwrap();
    assert!(early.again && early.height == 2);
    assert_eq!(ledger.block(3).unwrap().as_ref(), Some(&w.blocks[2]));
    assert_eq!(ledger.block(7).unwrap(), None);
    assert_eq!(ledger.replay().unwrap(), 6);
    let account = Key::Account(w.users[0].address);
    let proof = ledger.prove(&account);
    assert_eq!(
        proof.verify(&w.state.root(), &account),
        Ok(w.state.entries().get(&account))
    );
}

#[test]
fn two_callers_with_one_block_store_it_once() {
    let w = chain();
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path(), w.state.genesis()).unwrap();
    let fresh: usize = std::thread::scope(|scope| {
        let callers = [(); 4].map(|()| {
            scope.spawn(|| {
                let done = w.blocks.iter().map(|b| ledger.submit(b.clone()).unwrap());
                done.filter(|done| !done.again).count()
            })
        });
        callers.map(|caller| caller.join().unwrap()).iter().sum()
    });
    assert_eq!(fresh, w.blocks.len());
    assert_eq!(ledger.read(State::root), w.state.root());
}

#[test]
fn other_blocks_of_a_height_later_ones_and_wrong_ones_are_refused_and_leave_no_trace() {
    let w = chain();
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path(), w.state.genesis()).unwrap();
    ledger.submit(w.blocks[0].clone()).unwrap();
    let root = ledger.read(State::root);
    let gap = ledger.submit(w.blocks[2].clone());
    assert!(matches!(gap, Err(MiningError::Gap { expected: 2, got: 3 })));
    let mut fork = w.blocks[0].clone();
    fork.header.time_ms += 1;
    assert!(matches!(ledger.submit(fork), Err(MiningError::Fork { height: 1, .. })));
    let mut wrong = w.blocks[1].clone();
    wrong.header.state_root = root;
    assert!(matches!(
        ledger.submit(wrong),
        Err(MiningError::Block(BlockReject::StateRoot { .. }))
    ));
    let mut forged = w.blocks[1].clone();
    let mut txs = forged.txs.to_vec();
    txs[0].tx.nonce += 1;
    forged.txs = List::new(txs).unwrap();
    let refused = ledger.submit(forged);
    assert!(matches!(
        refused,
        Err(MiningError::Block(BlockReject::Tx {
            at: 0,
            cause: Reject::Signature { what: "sender" }
        }))
    ));
    assert_eq!(ledger.read(State::root), root);
    assert_eq!(ledger.block(2).unwrap(), None);
    drop(ledger);
    let ledger = open(dir.path(), w.state.genesis()).unwrap();
    assert_eq!(ledger.read(State::root), root);
    ledger.submit(w.blocks[1].clone()).unwrap();
}

#[test]
fn a_store_of_another_genesis_or_key_is_refused() {
    let w = chain();
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path(), w.state.genesis()).unwrap());
    let mut other = w.state.genesis().clone();
    other.time_ms += 1;
    let refused = open(dir.path(), &other);
    assert!(
        matches!(refused, Err(MiningError::ForeignGenesis { expected, got }) if expected == other.digest() && got == w.network().genesis)
    );
    let wrong = MiningLedger::open(
        &dir.path().join("ledger.db"),
        &Dek::from_slice(&[8; 32]).unwrap(),
        w.state.genesis().clone(),
    );
    assert!(matches!(wrong, Err(MiningError::Store(StoreError::WrongKey { .. }))));
    drop(open(dir.path(), w.state.genesis()).unwrap());
}

#[test]
fn damaged_entries_blocks_and_pages_are_refused_by_name() {
    let w = chain();
    let account = hex(&Key::Account(w.users[1].address).to_bytes());
    let richer = hex(&Value::Account(Account { balance: 1, nonce: 9 }).to_bytes());
    let miner = hex(&Key::Miner(w.users[0].address).to_bytes());
    let nothing_paid = hex(&Value::Miner(Miner {
        incarnation: 1,
        epoch: 0,
        paid: 0,
    })
    .to_bytes());
    for (sql, word) in [
        (
            format!("UPDATE entries SET value = x'{richer}' WHERE key = x'{account}'"),
            "supply",
        ),
        (
            format!("UPDATE entries SET value = x'{nothing_paid}' WHERE key = x'{miner}'"),
            "expected root",
        ),
        (format!("DELETE FROM entries WHERE key = x'{miner}'"), "expected root"),
        (
            format!("UPDATE entries SET value = x'0e00' WHERE key = x'{account}'"),
            "expected 0 to 13",
        ),
        ("DELETE FROM entries".to_owned(), "no head"),
        (
            "DROP TRIGGER blocks_stay; DELETE FROM blocks WHERE height = 6".to_owned(),
            "expected root",
        ),
        (
            "DROP TRIGGER blocks_are_final; UPDATE blocks SET id = zeroblob(32) WHERE height = 6".to_owned(),
            "place of another",
        ),
        (
            "DROP TRIGGER blocks_are_final; UPDATE blocks SET document = x'00' WHERE height = 6".to_owned(),
            "Network.kind",
        ),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let ledger = open(dir.path(), w.state.genesis()).unwrap();
        w.blocks
            .iter()
            .for_each(|b| assert!(!ledger.submit(b.clone()).unwrap().again));
        drop(ledger);
        meddle(dir.path(), &sql);
        match open(dir.path(), w.state.genesis()) {
            Err(MiningError::Damaged { what }) => assert!(what.contains(word), "{sql}: {what}"),
            Err(other) => panic!("{sql}: {other}"),
            Ok(_) => panic!("{sql}: it was opened"),
        }
    }
    // A bit of the file.
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path(), w.state.genesis()).unwrap();
    w.blocks
        .iter()
        .for_each(|b| assert!(!ledger.submit(b.clone()).unwrap().again));
    drop(ledger);
    let path = dir.path().join("ledger.db");
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    assert!(matches!(
        open(dir.path(), w.state.genesis()),
        Err(MiningError::Store(StoreError::Corrupt { .. }))
    ));
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
