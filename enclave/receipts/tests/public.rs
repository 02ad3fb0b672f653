//! The log of receipts as everybody sees it: heads, tiles, proofs.

#[path = "support/fixture.rs"]
mod fixture;

use std::sync::Arc;

use fixture::*;
use hanzo_log::tile::{self, Kind, decode_entries, decode_hashes};
use hanzo_log::tree::{leaf_hash, root, verify_consistency};
use hanzo_log::{AuthenticCheckpoint, LogKey, SignedCheckpoint};
use hanzo_receipts::*;
use hanzo_store::EncryptedDb;
use hanzo_verifier::receipt::{Leaf, prove_logged};

fn head(log: &PublicLog) -> AuthenticCheckpoint {
    let note = log.checkpoint().unwrap();
    let key = LogKey::of_keyset(&log.keys()).unwrap().verifier().unwrap();
    SignedCheckpoint::parse(note.as_bytes()).unwrap().verify(&key).unwrap()
}

/// All leaves, read out of the tiles that the head has.
fn leaves(log: &PublicLog) -> Vec<Vec<u8>> {
    let head = head(log);
    let mut leaves = Vec::new();
    for tile in tile::of_level(Kind::Entries, head.size()) {
        let bytes = log.tile(&tile).unwrap().unwrap();
        leaves.extend(
            decode_entries(&bytes, tile.width)
                .unwrap()
                .into_iter()
                .map(<[u8]>::to_vec),
        );
    }
    let hashes: Vec<_> = leaves.iter().map(|l| leaf_hash(&[l])).collect();
    assert_eq!(root(&hashes), head.root());
    leaves
}

#[test]
fn the_log_holds_every_receipt_without_salts_after_the_leaf_of_its_keyset() {
    let dir = tempfile::tempdir().unwrap();
    let db = store(dir.path());
    let public = public(&db);
    let (first, second) = (under(&public, 1), under(&public, 2));
    let mut all = Vec::new();
    for n in 0..6 {
        let log = if n % 2 == 0 { &first } else { &second };
        all.push(one(log, n, Some(owner(0xaa))).unwrap());
    }
    let leaves = leaves(&public);
    assert_eq!(leaves.len(), 8);
    for (n, log) in [(0_u64, &first), (1, &second)] {
        let Leaf::Keyset(leaf) = Leaf::parse(&leaves[n as usize]).unwrap() else {
            panic!("leaf {n}")
        };
        assert_eq!((leaf.keyset_digest, &leaf.keyset), (log.keyset_digest(), log.keyset()));
        assert_eq!(Some(leaf.previous), public.head_at(n).unwrap());
        assert_eq!(leaf.fence, Fence::None);
    }
    for (receipt, leaf) in all.iter().zip(&leaves[2..]) {
        assert_eq!(&receipt.without_salts().to_bytes().unwrap(), leaf);
        let salt = &receipt.to_bytes().unwrap();
        let salt = String::from_utf8_lossy(salt).split("\"request\":\"").nth(1).unwrap()[..64].to_owned();
        assert!(!String::from_utf8_lossy(leaf).contains(&salt));
    }
}

#[test]
fn a_fetched_receipt_brings_the_proof_that_it_is_in_the_log_and_a_changed_one_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let public = public(&store(dir.path()));
    let log = under(&public, 1);
    for n in 0..5 {
        assert!(
            one(&log, n, Some(owner(0xaa))).unwrap().log.is_none(),
            "a stream ends before any head covers it"
        );
    }
    for n in 0..5 {
        let fetched = log.fetch(&ReceiptId([n; 16]), &owner(0xaa)).unwrap().unwrap();
        let proof = fetched.log.clone().unwrap();
        let signed = fetched.without_salts();
        let logged = prove_logged(&signed, &proof, public.verifier()).unwrap();
        assert_eq!((logged.index(), logged.checkpoint().size()), (u64::from(n) + 1, 6));

        let mut other = signed.clone();
        other.receipt.completion_tokens += 1;
        let mut elsewhere = proof.clone();
        elsewhere.index ^= 1;
        let mut shorter = proof.clone();
        shorter.path.pop();
        for (signed, proof) in [(&other, &proof), (&signed, &elsewhere), (&signed, &shorter)] {
            let refused = prove_logged(signed, proof, public.verifier()).unwrap_err();
            assert_eq!(refused.code(), "log.inclusion");
        }
        let mut unsigned = proof.clone();
        unsigned.checkpoint = proof.checkpoint.replacen("\n6\n", "\n7\n", 1);
        let refused = prove_logged(&signed, &unsigned, public.verifier()).unwrap_err();
        assert_eq!(refused.code(), "log.signature.invalid");
    }
    // As a document, it is the receipt and nothing that was signed is another.
    let fetched = log.fetch(&ReceiptId([3; 16]), &owner(0xaa)).unwrap().unwrap();
    let again = DisclosedReceipt::from_bytes(&fetched.to_bytes().unwrap()).unwrap();
    assert!(again == fetched);
}

#[test]
fn tiles_are_what_the_tree_is_made_of_and_no_tile_reaches_past_the_head() {
    let dir = tempfile::tempdir().unwrap();
    let public = public(&store(dir.path()));
    let log = under(&public, 1);
    (0..9).for_each(|n| drop(one(&log, n, None).unwrap()));
    let leaves = leaves(&public);
    for tile in tile::all(10) {
        let bytes = public.tile(&tile).unwrap().unwrap();
        if tile.kind == (Kind::Hashes { level: 0 }) {
            let hashes: Vec<_> = leaves.iter().map(|l| leaf_hash(&[l])).collect();
            assert_eq!(decode_hashes(&bytes, tile.width).unwrap(), hashes);
        }
    }
    for path in [
        "tile/0/000.p/11",
        "tile/0/000",
        "tile/1/000.p/1",
        "tile/entries/001.p/1",
    ] {
        assert_eq!(public.tile(&Tile::parse(path).unwrap()).unwrap(), None, "{path}");
    }
    assert!(
        public
            .tile(&Tile::parse("tile/entries/000.p/4").unwrap())
            .unwrap()
            .is_some()
    );
}

#[test]
fn a_fenced_log_shows_what_its_fence_holds_and_nothing_newer() {
    let dir = tempfile::tempdir().unwrap();
    let public = fenced(&store(dir.path()), Fence::Kbs);
    let log = under(&public, 1);
    let mine = |n: u8| log.fetch(&ReceiptId([n; 16]), &owner(0xaa)).unwrap().unwrap().log;
    one(&log, 1, Some(owner(0xaa))).unwrap();
    assert_eq!(public.checkpoint().unwrap_err().code(), "receipts.not_shown");
    assert_eq!(
        public.tile(&Tile::parse("tile/0/000.p/1").unwrap()).unwrap_err().code(),
        "receipts.not_shown"
    );
    assert_eq!(mine(1), None);

    public.show(2).unwrap();
    one(&log, 2, Some(owner(0xaa))).unwrap();
    assert_eq!((head(&public).size(), public.head().unwrap().size), (2, 3));
    assert!(mine(1).is_some() && mine(2).is_none());
    assert_eq!(public.tile(&Tile::parse("tile/0/000.p/3").unwrap()).unwrap(), None);
    public.show(1).unwrap();
    assert_eq!(head(&public).size(), 2, "heads go forward alone");
    assert_eq!(public.show(4).unwrap_err().code(), "receipts.damaged");
    public.show(3).unwrap();
    assert!(mine(2).is_some());
}

#[test]
fn name_and_key_stay_when_boots_end_and_each_head_extends_those_before() {
    let dir = tempfile::tempdir().unwrap();
    let mut before: Option<(AuthenticCheckpoint, hanzo_attestation::keyset::LogKeys)> = None;
    for boot in 1..4_u8 {
        let db = store(dir.path());
        let origin = Origin::new(ORIGIN).unwrap();
        let suite = hanzo_pqc::sign::SignatureSuite::MlDsa65Ed25519;
        let public = Arc::new(PublicLog::open(db.clone(), origin, suite, &[boot; LOG_SEED_LEN], Fence::None).unwrap());
        let log = under(&public, boot);
        for n in 0..boot {
            one(&log, boot * 16 + n, None).unwrap();
        }
        let now = head(&public);
        if let Some((earlier, keys)) = before {
            assert_eq!(keys, public.keys());
            assert_eq!(public.head_at(earlier.size()).unwrap().unwrap().root, earlier.root());
            let hashes: Vec<_> = leaves(&public).iter().map(|l| leaf_hash(&[l])).collect();
            let proof = hanzo_log::tree::consistency_proof(&hashes, earlier.size() as usize).unwrap();
            verify_consistency(earlier.size(), &earlier.root(), now.size(), &now.root(), &proof).unwrap();
        }
        before = Some((now, public.keys()));

        let other = Origin::new("example/other").unwrap();
        let refused = PublicLog::open(db, other, suite, &[boot; LOG_SEED_LEN], Fence::None);
        assert_eq!(refused.err().unwrap().code(), "receipts.origin");
    }
}

#[test]
fn a_receipt_that_cannot_be_appended_to_the_log_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let db = store(dir.path());
    let log = log(&db, 1);
    one(&log, 1, None).unwrap();
    let sql = "CREATE TRIGGER full BEFORE INSERT ON log BEGIN SELECT RAISE(ABORT, 'disk'); END;";
    db.write(|tx| -> Result<_, ReceiptLogError> { Ok(tx.execute_batch(sql)?) })
        .unwrap();
    assert!(one(&log, 2, None).is_err());
    assert_eq!((log.count().unwrap(), log.log().head().unwrap().size), (1, 2));
}

fn tampered(sql: &str) -> Result<(), ReceiptLogError> {
    let dir = tempfile::tempdir().unwrap();
    {
        let db = store(dir.path());
        let log = log(&db, 1);
        (0..3).for_each(|n| drop(one(&log, n, None).unwrap()));
        let guards = "DROP TRIGGER leaves_are_final; DROP TRIGGER leaves_stay; DROP TRIGGER receipts_are_final;";
        db.write(|tx| -> Result<_, ReceiptLogError> { Ok(tx.execute_batch(&format!("{guards}{sql}"))?) })
            .unwrap();
    }
    let db: Arc<EncryptedDb> = store(dir.path());
    let origin = Origin::new(ORIGIN).unwrap();
    let suite = hanzo_pqc::sign::SignatureSuite::MlDsa65Ed25519;
    let public = PublicLog::open(db, origin, suite, &[1; LOG_SEED_LEN], Fence::None)?;
    public.tile(&Tile::parse("tile/entries/000.p/4")?).map(drop)
}

#[test]
fn a_tree_that_does_not_hold_together_is_not_opened() {
    tampered("").unwrap();
    for sql in [
        "UPDATE log SET hash = zeroblob(32) WHERE idx = 1;",
        "UPDATE log SET frontier = zeroblob(32) WHERE idx = 3;",
        "DELETE FROM log WHERE idx = 1;",
        "INSERT INTO log_tiles VALUES (1, 0, zeroblob(32));",
        "UPDATE receipts SET document = x'7b7d' WHERE seq = 1;",
    ] {
        assert_eq!(tampered(sql).unwrap_err().code(), "receipts.damaged", "{sql}");
    }
}
