//! One connection, driven from blocking code: the driver runs on a thread of its own.

use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use hanzo_store::{Link, Row, StoreError, Value};
use tokio::runtime::{Builder, Runtime};
use tokio_postgres::{Client, NoTls};

use crate::errors::store_error;
use crate::schema::{CLEAR, Expected, Found, MARK, MARKS, Making};
use crate::target::Target;
use crate::tls::{Rustls, Tls};
use crate::wire::{Sent, placeholders, row};

/// Longest wait for an answer. The server gives up a little earlier, so that it tells why.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Of every connection. A replica that stops in the middle of a transaction holds up the others for no longer than these.
const SESSION: &str = "SET statement_timeout = '15s'; SET lock_timeout = '15s'; \
    SET idle_in_transaction_session_timeout = '30s'; SET default_transaction_isolation = 'read committed'; \
    SET standard_conforming_strings = on; SET client_min_messages = warning;";

/// Second halves of advisory locks; the first is the application id.
const WRITING: i32 = 1;
const MIGRATING: i32 = 2;

/// What the connections of one store share.
pub(crate) struct Server {
    target: Target,
    expected: Expected,
    runtime: Option<Runtime>,
}

impl Server {
    pub(crate) fn new(url: &str, expected: Expected) -> Result<Arc<Self>, StoreError> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("postgres")
            .enable_all()
            .build()
            .map_err(|e| StoreError::io("start", "the driver's thread".as_ref(), e))?;
        Ok(Arc::new(Self {
            target: Target::parse(url)?,
            expected,
            runtime: Some(runtime),
        }))
    }

    pub(crate) fn place(&self) -> &str {
        &self.target.place
    }

    fn lost(&self, detail: &str) -> StoreError {
        StoreError::Connection {
            place: self.place().to_owned(),
            detail: detail.to_owned(),
        }
    }

    /// Runs `work` on the driver's thread and waits for it, at most `limit`.
    fn wait<T: Send + 'static>(
        &self,
        limit: Duration,
        work: impl Future<Output = Result<T, tokio_postgres::Error>> + Send + 'static,
    ) -> Result<T, StoreError> {
        let runtime = self.runtime.as_ref().ok_or_else(|| self.lost("it is closed"))?;
        let (done, answer) = sync_channel(1);
        runtime.spawn(async move {
            let _ = done.send(tokio::time::timeout(limit, work).await);
        });
        match answer.recv() {
            Ok(Ok(Ok(value))) => Ok(value),
            Ok(Ok(Err(e))) => Err(store_error(self.place(), &e)),
            Ok(Err(_)) => Err(self.lost(&format!("no answer in {} s", limit.as_secs()))),
            Err(_) => Err(self.lost("the driver's thread has ended")),
        }
    }

    fn connect(&self) -> Result<Client, StoreError> {
        let config = self.target.config.clone();
        let tls = self.target.tls.clone();
        let client = self.wait(CONNECT_TIMEOUT, async move {
            // The other half does the reading and writing, until the client is dropped.
            match tls {
                Tls::None => {
                    let (client, driver) = config.connect(NoTls).await?;
                    tokio::spawn(driver);
                    Ok(client)
                }
                Tls::Verified(tls) => {
                    let (client, driver) = config.connect(Rustls(tls)).await?;
                    tokio::spawn(driver);
                    Ok(client)
                }
            }
        })?;
        Ok(client)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Never waits: a store may be dropped where waiting is not allowed.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A connection; made when it is needed, and anew after it was lost.
pub(crate) struct PgLink {
    server: Arc<Server>,
    client: Option<Arc<Client>>,
    open: bool,
}

impl PgLink {
    pub(crate) fn writer(server: &Arc<Server>) -> Self {
        Self {
            server: Arc::clone(server),
            client: None,
            open: false,
        }
    }

    pub(crate) fn reader(server: &Arc<Server>) -> Self {
        Self::writer(server)
    }

    /// Makes the store if the database is empty and it may be made, and brings it to the newest schema. Replicas that start
    /// together do this one after the other.
    pub(crate) fn migrate(&mut self, making: Making<'_>) -> Result<(), StoreError> {
        self.migrating(|link| link.migrate_locked(making))
    }

    /// See [`crate::remove_unfinished`].
    pub(crate) fn remove_unfinished(&mut self, unused: &str) -> Result<(), StoreError> {
        self.migrating(|link| link.give_way(unused))
    }

    fn migrating(&mut self, work: impl FnOnce(&mut Self) -> Result<(), StoreError>) -> Result<(), StoreError> {
        self.connected()?;
        let lock = self.lock(MIGRATING);
        self.batch(&format!("BEGIN; {lock}"))?;
        self.open = true;
        let outcome = work(self).and_then(|()| self.commit());
        if outcome.is_err() {
            self.rollback();
        }
        outcome
    }

    /// Takes away a store that is marked and unused.
    fn give_way(&mut self, unused: &str) -> Result<(), StoreError> {
        if self.number(MARKS)? > 0 && self.number(unused)? == 0 {
            self.batch(CLEAR)?;
        }
        Ok(())
    }

    fn migrate_locked(&mut self, making: Making<'_>) -> Result<(), StoreError> {
        if let Making::Marked { unused } = making {
            self.give_way(unused)?;
            if self.found()?.is_some() {
                return Err(StoreError::Foreign {
                    path: self.server.place().into(),
                    what: "a database with a store in it, where a new one is to be made".into(),
                });
            }
        }
        if self.found()?.is_none() {
            let sql = "SELECT count(*) FROM pg_catalog.pg_class WHERE relnamespace = current_schema()::regnamespace";
            let relations = self.number(sql)?;
            if relations > 0 {
                return Err(StoreError::Foreign {
                    path: self.server.place().into(),
                    what: format!("a database of another program ({relations} tables and indexes, none of them ours)"),
                });
            }
            if matches!(making, Making::Never) {
                return Err(StoreError::NoStore {
                    place: self.server.place().to_owned(),
                });
            }
            let creation = self.server.expected.creation()?;
            self.batch(&creation)?;
            if let Making::Marked { .. } = making {
                self.batch(MARK)?;
            }
        }
        let server = Arc::clone(&self.server);
        let found = self.checked()?;
        for step in server
            .expected
            .schema
            .migrations
            .iter()
            .skip(found.schema_version as usize)
        {
            self.batch(step.postgres)?;
        }
        let known = server.expected.known();
        if found.schema_version != known {
            self.execute("UPDATE hanzo_store SET schema_version = ?1", &[known.into()])?;
        }
        Ok(())
    }

    fn found(&mut self) -> Result<Option<Found>, StoreError> {
        if self.number("SELECT count(to_regclass('hanzo_store'))")? == 0 {
            return Ok(None);
        }
        let sql = "SELECT application_id, schema_version, simulated, key_check FROM hanzo_store";
        let rows = self.query(sql, &[])?;
        rows.first()
            .map(|row| {
                Ok(Found {
                    application_id: row.integer(0)?,
                    schema_version: row.integer(1)?,
                    simulated: row.integer(2)?,
                    key_check: row.blob(3)?.to_vec(),
                })
            })
            .transpose()
    }

    fn checked(&mut self) -> Result<Found, StoreError> {
        let found = self.found()?.ok_or_else(|| StoreError::NoStore {
            place: self.server.place().to_owned(),
        })?;
        self.server.expected.check(self.server.place(), &found)?;
        Ok(found)
    }

    fn number(&mut self, sql: &str) -> Result<i64, StoreError> {
        match self.query(sql, &[])?.first() {
            Some(row) => row.integer(0),
            None => Err(StoreError::Rows { got: 0 }),
        }
    }

    fn lock(&self, what: i32) -> String {
        let application = self.server.expected.schema.application_id;
        format!("SELECT pg_advisory_xact_lock({application}, {what})")
    }

    /// Connects if there is no connection, and sees to it that the server keeps what it acknowledges.
    fn connected(&mut self) -> Result<(), StoreError> {
        if self.client.as_ref().is_some_and(|c| !c.is_closed()) {
            return Ok(());
        }
        self.give_up();
        self.client = Some(Arc::new(self.server.connect()?));
        self.prepared().inspect_err(|_| self.give_up())
    }

    fn prepared(&mut self) -> Result<(), StoreError> {
        self.batch(SESSION)?;
        let mut settings = Vec::new();
        for setting in ["fsync", "full_page_writes", "synchronous_commit"] {
            let rows = self.query(&format!("SELECT current_setting('{setting}')"), &[])?;
            let got = rows.first().map_or(Ok(""), |r| r.text(0))?.to_owned();
            settings.push((setting, got));
        }
        for (setting, got) in settings {
            match (setting, got.as_str()) {
                // This one a client may set.
                ("synchronous_commit", "off") => self.batch("SET synchronous_commit = on")?,
                (_, "off") => {
                    return Err(StoreError::NotDurable {
                        place: self.server.place().to_owned(),
                        setting,
                        got,
                        expected: "on",
                    });
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// As [`PgLink::connected`], and the database is still this store: it may have been replaced meanwhile.
    fn ready(&mut self) -> Result<(), StoreError> {
        let is_new = self.client.as_ref().is_none_or(|c| c.is_closed());
        self.connected()?;
        if is_new {
            self.checked().inspect_err(|_| self.give_up())?;
        }
        Ok(())
    }

    fn begin(&mut self, sql: &str) -> Result<(), StoreError> {
        self.ready()?;
        let begun = match self.batch(sql) {
            // It was lost while it was idle, and nothing has been done on it.
            Err(StoreError::Connection { .. }) => {
                self.ready()?;
                self.batch(sql)
            }
            begun => begun,
        };
        match begun {
            Ok(()) => {
                self.open = true;
                Ok(())
            }
            Err(e) => {
                self.rollback();
                Err(e)
            }
        }
    }

    fn give_up(&mut self) {
        self.client = None;
        self.open = false;
    }

    /// Runs `work`. A connection that did not answer is given up: its state is unknown.
    fn run<T: Send + 'static, F>(&mut self, work: impl FnOnce(Arc<Client>) -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, tokio_postgres::Error>> + Send + 'static,
    {
        let client = self
            .client
            .clone()
            .ok_or_else(|| self.server.lost("the connection was lost"))?;
        let outcome = self.server.wait(ANSWER_TIMEOUT, work(client));
        if matches!(outcome, Err(StoreError::Connection { .. })) {
            self.give_up();
        }
        outcome
    }
}

fn sent(values: &[Value]) -> Vec<Sent> {
    values.iter().cloned().map(Sent).collect()
}

impl Link for PgLink {
    fn begin_write(&mut self) -> Result<(), StoreError> {
        let lock = self.lock(WRITING);
        self.begin(&format!("BEGIN; {lock}"))
    }

    fn begin_read(&mut self) -> Result<(), StoreError> {
        self.begin("BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        self.batch("COMMIT")?;
        self.open = false;
        Ok(())
    }

    fn rollback(&mut self) {
        if self.client.is_some() && self.batch("ROLLBACK").is_err() {
            self.give_up();
        }
        self.open = false;
    }

    fn in_transaction(&self) -> bool {
        self.open
    }

    fn batch(&mut self, sql: &str) -> Result<(), StoreError> {
        let sql = sql.to_owned();
        self.run(|client| async move { client.batch_execute(&sql).await })
    }

    fn execute(&mut self, sql: &str, values: &[Value]) -> Result<u64, StoreError> {
        let (sql, values) = (placeholders(sql), sent(values));
        self.run(|client| async move {
            let typed: Vec<_> = values.iter().map(|v| (v as _, v.kind())).collect();
            client.execute_typed(&sql, &typed).await
        })
    }

    fn query(&mut self, sql: &str, values: &[Value]) -> Result<Vec<Row>, StoreError> {
        let (sql, values) = (placeholders(sql), sent(values));
        let rows = self.run(|client| async move {
            let typed: Vec<_> = values.iter().map(|v| (v as _, v.kind())).collect();
            client.query_typed(&sql, &typed).await
        })?;
        rows.iter().map(|r| row(self.server.place(), r)).collect()
    }
}
