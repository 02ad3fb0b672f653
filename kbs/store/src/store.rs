//! A store whose SQL runs on SQLCipher and on PostgreSQL.

use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use hanzo_pqc::Dek;

use crate::checkpoint::Checkpointer;
use crate::db::{connect, open_file};
use crate::group::Group;
use crate::link::Link;
use crate::sqlite::SqliteLink;
use crate::{ColumnSealer, StoreError, StoreMode, Tx};

/// One step of a schema, in both dialects. Tables, columns and constraints are the same.
#[derive(Debug, Clone, Copy)]
pub struct Migration {
    /// For SQLCipher.
    pub sqlite: &'static str,
    /// For PostgreSQL.
    pub postgres: &'static str,
}

/// What a store holds, for every backend.
#[derive(Debug, Clone, Copy)]
pub struct StoreSchema {
    /// Tells one kind of store from another; not 0.
    pub application_id: i32,
    /// Leads from version n to n + 1. Only ever append.
    pub migrations: &'static [Migration],
}

/// Looks at each transaction before anything is done in it; its error is the transaction's.
pub type Guard = Box<dyn Fn(&Tx<'_>) -> Result<(), StoreError> + Send + Sync>;

/// An open store.
///
/// [`Store::write`] is durable and shares commits between callers; [`Store::read`] sees what is committed and does not wait
/// for writers.
pub struct Store {
    // The others go first: the last connection to a file tidies it up, and that has to be the one with the lock.
    reader: Mutex<Box<dyn Link>>,
    _checkpointer: Option<Checkpointer>,
    writer: Group,
    columns: ColumnSealer,
    mode: StoreMode,
    place: String,
    guard: Arc<OnceLock<Guard>>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Store({})", self.place)
    }
}

impl Store {
    /// Opens the SQLCipher store at `path`, or makes an empty one if there never was one. A store made in another mode is
    /// refused.
    ///
    /// # Errors
    /// [`StoreError`]; see its variants.
    pub fn sqlcipher(path: &Path, key: &Dek, schema: StoreSchema, mode: StoreMode) -> Result<Self, StoreError> {
        let migrations: Vec<_> = schema.migrations.iter().map(|m| m.sqlite).collect();
        let file = open_file(path, key, schema.application_id, &migrations, mode)?;
        let reader = SqliteLink::reader(connect(path, key)?)?;
        let checkpointer = Checkpointer::start(connect(path, key)?)?;
        let writer = SqliteLink::writer(file, checkpointer.bell())?;
        let place = path.display().to_string();
        let store = Self::over(Box::new(writer), Box::new(reader), key, mode, place)?;
        Ok(Self {
            _checkpointer: Some(checkpointer),
            ..store
        })
    }

    /// A store over two connections of another backend, which has checked key, mode and schema. `place` names the database
    /// in errors; it holds no password.
    ///
    /// # Errors
    /// [`StoreError::Crypto`].
    pub fn over(
        writer: Box<dyn Link>,
        reader: Box<dyn Link>,
        key: &Dek,
        mode: StoreMode,
        place: String,
    ) -> Result<Self, StoreError> {
        let guard = Arc::default();
        Ok(Self {
            reader: Mutex::new(reader),
            _checkpointer: None,
            writer: Group::new(writer, Arc::clone(&guard)),
            guard,
            columns: ColumnSealer::new(key)?,
            mode,
            place,
        })
    }

    /// Has every transaction from now on begin with `guard`. The first one set stays.
    pub fn guard(&self, guard: Guard) {
        let _ = self.guard.set(guard);
    }

    /// The mode it was made in.
    pub fn mode(&self) -> StoreMode {
        self.mode
    }

    /// Which file or database it is.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Seals and opens secret columns.
    pub fn columns(&self) -> &ColumnSealer {
        &self.columns
    }

    /// Runs `f` in a transaction. When this returns `Ok`, what `f` did is on the disk; on any error nothing of it is
    /// (after [`StoreError::Connection`] it may be: the connection was lost before the answer).
    ///
    /// Calls from several threads run one after the other and share a commit; so do calls of several processes on one
    /// PostgreSQL, without sharing. `f` does not use the store itself.
    ///
    /// # Errors
    /// Those of `f`; [`StoreError`] if a statement of `f` or the commit fails.
    pub fn write<T, E: From<StoreError>>(&self, f: impl FnOnce(&Tx<'_>) -> Result<T, E>) -> Result<T, E> {
        self.writer.write(f)
    }

    /// As [`Store::write`] for each of several closures, in their order: they take one turn and mostly share a commit. Each has
    /// its own outcome; one that fails undoes its own part alone.
    pub fn write_each<T, E, F>(&self, each: impl IntoIterator<Item = F>) -> Vec<Result<T, E>>
    where
        E: From<StoreError>,
        F: FnOnce(&Tx<'_>) -> Result<T, E>,
    {
        self.writer.write_each(each)
    }

    /// Runs `f`, which only reads, on one committed state.
    ///
    /// # Errors
    /// Those of `f`; [`StoreError`].
    pub fn read<T, E: From<StoreError>>(&self, f: impl FnOnce(&Tx<'_>) -> Result<T, E>) -> Result<T, E> {
        let mut link = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        // What a panic in an earlier reader left open.
        if link.in_transaction() {
            link.rollback();
        }
        link.begin_read()?;
        let tx = Tx::new(&mut **link);
        let outcome = match self.guard.get().map_or(Ok(()), |guard| guard(&tx)) {
            Ok(()) => f(&tx),
            Err(e) => Err(e.into()),
        };
        let failure = tx.into_failure();
        link.rollback();
        match failure {
            Some(e) if outcome.is_ok() => Err(e.into()),
            _ => outcome,
        }
    }
}
