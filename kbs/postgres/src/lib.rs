//! PostgreSQL as a backend of [`hanzo_store::Store`]: for brokers with replicas.
//!
//! All replicas write in turn, under one advisory lock, so that what they append has one order; each commit is on the
//! database's disk before it is reported. The server is trusted to keep rows, not to read them: secret columns are sealed
//! under the store's key, which it never gets. What it puts back or leaves out, the broker's audit chain tells.
//!
//! Connections are Unix sockets, or TCP with TLS 1.3 and a verified name. There is no password in the URL.
//!
//! ```no_run
//! # use hanzo_store::{StoreSchema, StoreMode, StoreError, KeyFile, Migration};
//! # const SCHEMA: StoreSchema = StoreSchema { application_id: 1, migrations: &[] };
//! # fn main() -> Result<(), StoreError> {
//! let key = KeyFile::load("store.key".as_ref())?;
//! let url = "postgresql://kbs@db.example/kbs?sslrootcert=/etc/kbs/db-ca.pem&passfile=/etc/kbs/pgpass";
//! let store = hanzo_store_postgres::open(url, &key, SCHEMA, StoreMode::Production)?;
//! # drop(store);
//! # Ok(())
//! # }
//! ```
//!
//! # Does not establish
//! That the database is the newest one: a server restored from a backup, or a standby that took over and had not got the last
//! commits, is an older store. The broker looks for its newest decision in every transaction ([`Store::guard`]).
#![forbid(unsafe_code)]

mod errors;
mod link;
mod schema;
mod target;
mod tls;
mod wire;

use hanzo_pqc::Dek;
use hanzo_store::{Store, StoreError, StoreMode, StoreSchema};

use crate::link::{PgLink, Server};
use crate::schema::{Expected, MARKS, Making, UNMARK};
pub use crate::target::is_postgres_url;

/// Opens the store in the database at `url`, and brings it to the newest schema.
///
/// # Errors
/// [`StoreError`]: among them `store.target` for the URL, `store.none` for a database without a store, `store.foreign`,
/// `store.wrong_key`, `store.newer_schema`, `store.simulated`, `store.not_durable`, `store.connection`.
pub fn open(url: &str, key: &Dek, schema: StoreSchema, mode: StoreMode) -> Result<Store, StoreError> {
    connect(url, key, schema, mode, Making::Never)
}

/// As [`open`], and makes the store if the database is empty.
///
/// # Errors
/// As [`open`], without `store.none`.
pub fn open_or_create(url: &str, key: &Dek, schema: StoreSchema, mode: StoreMode) -> Result<Store, StoreError> {
    connect(url, key, schema, mode, Making::IfEmpty)
}

/// Makes a store in an empty database, marked as unfinished until [`finish`]. A store that is still
/// marked, whatever its key, gives way if the query `unused` counts 0 in it: its maker was interrupted, and nobody used it.
///
/// # Errors
/// As [`open`], without `store.none`; `store.foreign` for a database with a finished store.
pub fn make_unfinished(
    url: &str,
    key: &Dek,
    schema: StoreSchema,
    mode: StoreMode,
    unused: &str,
) -> Result<Store, StoreError> {
    connect(url, key, schema, mode, Making::Marked { unused })
}

/// Ends the making of a store: it is marked no more.
///
/// # Errors
/// [`StoreError`].
pub fn finish(store: &Store) -> Result<(), StoreError> {
    let marked = store.read(|tx| tx.query_one(MARKS, &[])?.integer(0))?;
    match marked {
        0 => Ok(()),
        _ => store.write(|tx| tx.execute(UNMARK, &[]).map(drop)),
    }
}

/// Empties a database whose store is still marked as unfinished, and in which `unused` counts 0.
///
/// # Errors
/// [`StoreError`].
pub fn remove_unfinished(
    url: &str,
    key: &Dek,
    schema: StoreSchema,
    mode: StoreMode,
    unused: &str,
) -> Result<(), StoreError> {
    let server = Server::new(url, Expected::new(key, schema, mode)?)?;
    PgLink::writer(&server).remove_unfinished(unused)
}

fn connect(
    url: &str,
    key: &Dek,
    schema: StoreSchema,
    mode: StoreMode,
    making: Making<'_>,
) -> Result<Store, StoreError> {
    let expected = Expected::new(key, schema, mode)?;
    let server = Server::new(url, expected)?;
    let mut writer = PgLink::writer(&server);
    writer.migrate(making)?;
    let reader = PgLink::reader(&server);
    let place = server.place().to_owned();
    Store::over(Box::new(writer), Box::new(reader), key, mode, place)
}
