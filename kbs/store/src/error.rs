//! Why a store or a key file was refused, and what to do about it.

use std::path::{Path, PathBuf};

/// Why a store or a key file was refused.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There was a store here, and its file is gone.
    #[error(
        "store {path}: the file is gone, and {path}.lock says that there was one: restore it from a backup, or remove {path}.lock to start an empty store"
    )]
    Missing {
        /// The store's file.
        path: PathBuf,
    },
    /// The key is not the one this store was made with.
    #[error("store {path}: the key is not the one it was made with: give the key file that belongs to this store")]
    WrongKey {
        /// The store's file.
        path: PathBuf,
    },
    /// Not readable under this key, and nothing tells whether key or file is at fault.
    #[error(
        "store {path}: not readable under this key: either the key file belongs to another store or the file is damaged; try the right key, then a backup"
    )]
    Unreadable {
        /// The store's file.
        path: PathBuf,
    },
    /// The key fits and the content does not verify.
    #[error("store: damaged: {what}: restore it from a backup")]
    Corrupt {
        /// What was found.
        what: String,
    },
    /// A file of another program or another part of this one.
    #[error("store {path}: {what}: give the path of the right file")]
    Foreign {
        /// The store's file.
        path: PathBuf,
        /// What it is instead.
        what: String,
    },
    /// Written by a newer version.
    #[error(
        "store {path}: its schema is version {got}, this program knows up to {known}: use the program version that wrote it, or a newer one"
    )]
    NewerSchema {
        /// The store's file.
        path: PathBuf,
        /// The version found.
        got: i64,
        /// The newest known version.
        known: i64,
    },
    /// No room. What was not reported as done was not done.
    #[error("store: the disk is full (or the file reached its limit): free space; the last write was undone")]
    DiskFull,
    /// Another process holds it.
    #[error("store {path}: another process is using it: stop that process first (one writer at a time)")]
    InUse {
        /// The store's file.
        path: PathBuf,
    },
    /// A store of the simulated mode, offered to a production program.
    #[error(
        "store {path}: it was made in simulated mode and may hold keys for simulated guests: this program opens production stores alone; make a new one"
    )]
    Simulated {
        /// The store's file.
        path: PathBuf,
    },
    /// A production store, offered to the simulated mode.
    #[error("store {path}: a production store; the simulated mode opens only stores that were made by it")]
    NotSimulated {
        /// The store's file.
        path: PathBuf,
    },
    /// A key file does not exist.
    #[error("key file {path}: there is none: restore it, or create one with `init` for a new store")]
    KeyMissing {
        /// The key file.
        path: PathBuf,
    },
    /// Others than the owner can read or write the key.
    #[error(
        "key file {path}: mode is {mode:04o}, expected 0600 or 0400: others could read the key; `chmod 600 {path}`"
    )]
    KeyMode {
        /// The key file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Not a regular file of 32 bytes.
    #[error("key file {path}: expected a regular file of 32 bytes, got {got}: this is not a key file")]
    KeyShape {
        /// The key file.
        path: PathBuf,
        /// What it is.
        got: String,
    },
    /// A sealed column does not open: another row's or version's value, another key, or damage.
    #[error("store: {table}.{column}: the sealed value does not belong to this row and version")]
    Column {
        /// Its table.
        table: &'static str,
        /// Its column.
        column: &'static str,
    },
    /// The operating system refused.
    #[error("{what} {path}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The cryptographic backend failed.
    #[error("store: {0}")]
    Crypto(#[from] hanzo_pqc::PqcError),
    /// A statement failed for another reason, e.g. a constraint.
    #[error("store: {0}")]
    Sql(String),
    /// An earlier statement of the same transaction failed.
    #[error("store: a statement of this transaction failed before: nothing of it is kept")]
    Aborted,
    /// A query gave more or fewer rows than one.
    #[error("store: expected one row, got {got}")]
    Rows {
        /// How many came.
        got: usize,
    },
    /// A column holds something else than expected.
    #[error("store: column {column} of an answer: expected {expected}, got {got}")]
    Shape {
        /// Counted from 0.
        column: usize,
        /// What the program reads there.
        expected: &'static str,
        /// What came.
        got: &'static str,
    },
    /// The database cannot be reached, or the connection to it was lost.
    #[error(
        "store {place}: {detail}: nothing was acknowledged; check that the database runs and can be reached, the next request connects again"
    )]
    Connection {
        /// Which database.
        place: String,
        /// What happened.
        detail: String,
    },
    /// The database did not answer in time.
    #[error(
        "store {place}: {detail}: nothing was acknowledged; is the database overloaded, or held by another broker?"
    )]
    Busy {
        /// Which database.
        place: String,
        /// What was waited for.
        detail: String,
    },
    /// The name of a database is not acceptable.
    #[error("store {place}: {detail}")]
    Target {
        /// Which database; without a password.
        place: String,
        /// What is wrong with it, or expected.
        detail: String,
    },
    /// The database is empty.
    #[error(
        "store {place}: there is none in this database: make one with `hanzo-kbs init`, or give the right database"
    )]
    NoStore {
        /// Which database.
        place: String,
    },
    /// Not the newest state: an older database took over, or an older one was put back.
    #[error(
        "store {place}: its newest decision is {got}, and {expected} were made: an older database took over (a standby, a backup), and use counts with it; bring the newest one back, or accept the loss with `hanzo-kbs accept-head`"
    )]
    RolledBack {
        /// Which database.
        place: String,
        /// The newest decision that was acknowledged.
        expected: u64,
        /// The newest one that is there.
        got: u64,
    },
    /// A database that would not keep what it acknowledges.
    #[error("store {place}: {setting} is {got}: acknowledged decisions could be lost; set it to {expected}")]
    NotDurable {
        /// Which database.
        place: String,
        /// The server's setting.
        setting: &'static str,
        /// How it is set.
        got: String,
        /// How it has to be set.
        expected: &'static str,
    },
}

impl StoreError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "store.missing",
            Self::WrongKey { .. } => "store.wrong_key",
            Self::Unreadable { .. } => "store.unreadable",
            Self::Corrupt { .. } => "store.corrupt",
            Self::Foreign { .. } => "store.foreign",
            Self::NewerSchema { .. } => "store.newer_schema",
            Self::DiskFull => "store.disk_full",
            Self::InUse { .. } => "store.in_use",
            Self::Simulated { .. } => "store.simulated",
            Self::NotSimulated { .. } => "store.not_simulated",
            Self::KeyMissing { .. } => "store.key.missing",
            Self::KeyMode { .. } => "store.key.mode",
            Self::KeyShape { .. } => "store.key.shape",
            Self::Column { .. } => "store.column",
            Self::Io { .. } => "store.io",
            Self::Crypto(e) => e.code(),
            Self::Sql(_) => "store.sql",
            Self::Aborted => "store.aborted",
            Self::Rows { .. } => "store.rows",
            Self::Shape { .. } => "store.shape",
            Self::Connection { .. } => "store.connection",
            Self::Busy { .. } => "store.busy",
            Self::Target { .. } => "store.target",
            Self::NoStore { .. } => "store.none",
            Self::RolledBack { .. } => "store.rolled_back",
            Self::NotDurable { .. } => "store.not_durable",
        }
    }

    /// The same once more, for another member of the transaction that it ended.
    pub(crate) fn again(&self) -> Self {
        match self {
            Self::DiskFull => Self::DiskFull,
            Self::Aborted => Self::Aborted,
            Self::Corrupt { what } => Self::Corrupt { what: what.clone() },
            Self::Connection { place, detail } => Self::Connection {
                place: place.clone(),
                detail: detail.clone(),
            },
            Self::Busy { place, detail } => Self::Busy {
                place: place.clone(),
                detail: detail.clone(),
            },
            Self::Sql(what) => Self::Sql(what.clone()),
            other => Self::Sql(other.to_string()),
        }
    }

    /// Wraps an operating-system error; a full disk becomes [`StoreError::DiskFull`].
    pub fn io(what: &'static str, path: &Path, source: std::io::Error) -> Self {
        if matches!(
            source.kind(),
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded
        ) {
            return Self::DiskFull;
        }
        Self::Io {
            what,
            path: path.to_owned(),
            source,
        }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(e: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode as Code;
        // The index of the write-ahead log cannot grow: SQLite has no other word for a disk without room for it.
        if e.sqlite_error()
            .is_some_and(|e| e.extended_code == rusqlite::ffi::SQLITE_IOERR_SHMSIZE)
        {
            return Self::DiskFull;
        }
        match e.sqlite_error_code() {
            Some(Code::DiskFull) => Self::DiskFull,
            Some(Code::DatabaseCorrupt | Code::NotADatabase) => Self::Corrupt {
                what: "a page does not verify under the store's key".into(),
            },
            _ => Self::Sql(e.to_string()),
        }
    }
}
