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
//! commits, is an older store. The broker compares it with the head that it keeps outside.
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
use crate::schema::Expected;
pub use crate::target::is_postgres_url;

/// Opens the store in the database at `url`, and brings it to the newest schema.
///
/// # Errors
/// [`StoreError`]: among them `store.target` for the URL, `store.none` for a database without a store, `store.foreign`,
/// `store.wrong_key`, `store.newer_schema`, `store.simulated`, `store.not_durable`, `store.connection`.
pub fn open(url: &str, key: &Dek, schema: StoreSchema, mode: StoreMode) -> Result<Store, StoreError> {
    connect(url, key, schema, mode, false)
}

/// As [`open`], and makes the store if the database is empty.
///
/// # Errors
/// As [`open`], without `store.none`.
pub fn open_or_create(url: &str, key: &Dek, schema: StoreSchema, mode: StoreMode) -> Result<Store, StoreError> {
    connect(url, key, schema, mode, true)
}

fn connect(url: &str, key: &Dek, schema: StoreSchema, mode: StoreMode, may_create: bool) -> Result<Store, StoreError> {
    let expected = Expected::new(key, schema, mode)?;
    let server = Server::new(url, expected)?;
    let mut writer = PgLink::writer(&server);
    writer.migrate(may_create)?;
    let reader = PgLink::reader(&server);
    let place = server.place().to_owned();
    Store::over(Box::new(writer), Box::new(reader), key, mode, place)
}
