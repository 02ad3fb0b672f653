//! Final blocks of others: whose fault it is when they are not taken.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests stop at the first surprise"
)]
#![allow(clippy::result_large_err, reason = "tests stop at the first surprise")]

#[path = "../../../types/tests/support/light.rs"]
mod light;

use std::path::Path;
use std::sync::Arc;

use hanzo_chain_node::sync::{ANSWER_BYTES_MAX, Answer, Message, SyncError, answer, take};
use hanzo_chain_types::FinalityCertificate;
use hanzo_ledger::{Block, Canonical, Header, List};
use hanzo_mining::{MiningError, MiningLedger};
use hanzo_pqc::Dek;
use light::{Told, certify, set, told};

fn open(place: &Path, told: &Told) -> Arc<MiningLedger> {
    let _ = std::fs::create_dir(place);
    let key = Dek::from_slice(&[9; 32]).unwrap();
    Arc::new(MiningLedger::open(&place.join("ledger.db"), &key, told.genesis()).unwrap())
}

/// As it comes over a link.
fn said(certificate: &FinalityCertificate, headers: &[Header], blocks: &[Block]) -> Answer {
    let mut bytes = vec![1];
    certificate.write(&mut bytes);
    List::<Header, 1024>::new(headers.to_vec()).unwrap().write(&mut bytes);
    (blocks.len() as u16).write(&mut bytes);
    for block in blocks {
        let block = block.to_bytes();
        (block.len() as u32).write(&mut bytes);
        bytes.extend(block);
    }
    match Message::from_bytes("sync", &bytes, ANSWER_BYTES_MAX).unwrap() {
        Message::Answer(answer) => *answer,
        Message::Ask(_) => panic!("a question"),
    }
}

#[test]
fn a_true_header_with_another_body_is_its_peers_fault_and_the_same_with_its_own_is_taken() {
    let told = told();
    let dir = tempfile::tempdir().unwrap();
    let blocks = &told.w.blocks;
    let full = blocks.iter().position(|block| block.txs.len() > 2).unwrap();
    let late = open(&dir.path().join("late"), &told);
    let committee = late.read(|state| set(state, 0));
    let certificate = certify(&committee, blocks[full].header, 3, &told.keys);
    let headers: Vec<_> = blocks[..full].iter().map(|block| block.header).collect();
    let forged = |txs: Vec<_>| {
        let mut all = blocks[..=full].to_vec();
        all[full].txs = List::new(txs).unwrap();
        said(&certificate, &headers, &all)
    };
    let good = blocks[full].txs.to_vec();
    let without = good[1..].to_vec();
    let mut signed = good.clone();
    signed[0].signature = signed[1].signature.clone();
    for (name, txs) in [("one less", without), ("another signature", signed), ("none", vec![])] {
        let refused = take(&late, &forged(txs)).unwrap_err();
        assert!(
            matches!(&refused, SyncError::Wrong(why) if why.contains("tx_root")),
            "{name}: {refused}"
        );
        assert!(refused.fatal().is_none());
        // What came before it is final and stays.
        assert_eq!(late.read(|state| state.head().height), full as u64, "{name}");
    }
    assert_eq!(take(&late, &forged(good)).unwrap(), 1);
    assert_eq!(late.read(|state| state.tip()), blocks[full].header.id());
}

#[test]
fn two_final_blocks_of_one_height_stop_the_node_and_one_that_is_not_certified_does_not() {
    let told = told();
    let dir = tempfile::tempdir().unwrap();
    let blocks = &told.w.blocks;
    let ledger = open(&dir.path().join("whole"), &told);
    for block in blocks {
        ledger.submit(block.clone()).unwrap();
    }
    let committee = ledger.read(|state| set(state, 2));
    let mut other = blocks.last().unwrap().clone();
    other.header.time_ms += 1;
    // Too few of them said so: a lie.
    let mut few = certify(&committee, other.header, 3, &told.keys);
    few.header = blocks.last().unwrap().header;
    let lie = take(&ledger, &said(&few, &[], &[])).unwrap_err();
    assert!(matches!(lie, SyncError::Wrong(_)), "{lie}");
    let fork = certify(&committee, other.header, 3, &told.keys);
    // With the block and without it.
    for with in [vec![other.clone()], vec![]] {
        let refused = take(&ledger, &said(&fork, &[], &with)).unwrap_err();
        let Some(MiningError::Fork { height, held, got }) = refused.fatal() else {
            panic!("{refused}");
        };
        let expected = (
            other.header.height,
            blocks.last().unwrap().header.id(),
            other.header.id(),
        );
        assert_eq!((*height, *held, *got), expected);
    }
    // A final block on another one than this ledger's newest.
    let behind = open(&dir.path().join("behind"), &told);
    for block in &blocks[..blocks.len() - 1] {
        behind.submit(block.clone()).unwrap();
    }
    other.header.parent.0[0] ^= 1;
    let fork = certify(&committee, other.header, 3, &told.keys);
    let refused = take(&behind, &said(&fork, &[], &[other])).unwrap_err();
    assert_eq!(
        refused.fatal().map(MiningError::code),
        Some("block.parent"),
        "{refused}"
    );
    // The true one, twice, and with its certificate alone.
    let true_one = said(&told.certificate, &[], &blocks[blocks.len() - 1..]);
    assert_eq!(take(&behind, &true_one).unwrap(), 1);
    assert_eq!(take(&behind, &true_one).unwrap(), 0);
    assert_eq!(take(&behind, &said(&told.certificate, &[], &[])).unwrap(), 0);
}

#[test]
fn what_is_too_new_or_from_before_a_snapshot_is_nobodys_fault() {
    let told = told();
    let dir = tempfile::tempdir().unwrap();
    let from = open(&dir.path().join("from"), &told);
    for block in &told.w.blocks {
        from.submit(block.clone()).unwrap();
        if block.header == told.handover.certificate.header {
            from.certify(&told.handover.certificate).unwrap();
        }
    }
    from.certify(&told.certificate).unwrap();
    let useless = |ledger: &Arc<MiningLedger>, answer: &Answer| {
        let refused = take(ledger, answer).unwrap_err();
        assert!(matches!(refused, SyncError::Useless(_)), "{refused}");
    };
    let Some(Message::Answer(first)) = answer(&from, 1).unwrap() else {
        panic!("no answer")
    };
    // Of a committee that nobody led to, and after a gap.
    let late = open(&dir.path().join("late"), &told);
    useless(
        &late,
        &said(&told.certificate, &[], &told.w.blocks[told.w.blocks.len() - 1..]),
    );
    let Some(Message::Answer(second)) = answer(&from, 2).unwrap() else {
        panic!("no answer")
    };
    useless(&late, &second);
    assert_eq!(late.read(|state| state.head().height), 0);
    // After it went on from a state: blocks before that are of no use to it, and no sign of another chain.
    let mut client = hanzo_chain_types::LightClient::of_genesis(&told.genesis()).unwrap();
    client.follow(&told.handover).unwrap();
    let offer = from.offer(0).unwrap().unwrap();
    let mut assembly = hanzo_chain_types::Assembly::begin(offer, &client).unwrap();
    while let Some(part) = assembly.next() {
        let bytes = from.part(&assembly.plan(), part).unwrap().unwrap();
        assembly.take(part, &bytes).unwrap();
    }
    late.install(assembly.finish(told.genesis()).unwrap()).unwrap();
    useless(&late, &first);
    useless(&late, &said(&told.handover.certificate, &[], &[]));
}
