//! The encrypted database.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use hanzo_pqc::Dek;
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};
use zeroize::Zeroizing;

use crate::key_file::sync_dir;
use crate::writer::{LiveWriter, Remembered};
use crate::{ColumnSealer, StoreError};

/// Stores up to this size are read and verified whole when opened; in larger ones each page is verified when read.
const VERIFY_BYTES_MAX: u64 = 64 << 20;

/// What a store holds.
#[derive(Debug, Clone, Copy)]
pub struct Schema {
    /// Tells one kind of store from another (SQLite's `application_id`); not 0.
    pub application_id: i32,
    /// SQL that leads from version n to n + 1. Only ever append.
    pub migrations: &'static [&'static str],
}

/// Whether keys for simulated guests may be in the store. Fixed when it is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreMode {
    /// Real guests alone.
    Production,
    /// Made by the simulated appliance; no production program opens it.
    Simulated,
}

/// An open store: SQLCipher under a raw key, WAL, `synchronous = FULL`, foreign keys on, one writer.
pub struct EncryptedDb {
    connection: Mutex<Connection>,
    columns: ColumnSealer,
    mode: StoreMode,
    path: PathBuf,
    // Declared last: the lock outlives the connection.
    _writer: LiveWriter,
}

impl std::fmt::Debug for EncryptedDb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "EncryptedDb({})", self.path.display())
    }
}

impl EncryptedDb {
    /// Opens the store at `path`, or makes an empty one if there never was one.
    ///
    /// # Errors
    /// [`StoreError`]; see its variants.
    pub fn open(path: &Path, key: &Dek, schema: Schema) -> Result<Self, StoreError> {
        Self::open_as(path, key, schema, StoreMode::Production)
    }

    /// As [`EncryptedDb::open`], for one of the two modes. A store made in the other mode is refused.
    ///
    /// # Errors
    /// [`StoreError`]; see its variants.
    pub fn open_as(path: &Path, key: &Dek, schema: Schema, mode: StoreMode) -> Result<Self, StoreError> {
        let file = open_file(path, key, schema.application_id, schema.migrations, mode)?;
        Ok(Self {
            connection: Mutex::new(file.connection),
            columns: ColumnSealer::new(key)?,
            mode,
            path: path.to_owned(),
            _writer: file.writer,
        })
    }

    /// The mode it was made in.
    pub fn mode(&self) -> StoreMode {
        self.mode
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Seals and opens secret columns.
    pub fn columns(&self) -> &ColumnSealer {
        &self.columns
    }

    /// Runs `f` in one transaction. When this returns `Ok`, the result is on the disk; on any error nothing of it is.
    ///
    /// # Errors
    /// Those of `f`; [`StoreError`] if the commit fails.
    pub fn write<T, E: From<StoreError>>(&self, f: impl FnOnce(&Transaction<'_>) -> Result<T, E>) -> Result<T, E> {
        let mut connection = self.lock();
        let tx = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(StoreError::from)?;
        let value = f(&tx)?;
        tx.commit().map_err(StoreError::from)?;
        Ok(value)
    }

    /// Runs `f`, which only reads.
    ///
    /// # Errors
    /// Those of `f`.
    pub fn read<T, E: From<StoreError>>(&self, f: impl FnOnce(&Connection) -> Result<T, E>) -> Result<T, E> {
        f(&self.lock())
    }

    /// A panic inside a transaction rolls it back, so a poisoned lock guards a sound connection.
    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A store's file, checked, brought to the newest schema, and locked against other processes.
pub(crate) struct OpenFile {
    pub(crate) connection: Connection,
    pub(crate) writer: LiveWriter,
}

pub(crate) fn open_file(
    path: &Path,
    key: &Dek,
    application_id: i32,
    migrations: &[&str],
    mode: StoreMode,
) -> Result<OpenFile, StoreError> {
    let mut writer = LiveWriter::acquire(path)?;
    let remembered = writer.remembered(key)?;
    let size = match fs::metadata(path) {
        Ok(meta) => meta.len(),
        Err(e) if e.kind() == ErrorKind::NotFound => {
            if remembered != Remembered::Nothing {
                return Err(StoreError::Missing { path: path.to_owned() });
            }
            create_empty(path)?;
            0
        }
        Err(e) => return Err(StoreError::io("inspect store", path, e)),
    };
    if size > 0 {
        refuse_foreign_file(path)?;
        if remembered == Remembered::OtherKey {
            return Err(StoreError::WrongKey { path: path.to_owned() });
        }
    } else if remembered != Remembered::Nothing {
        return Err(StoreError::Corrupt {
            what: format!("{} is empty, and it was not", path.display()),
        });
    }
    let mut connection = connect(path, key).map_err(|e| match (e, remembered) {
        (StoreError::Corrupt { .. }, Remembered::Nothing) => StoreError::Unreadable { path: path.to_owned() },
        (e, _) => e,
    })?;
    if size > 0 && size <= VERIFY_BYTES_MAX {
        verify_pages(&connection)?;
    }
    migrate(&mut connection, path, application_id, migrations, mode)?;
    if remembered == Remembered::Nothing {
        writer.remember(key)?;
        let dir = path
            .parent()
            .filter(|d| !d.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        sync_dir(dir).map_err(|e| StoreError::io("sync directory", dir, e))?;
    }
    Ok(OpenFile { connection, writer })
}

/// Opens one more connection to a file that is open already.
pub(crate) fn connect(path: &Path, key: &Dek) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    library_ready();
    let connection = Connection::open_with_flags(path, flags)?;
    unlock(&connection, key)?;
    Ok(connection)
}

/// SQLite calls itself ready before SQLCipher's part of its start has run: of two threads that open their first stores at
/// once, one is told that there is no cipher. So one connection comes first, alone.
pub(crate) fn library_ready() {
    static FIRST: Once = Once::new();
    // If it fails, so does the caller's own opening, which says why.
    FIRST.call_once(|| drop(Connection::open_in_memory()));
}

pub(crate) fn create_empty(path: &Path) -> Result<(), StoreError> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map(drop)
        .map_err(|e| StoreError::io("create store", path, e))
}

/// An encrypted file starts with 16 random bytes; a plain SQLite file names itself.
fn refuse_foreign_file(path: &Path) -> Result<(), StoreError> {
    let mut head = [0; 16];
    let read = fs::File::open(path)
        .and_then(|mut f| f.read_exact(&mut head))
        .map_err(|e| StoreError::io("read store", path, e));
    if matches!(&read, Err(StoreError::Io { source, .. }) if source.kind() == ErrorKind::UnexpectedEof) {
        return Err(StoreError::Corrupt {
            what: format!("{} is cut off in its first 16 bytes", path.display()),
        });
    }
    read?;
    if head == *b"SQLite format 3\0" {
        return Err(StoreError::Foreign {
            path: path.to_owned(),
            what: "a plain SQLite file, not an encrypted store".into(),
        });
    }
    Ok(())
}

/// Gives the key as raw bytes (no password derivation) and proves that it fits.
pub(crate) fn give_key(connection: &Connection, key: &Dek) -> Result<(), StoreError> {
    // Before the key: SQLCipher otherwise writes to stderr on a wrong one.
    connection.execute_batch("PRAGMA cipher_log_level = NONE;")?;
    let mut digits = Zeroizing::new([0u8; 64]);
    hex::encode_to_slice(key.expose(), digits.as_mut()).map_err(|_| StoreError::Corrupt {
        what: "key encoding".into(),
    })?;
    let mut pragma = Zeroizing::new(String::with_capacity(96));
    pragma.push_str("PRAGMA key = \"x'");
    digits.iter().for_each(|d| pragma.push(char::from(*d)));
    pragma.push_str("'\";");
    connection.execute_batch(&pragma)?;
    let cipher: String = connection
        .query_row("PRAGMA cipher_version", [], |row| row.get(0))
        .map_err(|_| StoreError::Corrupt {
            what: "this program was built without SQLCipher and would write plain text".into(),
        })?;
    debug_assert!(!cipher.is_empty());
    connection.query_row("SELECT count(*) FROM sqlite_master", [], |_| Ok(()))?;
    Ok(())
}

/// As [`give_key`], and sets what every connection needs that may write.
fn unlock(connection: &Connection, key: &Dek) -> Result<(), StoreError> {
    give_key(connection, key)?;
    // secure_delete: what was destroyed on purpose stays in no free part of a page. wal_autocheckpoint: 16 MiB; each
    // checkpoint makes whoever commits then wait, and pages that change often are copied once for all their changes.
    connection.execute_batch(
        "PRAGMA secure_delete = ON; PRAGMA temp_store = MEMORY; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; \
         PRAGMA trusted_schema = OFF; PRAGMA busy_timeout = 2000; PRAGMA wal_autocheckpoint = 4000;",
    )?;
    let journal: String = connection.query_row("PRAGMA journal_mode", [], |row| row.get(0))?;
    if journal != "wal" {
        return Err(StoreError::Corrupt {
            what: format!("journal mode is {journal}, expected wal (a file system without shared memory?)"),
        });
    }
    Ok(())
}

pub(crate) fn verify_pages(connection: &Connection) -> Result<(), StoreError> {
    let mut pages = connection.prepare("PRAGMA cipher_integrity_check")?;
    let mut rows = pages.query([])?;
    if let Some(row) = rows.next()? {
        return Err(StoreError::Corrupt {
            what: row.get::<_, String>(0).unwrap_or_else(|_| "a page".into()),
        });
    }
    drop(rows);
    // Not quick_check: a single older page put back verifies by itself, and only the indexes tell.
    let verdict: String = connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    if verdict != "ok" {
        return Err(StoreError::Corrupt { what: verdict });
    }
    Ok(())
}

fn migrate(
    connection: &mut Connection,
    path: &Path,
    expected_id: i32,
    migrations: &[&str],
    mode: StoreMode,
) -> Result<(), StoreError> {
    let known = migrations.len() as i64;
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let application_id: i32 = tx.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    let tables: i64 = tx.query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get(0))?;
    if tables == 0 {
        tx.execute_batch(&format!(
            "CREATE TABLE hanzo_store (id INTEGER PRIMARY KEY CHECK (id = 1), simulated INTEGER NOT NULL CHECK (simulated IN (0, 1))) STRICT;
             INSERT INTO hanzo_store VALUES (1, {});
             CREATE TRIGGER hanzo_store_is_fixed BEFORE UPDATE ON hanzo_store BEGIN SELECT RAISE(ABORT, 'the mode of a store is fixed'); END;
             PRAGMA application_id = {};",
            i32::from(mode == StoreMode::Simulated),
            expected_id
        ))?;
    } else if application_id != expected_id {
        return Err(StoreError::Foreign {
            path: path.to_owned(),
            what: format!(
                "application id is {application_id:#010x}, expected {:#010x}",
                expected_id
            ),
        });
    }
    let simulated: i32 = tx.query_row("SELECT simulated FROM hanzo_store WHERE id = 1", [], |row| row.get(0))?;
    match (simulated, mode) {
        (0, StoreMode::Production) | (1, StoreMode::Simulated) => {}
        (0, StoreMode::Simulated) => return Err(StoreError::NotSimulated { path: path.to_owned() }),
        _ => return Err(StoreError::Simulated { path: path.to_owned() }),
    }
    let got: i64 = tx.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if got > known || got < 0 {
        return Err(StoreError::NewerSchema {
            path: path.to_owned(),
            got,
            known,
        });
    }
    for sql in migrations.iter().skip(got as usize) {
        tx.execute_batch(sql)?;
    }
    tx.execute_batch(&format!("PRAGMA user_version = {known};"))?;
    tx.commit()?;
    Ok(())
}
