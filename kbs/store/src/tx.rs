//! A transaction, as those who use a store see it.

use std::cell::RefCell;

use crate::link::Link;
use crate::{Row, StoreError, Value};

/// A transaction. SQL is the common subset of SQLite and PostgreSQL: placeholders `?1`, `?2`, ..; `INSERT .. ON CONFLICT DO
/// NOTHING`; numbers are `BIGINT`, truth values 0 and 1. `?` appears nowhere else in a statement.
///
/// After a statement that failed the transaction is over, as in PostgreSQL: all further ones fail, and nothing of it is
/// committed whatever the closure returns.
pub struct Tx<'a> {
    link: RefCell<&'a mut dyn Link>,
    failure: RefCell<Option<StoreError>>,
}

impl<'a> Tx<'a> {
    pub(crate) fn new(link: &'a mut dyn Link) -> Self {
        Self {
            link: RefCell::new(link),
            failure: RefCell::new(None),
        }
    }

    /// Why it is over, if a statement failed.
    pub(crate) fn into_failure(self) -> Option<StoreError> {
        self.failure.into_inner()
    }

    /// Runs a statement; how many rows it changed.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn execute(&self, sql: &str, values: &[Value]) -> Result<u64, StoreError> {
        self.run(|link| link.execute(sql, values))
    }

    /// Runs a query; all its rows, in memory. Ask for long tables in pieces (`LIMIT`).
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn query(&self, sql: &str, values: &[Value]) -> Result<Vec<Row>, StoreError> {
        self.run(|link| link.query(sql, values))
    }

    /// Runs a query of at most one row.
    ///
    /// # Errors
    /// [`StoreError`]; [`StoreError::Rows`] if there are several.
    pub fn query_opt(&self, sql: &str, values: &[Value]) -> Result<Option<Row>, StoreError> {
        let mut rows = self.query(sql, values)?;
        match (rows.pop(), rows.len()) {
            (row, 0) => Ok(row),
            (_, more) => Err(StoreError::Rows { got: more + 1 }),
        }
    }

    /// Runs a query of exactly one row.
    ///
    /// # Errors
    /// [`StoreError`]; [`StoreError::Rows`] if there is none or several.
    pub fn query_one(&self, sql: &str, values: &[Value]) -> Result<Row, StoreError> {
        self.query_opt(sql, values)?.ok_or(StoreError::Rows { got: 0 })
    }

    fn run<T>(&self, statement: impl FnOnce(&mut dyn Link) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let mut failure = self.failure.borrow_mut();
        if failure.is_some() {
            return Err(StoreError::Aborted);
        }
        statement(&mut **self.link.borrow_mut()).inspect_err(|e| *failure = Some(e.again()))
    }
}
