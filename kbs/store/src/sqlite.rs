//! SQLCipher as a backend of [`crate::Store`].

use std::sync::Arc;

use rusqlite::Connection;
use rusqlite::types::{ToSqlOutput, ValueRef};

use crate::checkpoint::{Bell, FALLBACK_PAGES};
use crate::db::OpenFile;
use crate::link::Link;
use crate::writer::LiveWriter;
use crate::{Row, StoreError, Value};

/// Statements that are kept prepared: to read their text again takes longer than to run them.
const STATEMENTS_KEPT: usize = 64;

pub(crate) struct SqliteLink {
    connection: Connection,
    /// Rung at every commit.
    bell: Option<Arc<Bell>>,
    // Declared last: the lock outlives the connection.
    _writer: Option<LiveWriter>,
}

impl SqliteLink {
    /// The one that writes; what it commits is copied from the log into the file by whoever hears the bell.
    pub(crate) fn writer(file: OpenFile, bell: Arc<Bell>) -> Result<Self, StoreError> {
        file.connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
        file.connection
            .execute_batch(&format!("PRAGMA wal_autocheckpoint = {FALLBACK_PAGES};"))?;
        Ok(Self {
            connection: file.connection,
            bell: Some(bell),
            _writer: Some(file.writer),
        })
    }

    pub(crate) fn reader(connection: Connection) -> Result<Self, StoreError> {
        connection.execute_batch("PRAGMA query_only = ON;")?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
        Ok(Self {
            connection,
            bell: None,
            _writer: None,
        })
    }
}

impl SqliteLink {
    /// One statement without values.
    fn bare(&self, sql: &str) -> Result<(), StoreError> {
        self.connection.prepare_cached(sql)?.execute([])?;
        Ok(())
    }
}

impl Link for SqliteLink {
    fn begin_write(&mut self) -> Result<(), StoreError> {
        self.bare("BEGIN IMMEDIATE")
    }

    fn begin_read(&mut self) -> Result<(), StoreError> {
        self.bare("BEGIN DEFERRED")
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        self.bare("COMMIT")?;
        if let Some(bell) = &self.bell {
            bell.ring();
        }
        Ok(())
    }

    fn rollback(&mut self) {
        // Fails only if the database has rolled back already.
        let _ = self.connection.execute_batch("ROLLBACK");
    }

    fn in_transaction(&self) -> bool {
        !self.connection.is_autocommit()
    }

    fn batch(&mut self, sql: &str) -> Result<(), StoreError> {
        match sql.contains(';') {
            true => Ok(self.connection.execute_batch(sql)?),
            false => self.bare(sql),
        }
    }

    fn execute(&mut self, sql: &str, values: &[Value]) -> Result<u64, StoreError> {
        let mut statement = self.connection.prepare_cached(sql)?;
        Ok(statement.execute(rusqlite::params_from_iter(values))? as u64)
    }

    fn query(&mut self, sql: &str, values: &[Value]) -> Result<Vec<Row>, StoreError> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let columns = statement.column_count();
        let mut answer = statement.query(rusqlite::params_from_iter(values))?;
        let mut rows = Vec::new();
        while let Some(row) = answer.next()? {
            let values = (0..columns).map(|column| value(column, row.get_ref(column)?));
            rows.push(Row::new(values.collect::<Result<_, _>>()?));
        }
        Ok(rows)
    }
}

impl rusqlite::ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Value::Null => ValueRef::Null,
            Value::Integer(n) => ValueRef::Integer(*n),
            Value::Text(text) => ValueRef::Text(text.as_bytes()),
            Value::Blob(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

fn value(column: usize, got: ValueRef<'_>) -> Result<Value, StoreError> {
    let shape = |got| StoreError::Shape {
        column,
        expected: "integer, text, blob or null",
        got,
    };
    Ok(match got {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(n) => Value::Integer(n),
        ValueRef::Text(bytes) => {
            let text = std::str::from_utf8(bytes).map_err(|_| shape("text that is not UTF-8"))?;
            Value::Text(text.to_owned())
        }
        ValueRef::Blob(bytes) => Value::Blob(bytes.to_vec()),
        ValueRef::Real(_) => return Err(shape("real")),
    })
}
