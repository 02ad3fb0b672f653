//! The receipt log through its public API, on a real encrypted store.

#[path = "support/fixture.rs"]
mod fixture;

use fixture::*;
use hanzo_attestation::Digest256;
use hanzo_attestation::name::Name;
use hanzo_receipts::*;
use hanzo_verifier::receipt::{VerifiedReceipt, verify_signed};

fn used(
    log: &ReceiptLog,
    n: u8,
    account: &str,
    prompt_tokens: u64,
    completion_tokens: u64,
) -> Result<(), ReceiptLogError> {
    let start = RequestStart {
        model: "smollm2",
        request: b"a request",
        owner: None,
        transport: hanzo_receipts::Transport::Tls,
    };
    let end = Finished {
        outcome: Outcome::Cut,
        sampling: Sampling {
            max_tokens: 9,
            seed: None,
            temperature_micros: 0,
            top_p_micros: 1_000_000,
        },
        prompt_tokens,
        completion_tokens,
        time: 1_800_000_005,
        work: None,
        account: Some(Name::new(account).unwrap()),
    };
    log.finish(log.begin(start, fresh(n)).unwrap(), end).map(drop)
}

fn verified(log: &ReceiptLog) -> Vec<VerifiedReceipt> {
    let page = log.page(0, 100).unwrap();
    page.iter().map(|r| verify_signed(r, log.keyset()).unwrap()).collect()
}

#[test]
fn receipts_are_gapless_chained_and_verify_offline() {
    let dir = tempfile::tempdir().unwrap();
    let log = log(&store(dir.path()), 1);
    for n in 0..4 {
        let receipt = one(&log, n, None).unwrap();
        assert_eq!(receipt.receipt.seq, u64::from(n));
        assert_eq!(receipt.receipt.id, ReceiptId([n; 16]));
    }
    let all = verified(&log);
    assert_eq!(all.len(), 4);
    assert_eq!(all[0].receipt().prev, log.keyset_digest());
    assert!(all.windows(2).all(|w| w[1].follows(&w[0]).is_ok()));
    let disclosed = one(&log, 9, None).unwrap();
    let last = verified(&log).pop().unwrap();
    last.check_request(&disclosed.salts.request, b"a request").unwrap();
    last.check_response(&disclosed.salts.response, b"an answer").unwrap();
    assert!(last.check_response(&disclosed.salts.response, b"an answe").is_err());
}

#[test]
fn parallel_requests_never_share_a_number() {
    let dir = tempfile::tempdir().unwrap();
    let log = log(&store(dir.path()), 1);
    std::thread::scope(|scope| {
        for t in 0..4 {
            let log = &log;
            scope.spawn(move || (0..5).for_each(|n| drop(one(log, t * 10 + n, None).unwrap())));
        }
    });
    let all = verified(&log);
    assert_eq!(all.len(), 20);
    assert!(all.windows(2).all(|w| w[1].follows(&w[0]).is_ok()));
}

#[test]
fn only_the_owner_gets_a_receipt_and_denied_looks_like_unknown() {
    let dir = tempfile::tempdir().unwrap();
    let log = log(&store(dir.path()), 1);
    let mine = one(&log, 1, Some(owner(0xaa))).unwrap();
    one(&log, 2, None).unwrap();
    let fetch = |id: u8, who: u8| log.fetch(&ReceiptId([id; 16]), &owner(who)).unwrap();
    assert!(fetch(1, 0xaa).unwrap().with_proof(None) == mine);
    assert!(fetch(1, 0xbb).is_none(), "another owner");
    assert!(fetch(2, 0xaa).is_none(), "a receipt without an owner");
    assert!(fetch(2, 0x00).is_none(), "a receipt without an owner, owner of zeros");
    assert!(fetch(3, 0xaa).is_none(), "no such receipt");
    assert!(Owner::from_hex(&"AA".repeat(32)).is_none());
    assert!(Owner::from_hex("aa").is_none());
}

#[test]
fn the_store_holds_neither_the_owner_nor_the_salts() {
    let dir = tempfile::tempdir().unwrap();
    let db = store(dir.path());
    let log = log(&db, 1);
    one(&log, 1, Some(owner(0xaa))).unwrap();
    let (stored, sealed): (Vec<u8>, Vec<u8>) = db
        .read(|c| -> Result<_, ReceiptLogError> {
            Ok(c.query_row("SELECT owner, salts FROM receipts", [], |r| Ok((r.get(0)?, r.get(1)?)))?)
        })
        .unwrap();
    assert_eq!(stored, Digest256::of(&[0xaa; 32]).0);
    assert_eq!(sealed.len(), 64 + 16);
    let shows = |salt: u8| sealed.windows(8).any(|w| w == [salt; 8]);
    assert!(!shows(101) && !shows(51));
}

#[test]
fn a_new_boot_starts_a_chain_of_its_own_and_the_old_stays() {
    let dir = tempfile::tempdir().unwrap();
    {
        let log = log(&store(dir.path()), 1);
        one(&log, 1, None).unwrap();
    }
    let db = store(dir.path());
    let public = public(&db);
    let (again, other) = (under(&public, 1), under(&public, 2));
    assert_eq!(one(&other, 2, None).unwrap().receipt.seq, 0);
    assert_eq!(one(&again, 3, None).unwrap().receipt.seq, 1);
    assert_eq!((again.count().unwrap(), other.count().unwrap()), (2, 1));
}

#[test]
fn a_receipt_is_final_and_a_failed_append_leaves_no_gap() {
    let dir = tempfile::tempdir().unwrap();
    let db = store(dir.path());
    let log = log(&db, 1);
    one(&log, 1, None).unwrap();
    assert!(one(&log, 1, None).is_err(), "an id is used once");
    assert_eq!(one(&log, 2, None).unwrap().receipt.seq, 1);
    for sql in [
        "UPDATE receipts SET document = x'00'",
        "DELETE FROM receipts WHERE seq = 1",
        "INSERT INTO receipts SELECT keyset_digest, 7, x'000102030405060708090a0b0c0d0e0f', document, NULL, NULL FROM receipts WHERE seq = 0",
    ] {
        let changed = db.write(|tx| -> Result<_, ReceiptLogError> { Ok(tx.execute(sql, [])?) });
        assert!(changed.is_err(), "{sql}");
    }
}

/// A host that puts older pages back under a guest that lives on: nothing is numbered anew, and nothing more is signed.
#[test]
fn a_store_that_goes_back_under_a_living_guest_gets_no_second_receipt_of_a_number() {
    for (what, sql) in [
        (
            "receipts",
            "DELETE FROM log WHERE idx = 3; DELETE FROM receipts WHERE seq = 2;",
        ),
        (
            "leaves",
            "UPDATE log SET receipt = NULL, keyset = x'00', keyset_digest = zeroblob(48) WHERE idx = 3; DELETE FROM receipts WHERE seq = 2;",
        ),
        (
            "the tree's edge",
            "UPDATE log SET frontier = zeroblob(32) WHERE idx = 3;",
        ),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let db = store(dir.path());
        let log = log(&db, 1);
        (0..3).for_each(|n| drop(one(&log, n, None).unwrap()));
        let guards = "DROP TRIGGER leaves_are_final; DROP TRIGGER leaves_stay; DROP TRIGGER receipts_stay;";
        db.write(|tx| -> Result<_, ReceiptLogError> { Ok(tx.execute_batch(&format!("{guards}{sql}"))?) })
            .unwrap();
        for n in 3..5 {
            assert_eq!(one(&log, n, None).err().unwrap().code(), "receipts.damaged", "{what}");
        }
    }
}

#[test]
fn foreign_keys_and_models_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let db = store(dir.path());
    let foreign = ReceiptLog::open(public(&db), keys(2), keyset(&keys(1)));
    assert_eq!(foreign.err().unwrap().code(), "receipts.keys");
    let start = RequestStart {
        model: "other",
        request: b"",
        owner: None,
        transport: hanzo_receipts::Transport::Tls,
    };
    assert_eq!(
        log(&db, 1).begin(start, fresh(1)).err().unwrap().code(),
        "receipts.model"
    );
}

#[test]
fn usage_is_the_sum_of_receipts_whatever_failed_and_whoever_restarts() {
    let dir = tempfile::tempdir().unwrap();
    {
        let db = store(dir.path());
        let log = log(&db, 1);
        assert!(Accounts::new(db).usage().unwrap().is_empty());
        used(&log, 1, "acme", 3, 2).unwrap();
        used(&log, 2, "beta", 5, 0).unwrap();
        one(&log, 3, None).unwrap();
        used(&log, 4, "acme", 10, 20).unwrap();
        // No receipt, no usage.
        assert!(used(&log, 4, "acme", 100, 100).is_err(), "an id is used once");
    }
    let db = store(dir.path());
    let log = log(&db, 2);
    used(&log, 5, "acme", 1, 1).unwrap();
    let usage = Accounts::new(db.clone()).usage().unwrap();
    let told: Vec<_> = usage
        .iter()
        .map(|(name, u)| {
            (
                name.as_str(),
                u.requests,
                u.prompt_tokens,
                u.completion_tokens,
                u.tokens(),
            )
        })
        .collect();
    assert_eq!(told, [("acme", 3, 14, 23, 37), ("beta", 1, 5, 0, 5)]);
    for sql in [
        "DELETE FROM usage",
        "UPDATE usage SET prompt_tokens = 0",
        "UPDATE usage SET requests = requests + 1, account = 'other'",
    ] {
        let changed = db.write(|tx| -> Result<_, ReceiptLogError> { Ok(tx.execute(sql, [])?) });
        assert!(changed.is_err(), "{sql}");
    }
}

#[test]
fn the_table_of_callers_never_goes_back() {
    let dir = tempfile::tempdir().unwrap();
    let keep = |version, document: &[u8]| {
        let accounts = Accounts::new(store(dir.path()));
        let kept = accounts.keep_callers(version, document).unwrap();
        (kept, accounts.kept_callers().unwrap())
    };
    assert_eq!(keep(3, b"three"), (true, Some(b"three".to_vec())));
    assert_eq!(keep(3, b"another"), (false, Some(b"three".to_vec())));
    assert_eq!(keep(2, b"two"), (false, Some(b"three".to_vec())));
    assert_eq!(keep(u64::MAX, b"none"), (false, Some(b"three".to_vec())));
    assert_eq!(keep(4, b"four"), (true, Some(b"four".to_vec())));
    let db = store(dir.path());
    for sql in ["DELETE FROM callers", "UPDATE callers SET version = 1"] {
        let changed = db.write(|tx| -> Result<_, ReceiptLogError> { Ok(tx.execute(sql, [])?) });
        assert!(changed.is_err(), "{sql}");
    }
}
