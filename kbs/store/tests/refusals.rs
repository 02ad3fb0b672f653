//! What a store refuses, each beside the nearest thing it accepts.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use hanzo_pqc::Dek;
use hanzo_store::{EncryptedDb, KeyFile, Schema, StoreError, StoreMode};

const V1: Schema = Schema {
    application_id: 0x6861_6e01,
    migrations: &["CREATE TABLE t (a INTEGER PRIMARY KEY, b BLOB) STRICT"],
};
const V2: Schema = Schema {
    application_id: 0x6861_6e01,
    migrations: &[V1.migrations[0], "ALTER TABLE t ADD COLUMN c TEXT"],
};

struct Place {
    _dir: tempfile::TempDir,
    db: PathBuf,
    key: Dek,
}

fn place() -> Place {
    let dir = tempfile::tempdir().unwrap();
    let db = dir.path().join("s.db");
    Place {
        _dir: dir,
        db,
        key: Dek::generate().unwrap(),
    }
}

fn insert(db: &EncryptedDb, a: i64) -> Result<(), StoreError> {
    db.write(|tx| {
        tx.execute("INSERT INTO t (a, b) VALUES (?1, zeroblob(64))", [a])?;
        Ok(())
    })
}

fn count(db: &EncryptedDb) -> i64 {
    db.read(|c| {
        c.query_row("SELECT count(*) FROM t", [], |r| r.get(0))
            .map_err(StoreError::from)
    })
    .unwrap()
}

#[test]
fn a_store_is_read_again_and_holds_no_plain_text() {
    let p = place();
    let db = EncryptedDb::open(&p.db, &p.key, V1).unwrap();
    db.write(|tx| {
        tx.execute(
            "INSERT INTO t VALUES (1, ?1)",
            [b"a secret that must not be readable".as_slice()],
        )
        .map_err(StoreError::from)
    })
    .unwrap();
    drop(db);
    let raw = fs::read(&p.db).unwrap();
    assert!(!raw.windows(8).any(|w| w == b"a secret" || w == b"SQLite f"));
    assert_eq!(fs::metadata(&p.db).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(count(&EncryptedDb::open(&p.db, &p.key, V1).unwrap()), 1);
}

#[test]
fn a_wrong_key_a_foreign_file_and_a_newer_schema_are_told_apart() {
    let p = place();
    drop(EncryptedDb::open(&p.db, &p.key, V2).unwrap());
    let code = |r: Result<EncryptedDb, StoreError>| r.unwrap_err().code();
    assert_eq!(
        code(EncryptedDb::open(&p.db, &Dek::generate().unwrap(), V2)),
        "store.wrong_key"
    );
    assert_eq!(code(EncryptedDb::open(&p.db, &p.key, V1)), "store.newer_schema");
    let other = Schema {
        application_id: 7,
        ..V2
    };
    assert_eq!(code(EncryptedDb::open(&p.db, &p.key, other)), "store.foreign");
    assert!(EncryptedDb::open(&p.db, &p.key, V2).is_ok());
    // Without the lock file nothing tells a wrong key from damage, and the text says both.
    fs::remove_file(p.db.with_extension("db.lock")).unwrap();
    assert_eq!(
        code(EncryptedDb::open(&p.db, &Dek::generate().unwrap(), V2)),
        "store.unreadable"
    );

    let plain = p.db.with_file_name("plain.db");
    hanzo_store::rusqlite::Connection::open(&plain)
        .unwrap()
        .execute_batch("CREATE TABLE t (a)")
        .unwrap();
    assert_eq!(code(EncryptedDb::open(&plain, &p.key, V1)), "store.foreign");
}

#[test]
fn an_older_schema_is_brought_up() {
    let p = place();
    let db = EncryptedDb::open(&p.db, &p.key, V1).unwrap();
    insert(&db, 1).unwrap();
    drop(db);
    let db = EncryptedDb::open(&p.db, &p.key, V2).unwrap();
    db.write(|tx| tx.execute("UPDATE t SET c = 'x'", []).map_err(StoreError::from))
        .unwrap();
    assert_eq!(count(&db), 1);
}

#[test]
fn a_store_that_was_there_is_never_replaced_by_an_empty_one() {
    let p = place();
    drop(EncryptedDb::open(&p.db, &p.key, V1).unwrap());
    fs::rename(&p.db, p.db.with_extension("away")).unwrap();
    assert_eq!(
        EncryptedDb::open(&p.db, &p.key, V1).unwrap_err().code(),
        "store.missing"
    );
    fs::write(&p.db, b"").unwrap();
    assert_eq!(
        EncryptedDb::open(&p.db, &p.key, V1).unwrap_err().code(),
        "store.corrupt"
    );
    fs::rename(p.db.with_extension("away"), &p.db).unwrap();
    EncryptedDb::open(&p.db, &p.key, V1).unwrap();
}

#[test]
fn a_flipped_byte_in_any_page_and_a_cut_file_are_corrupt() {
    let p = place();
    let db = EncryptedDb::open(&p.db, &p.key, V1).unwrap();
    (0..200).for_each(|a| insert(&db, a).unwrap());
    drop(db);
    let good = fs::read(&p.db).unwrap();
    assert!(good.len() > 2 * 4096);
    for at in [100, 4096 + 100, good.len() - 200] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        fs::write(&p.db, &bad).unwrap();
        assert_eq!(
            EncryptedDb::open(&p.db, &p.key, V1).unwrap_err().code(),
            "store.corrupt",
            "{at}"
        );
    }
    for len in [7, 5000, good.len() - 4096] {
        fs::write(&p.db, &good[..len]).unwrap();
        assert_eq!(
            EncryptedDb::open(&p.db, &p.key, V1).unwrap_err().code(),
            "store.corrupt",
            "{len}"
        );
    }
    fs::write(&p.db, &good).unwrap();
    assert_eq!(count(&EncryptedDb::open(&p.db, &p.key, V1).unwrap()), 200);
}

#[test]
fn a_full_disk_undoes_the_write_and_says_so() {
    let p = place();
    let db = EncryptedDb::open(&p.db, &p.key, V1).unwrap();
    insert(&db, 1).unwrap();
    db.read(|c| {
        let pages: i64 = c.query_row("PRAGMA page_count", [], |r| r.get(0))?;
        c.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |r| r.get::<_, i64>(0))
            .map_err(StoreError::from)
    })
    .unwrap();
    let full = db
        .write(|tx| {
            tx.execute("INSERT INTO t VALUES (2, zeroblob(100000))", [])
                .map_err(StoreError::from)
        })
        .unwrap_err();
    assert_eq!(full.code(), "store.disk_full");
    assert_eq!(count(&db), 1);
}

#[test]
fn one_writer_at_a_time() {
    let p = place();
    let first = EncryptedDb::open(&p.db, &p.key, V1).unwrap();
    assert_eq!(EncryptedDb::open(&p.db, &p.key, V1).unwrap_err().code(), "store.in_use");
    drop(first);
    EncryptedDb::open(&p.db, &p.key, V1).unwrap();
}

#[test]
fn the_mode_is_fixed_when_a_store_is_made() {
    let p = place();
    let db = EncryptedDb::open_as(&p.db, &p.key, V1, StoreMode::Simulated).unwrap();
    let changed = db.write(|tx| {
        tx.execute("UPDATE hanzo_store SET simulated = 0", [])
            .map_err(StoreError::from)
    });
    assert_eq!(changed.unwrap_err().code(), "store.sql");
    drop(db);
    assert_eq!(
        EncryptedDb::open(&p.db, &p.key, V1).unwrap_err().code(),
        "store.simulated"
    );
    EncryptedDb::open_as(&p.db, &p.key, V1, StoreMode::Simulated).unwrap();

    let q = place();
    drop(EncryptedDb::open(&q.db, &q.key, V1).unwrap());
    let mixed = EncryptedDb::open_as(&q.db, &q.key, V1, StoreMode::Simulated);
    assert_eq!(mixed.unwrap_err().code(), "store.not_simulated");
}

#[test]
fn a_failed_transaction_leaves_nothing() {
    let p = place();
    let db = EncryptedDb::open(&p.db, &p.key, V1).unwrap();
    let result: Result<(), StoreError> = db.write(|tx| {
        tx.execute("INSERT INTO t VALUES (1, NULL)", [])?;
        Err(StoreError::DiskFull)
    });
    assert_eq!(result.unwrap_err().code(), "store.disk_full");
    assert_eq!(count(&db), 0);
}

#[test]
fn a_sealed_column_opens_in_its_place_alone() {
    let p = place();
    let db = EncryptedDb::open(&p.db, &p.key, V1).unwrap();
    let sealed = db.columns().seal("t", "b", b"row", 3, b"secret").unwrap();
    let open = |table, column, row: &[u8], version, bytes: &[u8]| {
        db.columns()
            .open(table, column, row, version, bytes)
            .map(|s| s.to_vec())
            .map_err(|e| e.code())
    };
    assert_eq!(open("t", "b", b"row", 3, &sealed), Ok(b"secret".to_vec()));
    assert_eq!(open("u", "b", b"row", 3, &sealed), Err("store.column"));
    assert_eq!(open("t", "c", b"row", 3, &sealed), Err("store.column"));
    assert_eq!(open("t", "b", b"rox", 3, &sealed), Err("store.column"));
    assert_eq!(open("t", "b", b"row", 2, &sealed), Err("store.column"));
    assert_eq!(open("t", "b", b"row", 3, &sealed[..11]), Err("store.column"));
    assert_ne!(
        sealed,
        db.columns().seal("t", "b", b"row", 3, b"secret").unwrap(),
        "fresh nonce"
    );
}

#[test]
fn key_files_that_others_can_read_or_that_are_no_keys_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("k");
    let code = |path: &PathBuf| KeyFile::load(path).map(|_| ()).map_err(|e| e.code());
    assert_eq!(code(&path), Err("store.key.missing"));
    let made = KeyFile::load_or_create(&path).unwrap();
    assert_eq!(KeyFile::load_or_create(&path).unwrap().expose(), made.expose());
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    assert_eq!(
        KeyFile::create(&path).map(|_| ()).unwrap_err().code(),
        "store.io",
        "never replaced"
    );
    assert_eq!(
        fs::read_dir(dir.path()).unwrap().count(),
        1,
        "no temporary file is left"
    );
    for mode in [0o640, 0o604, 0o660, 0o620] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(code(&path), Err("store.key.mode"), "{mode:o}");
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
    assert_eq!(code(&path), Ok(()));
    for wrong in [&[1u8; 31][..], &[1; 33], &[1; 64], &[], &[0; 32]] {
        let path = dir.path().join(format!("w{}", wrong.len()));
        fs::write(&path, wrong).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(code(&path), Err("store.key.shape"), "{}", wrong.len());
    }
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    assert_eq!(code(&link), Err("store.key.shape"));
    assert_eq!(code(&dir.path().to_path_buf()), Err("store.key.shape"));
}
