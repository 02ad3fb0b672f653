//! The newest version of each key that this guest's store has seen. A broker that went back to an older state, or was put
//! back to it, would hand out keys that their owner replaced: such a grant stops the boot.
//!
//! The memory is as old as the store: a host that puts an older store back takes it back with it.

use hanzo_kbs_protocol::OpenedGrant;
use hanzo_store::rusqlite::OptionalExtension;
use hanzo_store::{EncryptedDb, StoreError};

use crate::error::GuestError;
use crate::grants::GrantsError;

const TABLE: &str = "CREATE TABLE IF NOT EXISTS key_versions (
    key_id TEXT NOT NULL PRIMARY KEY,
    key_version INTEGER NOT NULL CHECK (key_version > 0)
) STRICT;";

/// Checks each grant against what the store has seen, and remembers it. On any error nothing new is remembered.
///
/// # Errors
/// `grant.version` for an older key than was seen; [`StoreError`].
pub(crate) fn hold_versions(store: &EncryptedDb, opened: Vec<OpenedGrant>) -> Result<Vec<OpenedGrant>, GuestError> {
    store.write(|tx| {
        tx.execute_batch(TABLE).map_err(StoreError::from)?;
        let mut held = Vec::new();
        for opened in opened {
            let key_id = opened.grant.key_id.to_string();
            let seen: Option<i64> = tx
                .query_row(
                    "SELECT key_version FROM key_versions WHERE key_id = ?1",
                    [&key_id],
                    |row| row.get(0),
                )
                .optional()
                .map_err(StoreError::from)?;
            let opened = opened
                .at_least_version(seen.unwrap_or(1) as u64)
                .map_err(|source| GrantsError::Grant {
                    key_id: key_id.clone(),
                    source,
                })?;
            tx.execute(
                "INSERT OR REPLACE INTO key_versions VALUES (?1, ?2)",
                (&key_id, opened.grant.key_version as i64),
            )
            .map_err(StoreError::from)?;
            held.push(opened);
        }
        Ok(held)
    })
}
