//! Copies the log of a SQLCipher file into the file, beside those who commit.
//!
//! SQLite leaves it to a commit now and then to do that for all before it, and that one waits for thousands of pages and two
//! more syncs. Here a thread with a connection of its own does it a little after each commit, in the mode that makes nobody
//! wait (`PASSIVE`); what readers or writers keep it from, it does next time. Where it never gets there the commits do, once the
//! log is four times as long as before ([`FALLBACK_PAGES`]). Nothing here decides what is durable: commits sync the log.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::Connection;

use crate::StoreError;

/// Pages of 4 KiB in the log after which a commit copies them itself: 64 MiB.
pub(crate) const FALLBACK_PAGES: u32 = 16_000;

/// How long commits gather: pages that change often are copied once for all their changes.
const GATHER: Duration = Duration::from_millis(200);

/// The thread; it ends, and its connection with it, when this is dropped.
pub(crate) struct Checkpointer {
    bell: Arc<Bell>,
    thread: Option<JoinHandle<()>>,
}

/// How commits are told of.
#[derive(Default)]
pub(crate) struct Bell {
    state: Mutex<State>,
    rung: Condvar,
}

#[derive(Default)]
struct State {
    has_more: bool,
    is_over: bool,
}

impl Bell {
    /// There is more in the log.
    pub(crate) fn ring(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !std::mem::replace(&mut state.has_more, true) {
            self.rung.notify_one();
        }
    }

    fn end(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).is_over = true;
        self.rung.notify_one();
    }

    /// Waits for commits, and until some have gathered; false if it is over.
    fn wait(&self) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let state = self.rung.wait_while(state, |s| !s.has_more && !s.is_over);
        let state = state.unwrap_or_else(PoisonError::into_inner);
        let gathered = self.rung.wait_timeout_while(state, GATHER, |s| !s.is_over);
        let (mut state, _) = gathered.unwrap_or_else(PoisonError::into_inner);
        state.has_more = false;
        !state.is_over
    }
}

impl Checkpointer {
    /// Starts the thread with a connection to the file.
    pub(crate) fn start(connection: Connection) -> Result<Self, StoreError> {
        let bell = Arc::new(Bell::default());
        let rung = Arc::clone(&bell);
        let work = move || {
            while rung.wait() {
                // What it could not copy stays in the log, and safe there. A disk that fails shows in the next commit.
                let _ = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
            }
        };
        let started = std::thread::Builder::new().name("checkpoints".into()).spawn(work);
        let thread = started.map_err(|source| StoreError::io("start a thread for", "checkpoints".as_ref(), source))?;
        Ok(Self {
            bell,
            thread: Some(thread),
        })
    }

    pub(crate) fn bell(&self) -> Arc<Bell> {
        Arc::clone(&self.bell)
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        self.bell.end();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
