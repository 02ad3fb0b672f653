//! Guests that stand in for each other: which one takes a connection, and what happens when none can.

mod guest;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use mio::Waker;

pub(crate) use guest::Guest;
use guest::Verdict;

use crate::admission::mixed;
use crate::config::{self, Balance};
use crate::metrics::Refused;

/// Guests and those who wait for them.
#[derive(Debug)]
pub(crate) struct Pool {
    name: String,
    config: config::Pool,
    guests: Vec<Arc<Guest>>,
    /// Where the search for the least loaded starts; equals take turns.
    turn: AtomicUsize,
    waiting: AtomicU32,
    /// Workers that have had someone wait here.
    workers: Mutex<BTreeMap<usize, Arc<Waker>>>,
}

/// A connection's claim on a guest, given back when dropped.
#[derive(Debug)]
pub(crate) struct Lease {
    pool: Arc<Pool>,
    pub(crate) guest: Arc<Guest>,
    is_trial: bool,
}

impl Lease {
    /// The guest took the connection.
    pub(crate) fn accepted(&self) {
        self.guest.accepted();
    }

    /// It did not.
    pub(crate) fn failed(&self) {
        self.guest.failed(&self.pool.config.breaker, &self.pool.name);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.guest.leave(self.is_trial);
        self.pool.wake();
    }
}

/// What a pool has for a client.
#[derive(Debug)]
pub(crate) enum Pick {
    /// This guest, and its number in the pool.
    One(Lease, usize),
    /// There are guests, and none has a free place.
    Full,
    /// None is up.
    Nobody,
}

impl Pool {
    /// Guests that `before` has too keep what is known about them.
    pub(crate) fn new(name: &str, config: config::Pool, before: Option<&Self>) -> Arc<Self> {
        let known = |address| before.and_then(|p| p.guests.iter().find(|g| g.address == address).cloned());
        let guests = config.guests.iter();
        let guests = guests
            .map(|&at| known(at).unwrap_or_else(|| Arc::new(Guest::new(at))))
            .collect();
        Arc::new(Self {
            name: name.to_owned(),
            config,
            guests,
            turn: AtomicUsize::new(0),
            waiting: AtomicU32::new(0),
            workers: Mutex::default(),
        })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn config(&self) -> &config::Pool {
        &self.config
    }

    pub(crate) fn guests(&self) -> &[Arc<Guest>] {
        &self.guests
    }

    pub(crate) fn waiting(&self) -> u32 {
        self.waiting.load(Ordering::Relaxed)
    }

    /// A place among those who wait. `worker` is woken when a guest has a free place.
    pub(crate) fn queue(self: &Arc<Self>, index: usize, worker: &Arc<Waker>) -> Result<Waiting, Refused> {
        let one_more = |n: u32| (n < self.config.queue_max).then_some(n + 1);
        match self.waiting.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more) {
            Ok(_) => {
                let mut workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
                workers.entry(index).or_insert_with(|| worker.clone());
                Ok(Waiting(self.clone()))
            }
            Err(_) => Err(Refused::QueueFull),
        }
    }

    fn wake(&self) {
        if self.waiting() > 0 {
            let workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
            for worker in workers.values() {
                // Who waits looks again after a while in any case.
                let _ = worker.wake();
            }
        }
    }

    /// The guest that a client should be connected to. `tried` has a bit for each that did not accept.
    pub(crate) fn pick(self: &Arc<Self>, client: u64, tried: u64) -> Pick {
        let mut is_any_up = false;
        let mut passed = tried;
        loop {
            let Some((at, guest)) = self.best(client, passed) else {
                return match is_any_up {
                    true => Pick::Full,
                    false => Pick::Nobody,
                };
            };
            passed |= 1 << at;
            match guest.enter(self.config.guest_connections_max) {
                Verdict::Entered { is_trial } => {
                    let lease = Lease {
                        pool: self.clone(),
                        guest: guest.clone(),
                        is_trial,
                    };
                    return Pick::One(lease, at);
                }
                Verdict::Full => is_any_up = true,
                Verdict::Down => {}
            }
        }
    }

    /// The preferred guest among those whose bit is not set.
    fn best(&self, client: u64, passed: u64) -> Option<(usize, &Arc<Guest>)> {
        let open = self.guests.iter().enumerate().filter(|(at, _)| passed & (1 << at) == 0);
        match self.config.balance {
            Balance::Rendezvous => open.max_by_key(|(_, guest)| mixed(client ^ guest.key)),
            Balance::LeastOutstanding => {
                let start = self.turn.fetch_add(1, Ordering::Relaxed);
                let n = self.guests.len();
                open.min_by_key(|(at, guest)| (guest.outstanding(), (at + n - start % n) % n))
            }
        }
    }
}

/// A place in the queue, given back when dropped.
#[derive(Debug)]
pub(crate) struct Waiting(Arc<Pool>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
#[path = "pool_tests.rs"]
mod tests;
