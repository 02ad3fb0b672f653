//! `Store` over SQLCipher: one transaction for many, values, and what it refuses.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hanzo_pqc::Dek;
use hanzo_store::{Link, Migration, Row, Store, StoreError, StoreMode, StoreSchema, Value};

const SCHEMA: StoreSchema = StoreSchema {
    application_id: 0x6861_6e02,
    migrations: &[Migration {
        sqlite: "CREATE TABLE t (a INTEGER PRIMARY KEY, b BLOB, c TEXT) STRICT",
        postgres: "CREATE TABLE t (a BIGINT PRIMARY KEY, b BYTEA, c TEXT)",
    }],
};

struct Place {
    _dir: tempfile::TempDir,
    db: PathBuf,
    key: Dek,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let db = dir.path().join("s.db");
        Self {
            _dir: dir,
            db,
            key: Dek::generate().unwrap(),
        }
    }

    fn open(&self) -> Store {
        Store::sqlcipher(&self.db, &self.key, SCHEMA, StoreMode::Production).unwrap()
    }
}

fn insert(store: &Store, a: i64) -> Result<u64, StoreError> {
    store.write(|tx| tx.execute("INSERT INTO t (a) VALUES (?1)", &[a.into()]))
}

fn count(store: &Store) -> i64 {
    store
        .read(|tx| tx.query_one("SELECT count(*) FROM t", &[])?.integer(0))
        .unwrap()
}

#[test]
fn values_come_back_as_they_went_in_and_other_types_are_refused() {
    let place = Place::new();
    let store = place.open();
    let bytes = [0u8, 255, 7];
    store
        .write(|tx| {
            tx.execute(
                "INSERT INTO t (a, b, c) VALUES (?1, ?2, ?3), (?4, ?5, ?5)",
                &[
                    i64::MIN.into(),
                    (&bytes).into(),
                    "grüße".into(),
                    true.into(),
                    Value::Null,
                ],
            )
        })
        .unwrap();
    drop(store);
    let store = place.open();
    let rows: Vec<Row> = store
        .read(|tx| tx.query("SELECT a, b, c FROM t ORDER BY a", &[]))
        .unwrap();
    assert_eq!(rows[0].integer(0).unwrap(), i64::MIN);
    assert_eq!(rows[0].blob(1).unwrap(), bytes);
    assert_eq!(rows[0].array::<3>(1).unwrap(), bytes);
    assert_eq!(rows[0].text(2).unwrap(), "grüße");
    assert!(rows[1].flag(0).unwrap());
    assert_eq!(rows[1].opt_blob(1).unwrap(), None);
    let code = |r: Result<(), StoreError>| r.unwrap_err().code();
    assert_eq!(code(rows[0].unsigned(0).map(drop)), "store.shape");
    assert_eq!(code(rows[0].flag(0).map(drop)), "store.shape");
    assert_eq!(code(rows[0].array::<4>(1).map(drop)), "store.shape");
    assert_eq!(code(rows[0].text(1).map(drop)), "store.shape");
    assert_eq!(code(rows[1].blob(1).map(drop)), "store.shape");
    assert_eq!(code(rows[1].integer(3).map(drop)), "store.shape");
    assert_eq!(code(rows[1].opt_text(3).map(drop)), "store.shape");
    let several = store.read(|tx| tx.query_opt("SELECT a FROM t", &[]));
    assert_eq!(several.unwrap_err().code(), "store.rows");
    let none = store.read(|tx| tx.query_one("SELECT a FROM t WHERE a = 9", &[]));
    assert_eq!(none.unwrap_err().code(), "store.rows");
}

#[test]
fn a_failed_statement_ends_the_transaction_whatever_the_closure_says() {
    let place = Place::new();
    let store = place.open();
    insert(&store, 1).unwrap();
    let outcome = store.write(|tx| {
        tx.execute("INSERT INTO t (a) VALUES (2)", &[])?;
        assert_eq!(
            tx.execute("INSERT INTO t (a) VALUES (1)", &[]).unwrap_err().code(),
            "store.sql"
        );
        assert_eq!(tx.query("SELECT 1", &[]).unwrap_err().code(), "store.aborted");
        Ok::<_, StoreError>(())
    });
    assert_eq!(outcome.unwrap_err().code(), "store.sql");
    assert_eq!(count(&store), 1);
    insert(&store, 2).unwrap();
    assert_eq!(count(&store), 2);
}

#[test]
fn reading_cannot_write() {
    let store = Place::new().open();
    let wrote = store.read(|tx| tx.execute("INSERT INTO t (a) VALUES (1)", &[]));
    assert_eq!(wrote.unwrap_err().code(), "store.sql");
    assert_eq!(count(&store), 0);
}

#[test]
fn a_panic_in_a_closure_undoes_its_part_alone() {
    let place = Place::new();
    let store = place.open();
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        store.write(|tx| -> Result<(), StoreError> {
            tx.execute("INSERT INTO t (a) VALUES (1)", &[])?;
            panic!("as told");
        })
    }));
    assert!(panicked.is_err());
    insert(&store, 2).unwrap();
    assert_eq!(count(&store), 1);
}

#[test]
fn writers_at_the_same_time_fail_alone_and_nothing_of_others_is_lost() {
    const WRITERS: i64 = 8;
    const EACH: i64 = 40;
    let place = Place::new();
    let store = Arc::new(place.open());
    let threads: Vec<_> = (0..WRITERS)
        .map(|w| {
            let store = Arc::clone(&store);
            std::thread::spawn(move || {
                for n in 0..EACH {
                    let a = w * EACH + n;
                    let outcome: Result<(), StoreError> = store.write(|tx| {
                        tx.execute("INSERT INTO t (a) VALUES (?1)", &[a.into()])?;
                        match a % 3 {
                            0 => Err(StoreError::DiskFull),
                            _ => Ok(()),
                        }
                    });
                    assert_eq!(outcome.is_err(), a % 3 == 0);
                    // What was acknowledged is seen at once.
                    let seen = store
                        .read(|tx| tx.query_opt("SELECT a FROM t WHERE a = ?1", &[a.into()]))
                        .unwrap();
                    assert_eq!(seen.is_some(), a % 3 != 0, "{a}");
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|t| t.join().unwrap());
    let kept = (0..WRITERS * EACH).filter(|a| a % 3 != 0).count() as i64;
    assert_eq!(count(&store), kept);
    drop(store);
    assert_eq!(count(&place.open()), kept);
}

/// A backend that counts commits and takes its time over them, or loses the transaction.
struct Slow {
    commits: Arc<AtomicUsize>,
    open: bool,
    fail: Option<StoreError>,
}

impl Link for Slow {
    fn begin_write(&mut self) -> Result<(), StoreError> {
        self.open = true;
        Ok(())
    }
    fn begin_read(&mut self) -> Result<(), StoreError> {
        self.open = true;
        Ok(())
    }
    fn commit(&mut self) -> Result<(), StoreError> {
        std::thread::sleep(std::time::Duration::from_millis(20));
        self.commits.fetch_add(1, Ordering::SeqCst);
        self.fail.take().map_or(Ok(()), Err)
    }
    fn rollback(&mut self) {
        self.open = false;
    }
    fn in_transaction(&self) -> bool {
        self.open
    }
    fn batch(&mut self, _sql: &str) -> Result<(), StoreError> {
        Ok(())
    }
    fn execute(&mut self, sql: &str, _values: &[Value]) -> Result<u64, StoreError> {
        match sql {
            "fill the disk" => {
                self.open = false;
                Err(StoreError::DiskFull)
            }
            _ => Ok(1),
        }
    }
    fn query(&mut self, _sql: &str, _values: &[Value]) -> Result<Vec<Row>, StoreError> {
        Ok(Vec::new())
    }
}

fn slow(fail: Option<StoreError>) -> (Arc<Store>, Arc<AtomicUsize>) {
    let commits = Arc::new(AtomicUsize::new(0));
    let link = |fail| Slow {
        commits: Arc::clone(&commits),
        open: false,
        fail,
    };
    let store = Store::over(
        Box::new(link(fail)),
        Box::new(link(None)),
        &Dek::generate().unwrap(),
        StoreMode::Production,
        "slow".into(),
    );
    (Arc::new(store.unwrap()), commits)
}

#[test]
fn many_writers_share_few_commits() {
    const WRITERS: usize = 64;
    let (store, commits) = slow(None);
    let all = std::sync::Barrier::new(WRITERS);
    std::thread::scope(|scope| {
        for _ in 0..WRITERS {
            scope.spawn(|| {
                all.wait();
                store.write(|tx| tx.execute("x", &[])).unwrap();
            });
        }
    });
    let shared = commits.load(Ordering::SeqCst);
    assert!(
        (1..WRITERS / 2).contains(&shared),
        "{shared} commits for {WRITERS} writes"
    );
    // One after the other, each has its own.
    for _ in 0..3 {
        store.write(|tx| tx.execute("x", &[])).unwrap();
    }
    assert_eq!(commits.load(Ordering::SeqCst), shared + 3);
}

#[test]
fn several_writes_of_one_caller_share_a_commit_and_fail_alone() {
    let place = Place::new();
    let store = place.open();
    let write = |a: i64| {
        move |tx: &hanzo_store::Tx<'_>| {
            tx.execute("INSERT INTO t (a) VALUES (?1)", &[a.into()])?;
            match a {
                2 => Err(StoreError::Rows { got: 2 }),
                _ => Ok(a),
            }
        }
    };
    let outcomes: Vec<_> = store.write_each([1, 2, 3].map(write));
    let outcomes: Vec<_> = outcomes.into_iter().map(|o| o.map_err(|e| e.code())).collect();
    assert_eq!(outcomes, [Ok(1), Err("store.rows"), Ok(3)]);
    assert_eq!(count(&store), 2);
    let (slow, commits) = slow(None);
    let write = |_| |tx: &hanzo_store::Tx<'_>| tx.execute("x", &[]);
    assert!(slow.write_each([(); 40].map(write)).into_iter().all(|o| o.is_ok()));
    assert_eq!(commits.load(Ordering::SeqCst), 1, "40 writes");
    // More than one transaction takes.
    assert!(slow.write_each([(); 70].map(write)).into_iter().all(|o| o.is_ok()));
    assert_eq!(commits.load(Ordering::SeqCst), 3, "70 writes more");
}

#[test]
fn a_commit_that_fails_fails_every_member_of_its_group() {
    const WRITERS: usize = 8;
    let (store, commits) = slow(Some(StoreError::DiskFull));
    // The first closure holds the group open until all others are waiting behind it.
    let failed = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for n in 0..WRITERS {
            let (store, failed) = (&store, &failed);
            scope.spawn(move || {
                std::thread::sleep(std::time::Duration::from_millis(n as u64));
                let outcome = store.write(|tx| {
                    std::thread::sleep(std::time::Duration::from_millis(30));
                    tx.execute("x", &[])
                });
                if let Err(e) = outcome {
                    assert_eq!(e.code(), "store.disk_full");
                    failed.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
    });
    let (failed, commits) = (failed.load(Ordering::SeqCst), commits.load(Ordering::SeqCst));
    assert!(failed > 1, "{failed} of {WRITERS} were in the failed group");
    assert!(failed == WRITERS || commits > 1, "the others had a commit of their own");
    store.write(|tx| tx.execute("x", &[])).unwrap();
}

#[test]
fn a_transaction_that_the_database_gave_up_is_acknowledged_to_nobody() {
    let (store, commits) = slow(None);
    let full = store.write(|tx| tx.execute("fill the disk", &[]));
    assert_eq!(full.unwrap_err().code(), "store.disk_full");
    // Not even if the closure makes light of it.
    let full = store.write(|tx| {
        let _ = tx.execute("fill the disk", &[]);
        Ok::<_, StoreError>(())
    });
    assert_eq!(full.unwrap_err().code(), "store.disk_full");
    assert_eq!(commits.load(Ordering::SeqCst), 0);
    store.write(|tx| tx.execute("x", &[])).unwrap();
    assert_eq!(commits.load(Ordering::SeqCst), 1);
}

#[test]
fn a_full_disk_undoes_the_write_and_the_store_goes_on() {
    let place = Place::new();
    let store = place.open();
    insert(&store, 1).unwrap();
    let limit = |pages: i64| {
        store
            .write(|tx| tx.query(&format!("PRAGMA max_page_count = {pages}"), &[]))
            .unwrap()
    };
    let pages = store
        .read(|tx| tx.query_one("PRAGMA page_count", &[])?.integer(0))
        .unwrap();
    limit(pages);
    let big = vec![7u8; 100_000];
    let write = || store.write(|tx| tx.execute("INSERT INTO t (a, b) VALUES (2, ?1)", &[(&big).into()]));
    assert_eq!(write().unwrap_err().code(), "store.disk_full");
    assert_eq!(count(&store), 1);
    limit(pages + 100);
    write().unwrap();
    drop(store);
    assert_eq!(count(&place.open()), 2);
}

#[test]
fn a_guard_looks_at_every_transaction_before_anything_is_done_in_it() {
    let place = Place::new();
    let store = place.open();
    insert(&store, 1).unwrap();
    let closed = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let is_closed = Arc::clone(&closed);
    store.guard(Box::new(move |tx| {
        let got = tx.query_one("SELECT count(*) FROM t", &[])?.unsigned(0)?;
        match is_closed.load(Ordering::SeqCst) {
            false => Ok(()),
            true => Err(StoreError::RolledBack {
                place: "s.db".into(),
                expected: 7,
                got,
            }),
        }
    }));
    insert(&store, 2).unwrap();
    closed.store(true, Ordering::SeqCst);
    assert_eq!(insert(&store, 3).unwrap_err().code(), "store.rolled_back");
    let read = store.read(|tx| tx.query_one("SELECT count(*) FROM t", &[])?.integer(0));
    assert_eq!(read.unwrap_err().code(), "store.rolled_back");
    closed.store(false, Ordering::SeqCst);
    assert_eq!(count(&store), 2, "what was refused was not done");
    insert(&store, 3).unwrap();
}

#[test]
fn what_was_committed_is_copied_into_the_file_without_a_commit_that_waits_for_it() {
    let place = Place::new();
    let store = place.open();
    for a in 0..64i64 {
        let rows = store.write(|tx| tx.execute("INSERT INTO t VALUES (?1, zeroblob(8192), NULL)", &[a.into()]));
        assert_eq!(rows.unwrap(), 1);
    }
    // 0.5 MiB; commits copy the log themselves from 64 MiB on.
    let size = || std::fs::metadata(&place.db).unwrap().len();
    let until = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while size() < 64 * 8192 {
        assert!(std::time::Instant::now() < until, "the file has {} bytes", size());
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    // Its connection ended before the one with the lock, which tidied up.
    drop(store);
    let log = place.db.with_extension("db-wal");
    assert!(!log.exists());
    assert_eq!(count(&place.open()), 64);
}

#[test]
fn a_statement_is_kept_and_its_values_are_not() {
    let place = Place::new();
    let store = place.open();
    let put =
        |a: i64, c: &str| store.write(|tx| tx.execute("INSERT INTO t (a, c) VALUES (?1, ?2)", &[a.into(), c.into()]));
    put(1, "one").unwrap();
    // The same text with fewer values: what is left of an earlier use must not be taken for the second.
    let few = store.write(|tx| tx.execute("INSERT INTO t (a, c) VALUES (?1, ?2)", &[2.into()]));
    assert_eq!(few.unwrap_err().code(), "store.sql");
    put(3, "three").unwrap();
    assert_eq!(count(&store), 2);
}
