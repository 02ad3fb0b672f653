//! Receipts that end at the same time: one transaction, and each its own place in the chain.

#[path = "support/fixture.rs"]
mod fixture;

use std::path::Path;
use std::sync::Arc;

use fixture::*;
use hanzo_receipts::*;
use hanzo_store::{EncryptedDb, Schema};
use hanzo_verifier::receipt::{VerifiedReceipt, verify_signed};

const MEMBERS: u8 = 12;

/// Finishes one receipt for each id while nobody gets at the store, so that all of them wait together.
fn together(db: &Arc<EncryptedDb>, log: &ReceiptLog, ids: &[u8]) -> Vec<Result<DisclosedReceipt, ReceiptLogError>> {
    std::thread::scope(|scope| {
        let running: Vec<_> = db
            .read(|_| -> Result<_, ReceiptLogError> {
                let finish = |id: u8| scope.spawn(move || charged(log, fresh(id), None, Some("acme")));
                let running = ids.iter().map(|id| finish(*id)).collect();
                while log.waiting() < ids.len() {
                    std::thread::yield_now();
                }
                Ok(running)
            })
            .unwrap();
        running.into_iter().map(|r| r.join().unwrap()).collect()
    })
}

fn chain(log: &ReceiptLog) -> Vec<VerifiedReceipt> {
    let page = log.page(0, 1_000).unwrap();
    let all: Vec<_> = page.iter().map(|r| verify_signed(r, log.keyset()).unwrap()).collect();
    assert!(all.windows(2).all(|w| w[1].follows(&w[0]).is_ok()));
    assert!(all.first().is_none_or(|first| first.receipt().seq == 0));
    all
}

fn sums(db: &Arc<EncryptedDb>) -> Vec<u64> {
    let usage = Accounts::new(Arc::clone(db)).usage().unwrap();
    usage.iter().map(|(_, u)| u.requests).collect()
}

#[test]
fn receipts_that_end_together_share_one_transaction_and_keep_the_chain() {
    let dir = tempfile::tempdir().unwrap();
    let db = store(dir.path());
    let log = log(&db, 1);
    one(&log, 200, None).unwrap();
    assert_eq!(log.groups(), 1);
    let ids: Vec<u8> = (0..MEMBERS).collect();
    let given = together(&db, &log, &ids);
    assert_eq!(log.groups(), 2, "one commit for all of them");
    let all = chain(&log);
    assert_eq!(all.len(), 1 + usize::from(MEMBERS));
    let mut numbers = Vec::new();
    for (id, receipt) in ids.iter().zip(given) {
        let receipt = receipt.unwrap().receipt;
        assert_eq!(receipt.id, ReceiptId([*id; 16]), "each gets its own");
        assert!(all.iter().any(|kept| *kept.receipt() == receipt));
        numbers.push(receipt.seq);
    }
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(1..=u64::from(MEMBERS)));
    assert_eq!(sums(&db), [u64::from(MEMBERS)]);
}

#[test]
fn a_receipt_that_the_store_refuses_fails_alone_and_its_number_goes_to_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let db = store(dir.path());
    let log = log(&db, 1);
    one(&log, 3, None).unwrap();
    let ids: Vec<u8> = (0..MEMBERS).collect();
    let given = together(&db, &log, &ids);
    for (id, receipt) in ids.iter().zip(given) {
        match id {
            3 => assert_eq!(receipt.err().unwrap().code(), "store.sql", "an id is used once"),
            _ => drop(receipt.unwrap()),
        }
    }
    assert_eq!(log.groups(), 2);
    assert_eq!(chain(&log).len(), usize::from(MEMBERS));
    assert_eq!(sums(&db), [u64::from(MEMBERS) - 1]);
    assert_eq!(log.log().head().unwrap().size, u64::from(MEMBERS) + 1);
}

/// The database ends the transaction in its middle, or refuses the commit itself.
#[test]
fn a_group_that_is_not_committed_leaves_nothing_and_says_so_to_each() {
    let in_the_middle =
        "CREATE TRIGGER broken BEFORE INSERT ON receipts WHEN NEW.seq = 5 BEGIN SELECT RAISE(ROLLBACK, 'no'); END;";
    let at_the_end = "CREATE TABLE parent (id INTEGER PRIMARY KEY);
        CREATE TABLE child (id INTEGER REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED);
        CREATE TRIGGER broken AFTER INSERT ON receipts WHEN NEW.seq = 5 BEGIN INSERT INTO child VALUES (7); END;";
    for sql in [in_the_middle, at_the_end] {
        let dir = tempfile::tempdir().unwrap();
        let db = store(dir.path());
        let log = log(&db, 1);
        let run = |sql: &str| {
            db.write(|tx| -> Result<_, ReceiptLogError> { Ok(tx.execute_batch(sql)?) })
                .unwrap();
        };
        charged(&log, fresh(200), None, Some("acme")).unwrap();
        run(sql);
        let ids: Vec<u8> = (0..MEMBERS).collect();
        for receipt in together(&db, &log, &ids) {
            let error = receipt.err().unwrap();
            assert!(matches!(error, ReceiptLogError::Group(_)), "{error}");
            assert_eq!(error.code(), "store.sql");
            assert!(
                error
                    .to_string()
                    .ends_with("(nothing of the receipts that were to be stored with it was kept)")
            );
        }
        assert_eq!((log.groups(), log.waiting()), (1, 0));
        assert_eq!(chain(&log).len(), 1, "nothing half-recorded");
        assert_eq!(sums(&db), [1]);
        assert_eq!(log.log().head().unwrap().size, 2);
        run("DROP TRIGGER broken;");
        for receipt in together(&db, &log, &ids) {
            drop(receipt.unwrap());
        }
        assert_eq!(chain(&log).len(), 1 + usize::from(MEMBERS));
        assert_eq!(sums(&db), [1 + u64::from(MEMBERS)]);
    }
}

fn reopened(dir: &Path, sql: &str) -> Option<ReceiptLogError> {
    let db = store(dir);
    let guards = "DROP TRIGGER IF EXISTS usage_only_grows; DROP TRIGGER IF EXISTS usage_stays; DROP TRIGGER IF EXISTS leaves_are_final;
        DROP TRIGGER IF EXISTS usage_before_is_final;";
    db.write(|tx| -> Result<_, ReceiptLogError> { Ok(tx.execute_batch(&format!("{guards}{sql}"))?) })
        .unwrap();
    let origin = Origin::new(ORIGIN).unwrap();
    let suite = hanzo_pqc::sign::SignatureSuite::MlDsa65Ed25519;
    PublicLog::open(db, origin, suite, &[77; LOG_SEED_LEN], Fence::None).err()
}

#[test]
fn sums_of_usage_that_are_not_those_of_the_leaves_are_refused_at_the_next_boot() {
    for (sql, account) in [
        ("", None),
        (
            "UPDATE usage SET prompt_tokens = 3 WHERE account = 'acme'",
            Some("acme"),
        ),
        ("UPDATE usage SET requests = 1 WHERE account = 'acme'", Some("acme")),
        ("DELETE FROM usage WHERE account = 'beta'", Some("beta")),
        ("INSERT INTO usage VALUES ('other', 1, 1, 1)", Some("other")),
        (
            "UPDATE log SET account = 'beta' WHERE account = 'acme' AND idx = 1",
            Some("acme"),
        ),
        (
            "UPDATE log SET account = NULL, prompt_tokens = NULL, completion_tokens = NULL WHERE idx = 3",
            Some("beta"),
        ),
        ("UPDATE usage_before SET completion_tokens = 0", Some("old")),
    ] {
        let dir = tempfile::tempdir().unwrap();
        {
            // A store of before, in which only the sums are known.
            let key = hanzo_pqc::Dek::from_slice(&[9; 32]).unwrap();
            let before = Schema {
                application_id: SCHEMA.application_id,
                migrations: &SCHEMA.migrations[..3],
            };
            let db = EncryptedDb::open(&dir.path().join("guest.db"), &key, before).unwrap();
            db.write(|tx| -> Result<_, ReceiptLogError> {
                Ok(tx.execute_batch("INSERT INTO usage VALUES ('old', 2, 30, 40)")?)
            })
            .unwrap();
        }
        {
            let log = log(&store(dir.path()), 1);
            for (n, who) in [(1, "acme"), (2, "acme"), (3, "beta"), (4, "old")] {
                charged(&log, fresh(n), None, Some(who)).unwrap();
            }
            one(&log, 5, None).unwrap();
        }
        let refused = reopened(dir.path(), sql);
        match (refused, account) {
            (None, None) => {}
            (Some(ReceiptLogError::Usage { account, .. }), Some(expected)) => assert_eq!(account, expected, "{sql}"),
            (other, _) => panic!("{sql}: {other:?}"),
        }
    }
}
