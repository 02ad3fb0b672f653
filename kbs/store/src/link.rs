//! What a backend provides: one connection.

use crate::{Row, StoreError, Value};

/// One connection to a database. [`crate::Store`] holds two: one that writes, one that reads.
///
/// A backend makes `commit` durable: when it returns `Ok`, no crash and no power failure takes the transaction back.
/// After an error of any other call, `rollback` is called before the next `begin_write` or `begin_read`.
pub trait Link: Send {
    /// Starts a transaction that may write, alone among all writers of this database: those of other processes too. May
    /// connect again first, if the connection was lost while nothing was going on.
    ///
    /// # Errors
    /// [`StoreError`]; no transaction is open then.
    fn begin_write(&mut self) -> Result<(), StoreError>;

    /// Starts a transaction that sees one state of the database and cannot write.
    ///
    /// # Errors
    /// [`StoreError`]; no transaction is open then.
    fn begin_read(&mut self) -> Result<(), StoreError>;

    /// Ends the transaction; what it wrote is on the disk when this returns.
    ///
    /// # Errors
    /// [`StoreError`]. [`StoreError::Connection`] leaves open whether it was committed; all others say that it was not.
    fn commit(&mut self) -> Result<(), StoreError>;

    /// Ends the transaction without effect. Never fails: a connection that cannot roll back is given up.
    fn rollback(&mut self);

    /// Whether the transaction is still there. Databases undo it by themselves after some errors, a full disk for one.
    fn in_transaction(&self) -> bool;

    /// Runs statements that take no values: savepoints.
    ///
    /// # Errors
    /// [`StoreError`].
    fn batch(&mut self, sql: &str) -> Result<(), StoreError>;

    /// Runs one statement; how many rows it changed.
    ///
    /// # Errors
    /// [`StoreError`].
    fn execute(&mut self, sql: &str, values: &[Value]) -> Result<u64, StoreError>;

    /// Runs one statement; its rows.
    ///
    /// # Errors
    /// [`StoreError`].
    fn query(&mut self, sql: &str, values: &[Value]) -> Result<Vec<Row>, StoreError>;
}
