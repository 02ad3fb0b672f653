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

/// Makes the store.
pub(crate) fn make(config: &KbsConfig, key: &Dek, mode: StoreMode) -> Result<(), StoreError> {
    match config.postgres_url() {
        Some(url) => hanzo_store_postgres::open_or_create(url, key, SCHEMA, mode).map(drop),
        None => open(config, key, mode).map(drop),
    }
}

/// Whether there is, or was, a store in the file. A database tells when it is opened.
pub(crate) fn may_exist(config: &KbsConfig) -> bool {
    config.postgres_url().is_some() || config.store.exists() || config.store.with_added_extension("lock").exists()
}
