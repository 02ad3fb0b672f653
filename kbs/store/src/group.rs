//! Group commit: writers that come at the same time share one transaction and one wait for the disk.
//!
//! Each caller runs its own closure, in turn, inside the transaction that the first of them began and under a savepoint of
//! its own. Whoever finds nobody waiting behind it commits for all; the others sleep until it has. While it waits for the
//! disk the next group gathers. So one lonely write costs one commit, and a hundred at once cost a few.
//!
//! A caller may bring several closures, which are members of their own and wait together.
//!
//! A closure that fails undoes its own savepoint. It too is answered after the commit: what it saw may have been written
//! by another member of its group.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};

use crate::link::Link;
use crate::store::Guard;
use crate::{StoreError, Tx};

/// Most closures in one transaction: bounds how long the first of them waits for the last.
const MEMBERS_MAX: usize = 64;

pub(crate) struct Group {
    turn: Mutex<Turn>,
    /// Callers that will take a turn and have not yet.
    coming: AtomicUsize,
    guard: Arc<OnceLock<Guard>>,
}

struct Turn {
    link: Box<dyn Link>,
    open: Option<Open>,
}

/// The transaction under way.
#[derive(Default)]
struct Open {
    fate: Arc<Fate>,
    members: usize,
    /// The database ended it by itself.
    lost: Option<StoreError>,
}

/// How a transaction ended, for those who sleep.
#[derive(Default)]
struct Fate {
    known: Mutex<Option<Result<(), StoreError>>>,
    told: Condvar,
}

impl Fate {
    fn tell(&self, outcome: Result<(), StoreError>) {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
        self.told.notify_all();
    }

    fn wait(&self) -> Result<(), StoreError> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match &*known {
                Some(Ok(())) => return Ok(()),
                Some(Err(e)) => return Err(e.again()),
                None => known = self.told.wait(known).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}

impl Group {
    pub(crate) fn new(link: Box<dyn Link>, guard: Arc<OnceLock<Guard>>) -> Self {
        Self {
            turn: Mutex::new(Turn { link, open: None }),
            coming: AtomicUsize::new(0),
            guard,
        }
    }

    pub(crate) fn write<T, E: From<StoreError>>(&self, f: impl FnOnce(&Tx<'_>) -> Result<T, E>) -> Result<T, E> {
        match self.write_each([f]).pop() {
            Some(outcome) => outcome,
            None => Err(StoreError::Aborted.into()),
        }
    }

    /// One outcome for each closure. A panic of any of them goes on once all of them have their fate.
    pub(crate) fn write_each<T, E, F>(&self, each: impl IntoIterator<Item = F>) -> Vec<Result<T, E>>
    where
        E: From<StoreError>,
        F: FnOnce(&Tx<'_>) -> Result<T, E>,
    {
        self.coming.fetch_add(1, Ordering::SeqCst);
        let mut turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.coming.fetch_sub(1, Ordering::SeqCst);
        let mut members = Vec::new();
        for f in each {
            members.push(match turn.join(self.guard.get()) {
                Ok(fate) => Ok((fate, turn.run(f))),
                Err(e) => Err(e),
            });
            if turn.is_full() {
                turn.settle();
            }
        }
        // Whoever counts as coming takes its turn in this transaction, and ends it if nobody comes after it.
        if self.coming.load(Ordering::SeqCst) == 0 {
            turn.settle();
        }
        drop(turn);
        let mut panicked = None;
        let outcomes = members
            .into_iter()
            .map(|member| {
                let (fate, outcome) = member?;
                let committed = fate.wait();
                match outcome {
                    Err(panic) => {
                        panicked.get_or_insert(panic);
                        Err(StoreError::Aborted.into())
                    }
                    Ok(Err(e)) => Err(e),
                    Ok(Ok(value)) => committed.map(|()| value).map_err(E::from),
                }
            })
            .collect();
        match panicked {
            Some(panic) => resume_unwind(panic),
            None => outcomes,
        }
    }
}

impl Turn {
    /// Begins a transaction if none is under way.
    fn join(&mut self, guard: Option<&Guard>) -> Result<Arc<Fate>, StoreError> {
        if self.open.is_none() {
            self.link.begin_write()?;
            if let Some(guard) = guard {
                let tx = Tx::new(&mut *self.link);
                let verdict = guard(&tx);
                let verdict = tx.into_failure().map_or(verdict, Err);
                if verdict.is_err() {
                    self.link.rollback();
                }
                verdict?;
            }
        }
        let open = self.open.get_or_insert_with(Open::default);
        open.members += 1;
        Ok(Arc::clone(&open.fate))
    }

    fn is_full(&self) -> bool {
        self.open
            .as_ref()
            .is_some_and(|open| open.members >= MEMBERS_MAX || open.lost.is_some())
    }

    /// Runs one closure under its savepoint. The outer error is a panic.
    fn run<T, E: From<StoreError>>(
        &mut self,
        f: impl FnOnce(&Tx<'_>) -> Result<T, E>,
    ) -> std::thread::Result<Result<T, E>> {
        if let Err(e) = self.link.batch("SAVEPOINT member") {
            self.lose(&e);
            return Ok(Err(e.into()));
        }
        let tx = Tx::new(&mut *self.link);
        let mut outcome = catch_unwind(AssertUnwindSafe(|| f(&tx)));
        let failed = tx.into_failure();
        if let (Ok(Ok(_)), Some(e)) = (&outcome, &failed) {
            outcome = Ok(Err(e.again().into()));
        }
        let end = match &outcome {
            Ok(Ok(_)) => "RELEASE SAVEPOINT member",
            _ => "ROLLBACK TO SAVEPOINT member; RELEASE SAVEPOINT member",
        };
        let ended = match self.link.in_transaction() {
            true => self.link.batch(end),
            false => Err(failed.unwrap_or(StoreError::Aborted)),
        };
        if let Err(e) = ended {
            self.lose(&e);
        }
        Ok(match outcome {
            Ok(outcome) => outcome,
            Err(panic) => return Err(panic),
        })
    }

    fn lose(&mut self, e: &StoreError) {
        if let Some(open) = &mut self.open {
            open.lost.get_or_insert_with(|| e.again());
        }
    }

    /// Ends the transaction and tells its members.
    fn settle(&mut self) {
        let Some(open) = self.open.take() else { return };
        let outcome = match open.lost {
            Some(e) => Err(e),
            None => self.link.commit(),
        };
        if outcome.is_err() {
            self.link.rollback();
        }
        open.fate.tell(outcome);
    }
}
