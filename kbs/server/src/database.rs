//! Where the store is: a SQLCipher file, or a PostgreSQL database that replicas share.

use hanzo_pqc::Dek;
use hanzo_store::{Store, StoreError, StoreMode};

use crate::KbsConfig;
use crate::schema::SCHEMA;

/// Opens the store that the configuration names. A database without one is refused, a file that never was is made.
pub(crate) fn open(config: &KbsConfig, key: &Dek, mode: StoreMode) -> Result<Store, StoreError> {
    match config.postgres_url() {
        Some(url) => hanzo_store_postgres::open(url, key, SCHEMA, mode),
        None => Store::sqlcipher(&config.store, key, SCHEMA, mode),
    }
}

/// What a database that was never served holds none of.
const DECISIONS: &str = "SELECT count(*) FROM audit";

/// Makes the store. In a database it is marked as unfinished, and takes the place of one that is marked so and empty.
pub(crate) fn make(config: &KbsConfig, key: &Dek, mode: StoreMode) -> Result<(), StoreError> {
    match config.postgres_url() {
        Some(url) => hanzo_store_postgres::make_unfinished(url, key, SCHEMA, mode, DECISIONS).map(drop),
        None => open(config, key, mode).map(drop),
    }
}

/// Takes the mark away.
pub(crate) fn finish(config: &KbsConfig, store: &Store) -> Result<(), StoreError> {
    match config.postgres_url() {
        Some(_) => hanzo_store_postgres::finish(store),
        None => Ok(()),
    }
}

/// Empties a database whose store is still marked. If that fails, the next init does it.
pub(crate) fn unmake(config: &KbsConfig, key: &Dek, mode: StoreMode) {
    if let Some(url) = config.postgres_url() {
        let _ = hanzo_store_postgres::remove_unfinished(url, key, SCHEMA, mode, DECISIONS);
    }
}

/// Whether there is, or was, a store in the file. A database tells when it is opened.
pub(crate) fn may_exist(config: &KbsConfig) -> bool {
    config.postgres_url().is_some() || config.store.exists() || config.store.with_added_extension("lock").exists()
}
