//! The driver's errors as the store's.

use hanzo_store::StoreError;
use tokio_postgres::error::{Severity, SqlState};

/// What an error means. The texts of PostgreSQL name tables and constraints; values that it puts into details are left out.
pub(crate) fn store_error(place: &str, e: &tokio_postgres::Error) -> StoreError {
    let lost = |detail: String| StoreError::Connection {
        place: place.to_owned(),
        detail,
    };
    let Some(db) = e.as_db_error() else {
        return lost(chain(e));
    };
    let said = db.message().to_owned();
    let code = db.code();
    if *code == SqlState::DISK_FULL {
        return StoreError::DiskFull;
    }
    if *code == SqlState::DATA_CORRUPTED || *code == SqlState::INDEX_CORRUPTED {
        return StoreError::Corrupt { what: said };
    }
    if [
        SqlState::LOCK_NOT_AVAILABLE,
        SqlState::QUERY_CANCELED,
        SqlState::TOO_MANY_CONNECTIONS,
    ]
    .contains(code)
    {
        return StoreError::Busy {
            place: place.to_owned(),
            detail: said,
        };
    }
    if matches!(db.parsed_severity(), Some(Severity::Fatal | Severity::Panic)) {
        return lost(said);
    }
    match code.code().get(..2) {
        // Connection exceptions; authentication; the server's own end; no such database.
        Some("08" | "28" | "57" | "3D") => lost(said),
        _ => StoreError::Sql(format!("{said} [{}]", code.code())),
    }
}

fn chain(e: &tokio_postgres::Error) -> String {
    let mut text = e.to_string();
    let mut source = std::error::Error::source(e);
    while let Some(e) = source {
        text.push_str(": ");
        text.push_str(&e.to_string());
        source = e.source();
    }
    text
}
