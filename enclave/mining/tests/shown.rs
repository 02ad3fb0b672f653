//! What a store keeps for light clients: certificates that do not outgrow the chain, a handover an epoch, where transactions stand.

#![allow(clippy::result_large_err, reason = "tests stop at the first surprise")]

#[path = "../../chain/types/tests/support/light.rs"]
mod light;

use std::path::Path;

use hanzo_attestation::Digest256;
use hanzo_chain_types::{FinalityCertificate, Handover, committee_of};
use hanzo_ledger::*;
use hanzo_mining::{CERTIFICATE_SPACING, CERTIFICATES_KEPT, MiningError, MiningLedger, SCHEMA};
use hanzo_pqc::Dek;
use hanzo_store::{EncryptedDb, StoreError};
use light::fixture::*;
use light::{certify, set, told};

fn key() -> Dek {
    Dek::from_slice(&[9; 32]).unwrap()
}

fn open(place: &Path, genesis: &Genesis) -> MiningLedger {
    MiningLedger::open(&place.join("ledger.db"), &key(), genesis.clone()).unwrap()
}

#[test]
fn transactions_are_found_by_id_also_those_of_a_store_that_had_no_index() {
    let told = told();
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path(), &told.genesis());
    for block in &told.w.blocks {
        ledger.submit(block.clone()).unwrap();
    }
    let holds = |ledger: &MiningLedger| {
        for block in &told.w.blocks {
            assert_eq!(ledger.height_of(&block.header.id()).unwrap(), Some(block.header.height));
            for (index, tx) in block.txs.iter().enumerate() {
                let placed = ledger.transaction(&tx.tx.digest()).unwrap().unwrap();
                assert_eq!(
                    (placed.height, placed.index, &placed.tx),
                    (block.header.height, index, tx)
                );
                assert_eq!(placed.block, *block);
            }
        }
        assert_eq!(ledger.transaction(&Digest256([1; 32])).unwrap(), None);
        assert_eq!(ledger.height_of(&Digest256([1; 32])).unwrap(), None);
    };
    holds(&ledger);
    drop(ledger);
    // As after the migration of an older store.
    let db = EncryptedDb::open(&dir.path().join("ledger.db"), &key(), SCHEMA).unwrap();
    let sql = "DELETE FROM transactions; INSERT INTO unindexed SELECT height FROM blocks;";
    db.write(|tx| tx.execute_batch(sql).map_err(StoreError::from)).unwrap();
    drop(db);
    holds(&open(dir.path(), &told.genesis()));
    // An index that lies is named, not followed.
    let db = EncryptedDb::open(&dir.path().join("ledger.db"), &key(), SCHEMA).unwrap();
    let sql = "UPDATE transactions SET height = 1 WHERE height = 2;";
    db.write(|tx| tx.execute_batch(sql).map_err(StoreError::from)).unwrap();
    drop(db);
    let moved = told.w.blocks[1].txs[0].tx.digest();
    let refused = open(dir.path(), &told.genesis()).transaction(&moved);
    assert!(matches!(refused, Err(MiningError::Damaged { .. })));
}

#[test]
fn a_certificate_is_kept_for_a_block_that_is_there_and_makes_one_handover_an_epoch() {
    let told = told();
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path(), &told.genesis());
    let last = told.w.blocks.len() - 1;
    let of = |block: &Block, ledger: &MiningLedger| -> FinalityCertificate {
        let epoch = told.w.state.genesis().params.epoch_of(block.header.height);
        certify(&ledger.read(|state| set(state, epoch)), block.header, 3, &told.keys)
    };
    let mut first = Vec::new();
    for block in &told.w.blocks {
        let early = told.certificate.clone();
        if early.header.height > block.header.height {
            let gap = ledger.certify(&early);
            assert!(matches!(gap, Err(MiningError::Gap { .. })));
        }
        ledger.submit(block.clone()).unwrap();
        let certificate = of(block, &ledger);
        ledger.certify(&certificate).unwrap();
        ledger.certify(&certificate).unwrap();
        let handover = ledger
            .read(|state| Handover::of(certificate.clone(), state))
            .unwrap()
            .unwrap();
        if first.len() as u64 == certificate.epoch {
            first.push(handover);
        }
    }
    for (epoch, expected) in first.iter().enumerate() {
        assert_eq!(ledger.handover(epoch as u64).unwrap().as_ref(), Some(expected));
    }
    assert_eq!(ledger.handover(first.len() as u64).unwrap(), None);
    assert_eq!(ledger.certified().unwrap(), Some(last as u64 + 1));
    let mut other = of(&told.w.blocks[last], &ledger);
    other.header.time_ms += 1;
    assert!(matches!(ledger.certify(&other), Err(MiningError::Fork { .. })));
    // An older block's certificate, brought late, makes no handover of a state that it is not of.
    let dir = tempfile::tempdir().unwrap();
    let late = open(dir.path(), &told.genesis());
    late.submit(told.w.blocks[0].clone()).unwrap();
    let certificate = of(&told.w.blocks[0], &late);
    late.submit(told.w.blocks[1].clone()).unwrap();
    late.certify(&certificate).unwrap();
    assert_eq!(late.handover(0).unwrap(), None);
    assert_eq!(late.certificate_from(1).unwrap(), Some(certificate));
    assert_eq!(late.certificate_from(2).unwrap(), None);
}

#[test]
fn of_old_certificates_one_in_so_many_stays_so_that_every_block_has_one_near() {
    let mut params = params();
    params.epoch_blocks = 1_000;
    let mut w = world(params);
    let keys: Vec<User> = (0..4).map(|n| first(n).1).collect();
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path(), w.state.genesis());
    ledger.submit(w.blocks[0].clone()).unwrap();
    let committee = committee_of(&w.state, 0).unwrap().unwrap();
    // One set of real votes serves: what is kept is not verified again.
    let votes = certify(&committee, w.blocks[0].header, 3, &keys);
    let end = 2 * CERTIFICATE_SPACING + 40;
    for height in 2..=end {
        w.block(vec![]);
        let block = w.blocks[w.blocks.len() - 1].clone();
        let mut certificate = votes.clone();
        certificate.header = block.header;
        ledger.submit(block).unwrap();
        if height % 7 != 0 {
            ledger.certify(&certificate).unwrap();
        }
    }
    let mut kept = Vec::new();
    let mut at = 1;
    while let Some(certificate) = ledger.certificate_from(at).unwrap() {
        kept.push(certificate.header.height);
        at = certificate.header.height + 1;
    }
    let old: Vec<_> = kept
        .iter()
        .filter(|h| **h <= end - CERTIFICATES_KEPT)
        .copied()
        .collect();
    assert!(old.len() <= 4 && kept.len() as u64 <= CERTIFICATES_KEPT + 4, "{kept:?}");
    assert!(
        old.contains(&(CERTIFICATE_SPACING - 2)) || old.contains(&(CERTIFICATE_SPACING - 1)),
        "{kept:?}"
    );
    let near = kept.windows(2).all(|two| two[1] - two[0] <= 2 * CERTIFICATE_SPACING);
    assert!(near && kept[0] <= CERTIFICATE_SPACING, "{kept:?}");
}
