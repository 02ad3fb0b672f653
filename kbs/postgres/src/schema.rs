//! What a database has to be, and how it becomes it.
//!
//! # Layout
//! `hanzo_store`, one row: `application_id`, `schema_version`, `simulated`, and `key_check`, a constant sealed under the
//! store's key, which tells a wrong key from a damaged row.

use hanzo_pqc::Dek;
use hanzo_store::{ColumnSealer, StoreError, StoreMode, StoreSchema};

const CHECK: &[u8] = b"hanzo-store-postgres/v1";

const TABLE: &str = "
CREATE TABLE hanzo_store (
    id             BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
    application_id BIGINT NOT NULL,
    schema_version BIGINT NOT NULL,
    simulated      BIGINT NOT NULL CHECK (simulated IN (0, 1)),
    key_check      BYTEA  NOT NULL
);
CREATE FUNCTION hanzo_store_is_fixed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'the mode of a store is fixed'; END $$;
CREATE TRIGGER hanzo_store_is_fixed BEFORE UPDATE OF id, application_id, simulated, key_check ON hanzo_store
FOR EACH ROW EXECUTE FUNCTION hanzo_store_is_fixed();";

/// Says of a store that whoever makes it is not done. It goes when they are, or when a broker uses the store.
pub(crate) const MARK: &str = "COMMENT ON TABLE hanzo_store IS 'hanzo: unfinished'";
pub(crate) const UNMARK: &str = "COMMENT ON TABLE hanzo_store IS NULL";
pub(crate) const MARKS: &str = "SELECT count(*) FROM pg_catalog.pg_description
    WHERE objoid = to_regclass('hanzo_store') AND classoid = 'pg_catalog.pg_class'::regclass AND objsubid = 0
    AND description = 'hanzo: unfinished'";

/// Empties a database that was empty before its store was made: all tables, and the functions of their triggers.
pub(crate) const CLEAR: &str = "DO $$
DECLARE it record;
BEGIN
    FOR it IN SELECT relname FROM pg_catalog.pg_class
        WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r'
    LOOP EXECUTE format('DROP TABLE %I CASCADE', it.relname); END LOOP;
    FOR it IN SELECT oid::regprocedure AS name FROM pg_catalog.pg_proc p
        WHERE pronamespace = current_schema()::regnamespace AND prorettype = 'trigger'::regtype
        AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
            WHERE d.classid = 'pg_catalog.pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
    LOOP EXECUTE format('DROP FUNCTION %s', it.name); END LOOP;
END $$;";

/// Whether a store may be made.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Making<'a> {
    /// It has to be there.
    Never,
    /// If the database is empty.
    IfEmpty,
    /// As before, and it is marked. One that is marked already, and in which `unused` counts nothing, gives way to it.
    Marked { unused: &'a str },
}

/// What this program expects of its database.
pub(crate) struct Expected {
    pub(crate) schema: StoreSchema,
    mode: StoreMode,
    columns: ColumnSealer,
}

/// The one row of `hanzo_store`.
pub(crate) struct Found {
    pub(crate) application_id: i64,
    pub(crate) schema_version: i64,
    pub(crate) simulated: i64,
    pub(crate) key_check: Vec<u8>,
}

impl Expected {
    pub(crate) fn new(key: &Dek, schema: StoreSchema, mode: StoreMode) -> Result<Self, StoreError> {
        Ok(Self {
            schema,
            mode,
            columns: ColumnSealer::new(key)?,
        })
    }

    pub(crate) fn known(&self) -> i64 {
        self.schema.migrations.len() as i64
    }

    /// The statements that make an empty store, before its first step.
    pub(crate) fn creation(&self) -> Result<String, StoreError> {
        let check = self.columns.seal("hanzo_store", "key_check", b"1", 1, CHECK)?;
        let digits: String = check.iter().map(|b| format!("{b:02x}")).collect();
        Ok(format!(
            "{TABLE} INSERT INTO hanzo_store VALUES (1, {}, 0, {}, '\\x{digits}');",
            self.schema.application_id,
            i32::from(self.mode == StoreMode::Simulated),
        ))
    }

    /// Refuses another program's store, another key's, the other mode's, and a newer one.
    pub(crate) fn check(&self, place: &str, found: &Found) -> Result<(), StoreError> {
        let path = || place.into();
        if found.application_id != i64::from(self.schema.application_id) {
            return Err(StoreError::Foreign {
                path: path(),
                what: format!(
                    "application id is {:#010x}, expected {:#010x}",
                    found.application_id, self.schema.application_id
                ),
            });
        }
        let opened = self.columns.open("hanzo_store", "key_check", b"1", 1, &found.key_check);
        if !opened.is_ok_and(|check| check.as_slice() == CHECK) {
            return Err(StoreError::WrongKey { path: path() });
        }
        match (found.simulated, self.mode) {
            (0, StoreMode::Production) | (1, StoreMode::Simulated) => {}
            (0, StoreMode::Simulated) => return Err(StoreError::NotSimulated { path: path() }),
            _ => return Err(StoreError::Simulated { path: path() }),
        }
        if !(0..=self.known()).contains(&found.schema_version) {
            return Err(StoreError::NewerSchema {
                path: path(),
                got: found.schema_version,
                known: self.known(),
            });
        }
        Ok(())
    }
}
