//! The broker's tables: a list of steps, each for SQLCipher and for PostgreSQL.
//!
//! Both files of a step make the same tables, with the same columns and the same rules. Steps that were released are never
//! changed; a new one is added at the end of the list.

use hanzo_store::{Migration, StoreSchema};

macro_rules! step {
    ($name:literal) => {
        Migration {
            sqlite: include_str!(concat!("schema/", $name, ".sql")),
            postgres: include_str!(concat!("schema/", $name, ".pg.sql")),
        }
    };
}

pub(crate) const SCHEMA: StoreSchema = StoreSchema {
    application_id: 0x686b_6273, // "hkbs"
    migrations: &[
        step!("01_store"),
        step!("02_keks"),
        step!("03_audit_log"),
        step!("04_admins"),
        step!("05_store_heads"),
        step!("06_challenges"),
        step!("07_operations"),
        step!("08_tenant_documents"),
        step!("09_accepted_heads"),
        step!("10_releases"),
    ],
};
