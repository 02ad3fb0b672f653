//! An encrypted, durable store in one file, and the file that holds its key.
//!
//! [`EncryptedDb`] is SQLCipher with a raw key: every page is encrypted and authenticated, each commit is on the disk
//! before it is reported (WAL, `synchronous = FULL`), and one process writes at a time. Secrets inside it are sealed
//! once more, to the row they belong to ([`ColumnSealer`]). [`KeyFile`] keeps a key in a file only its owner can read.
//!
//! [`Store`] is the layer above for programs that run on SQLCipher or PostgreSQL alike: values and rows of its own
//! ([`Value`], [`Row`]), transactions ([`Tx`]), group commit, and one trait that a backend implements ([`Link`]).
//!
//! It never falls back: a file that is missing, foreign, newer, corrupt, under another key, in use or simulated is a
//! typed [`StoreError`] that says what to do, and never an empty store.
//!
//! # Does not establish
//! Freshness. Whoever controls the disk can put back an older file whole. Callers whose state must not go back keep a
//! hash-chained log and hold its head elsewhere.
//!
//! ```
//! use hanzo_pqc::Dek;
//! use hanzo_store::{EncryptedDb, Schema, StoreError};
//!
//! const SCHEMA: Schema = Schema { application_id: 0x6861_6e00, migrations: &["CREATE TABLE t (a INTEGER) STRICT"] };
//! # fn main() -> Result<(), StoreError> {
//! # let dir = tempfile::tempdir().map_err(|e| StoreError::io("tempdir", std::path::Path::new("/tmp"), e))?;
//! let key = Dek::generate()?;
//! let db = EncryptedDb::open(&dir.path().join("example.db"), &key, SCHEMA)?;
//! db.write(|tx| tx.execute("INSERT INTO t VALUES (1)", []).map_err(StoreError::from))?;
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

mod backup;
mod checkpoint;
mod column;
mod db;
mod error;
mod group;
mod key_file;
mod link;
mod sqlite;
mod store;
mod tx;
mod value;
mod writer;

pub use backup::{Restoring, back_up, read_copy};
pub use column::ColumnSealer;
pub use db::{EncryptedDb, Schema, StoreMode};
pub use error::StoreError;
pub use key_file::KeyFile;
pub use link::Link;
pub use rusqlite;
pub use store::{Guard, Migration, Store, StoreSchema};
pub use tx::Tx;
pub use value::{Row, Value};
