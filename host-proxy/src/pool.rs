//! Guests that stand in for each other: which one takes a connection, and what happens when none can.

mod guest;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use mio::Waker;
use tokio::sync::watch;

pub(crate) use guest::Guest;
use guest::Verdict;

use crate::address::Address;
use crate::admission::mixed;
use crate::config::{self, Balance};
use crate::metrics::Refused;

/// The guests of a pool at one moment; at most 64.
#[derive(Debug, Default)]
pub(crate) struct Set {
    pub(crate) guests: Vec<Arc<Guest>>,
    /// Each guest's number in the pool, which it has for as long as it stays.
    numbers: Vec<usize>,
    /// False until discovery has named guests for the first time; clients wait for that.
    is_known: bool,
}

/// Guests and those who wait for them.
#[derive(Debug)]
pub(crate) struct Pool {
    name: String,
    config: config::Pool,
    set: watch::Sender<Arc<Set>>,
    /// Guests that are no longer in the set and still have connections.
    parting: Mutex<Vec<Weak<Guest>>>,
    /// Discovery names nobody at the moment, and its last good set is still used.
    is_kept: AtomicBool,
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
    /// The guest took the connection. A trial is over with that: the connection may stay for hours.
    pub(crate) fn accepted(&mut self) {
        self.guest.accepted();
        if std::mem::take(&mut self.is_trial) {
            self.guest.tried();
        }
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

impl Set {
    fn members(&self) -> impl Iterator<Item = (usize, &Arc<Guest>)> {
        self.numbers.iter().copied().zip(&self.guests)
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
        let pool = Self {
            name: name.to_owned(),
            set: watch::Sender::new(Arc::default()),
            parting: Mutex::default(),
            is_kept: AtomicBool::new(false),
            turn: AtomicUsize::new(0),
            waiting: AtomicU32::new(0),
            workers: Mutex::default(),
            config,
        };
        if let Some(before) = before {
            let parting = before.parting.lock().unwrap_or_else(PoisonError::into_inner);
            *pool.parting.lock().unwrap_or_else(PoisonError::into_inner) = parting.clone();
            let same = pool.config.discover.is_some() && pool.config.discover == before.config.discover;
            let as_known = same && before.set().is_known;
            pool.set.send_replace(before.set());
            if as_known {
                pool.is_kept.store(before.is_kept(), Ordering::Release);
                return Arc::new(pool);
            }
        }
        match pool.config.discover {
            None => drop(pool.replace(&pool.config.guests)),
            Some(_) => {
                pool.replace(&[]);
                pool.set.send_replace(Arc::default());
            }
        }
        Arc::new(pool)
    }

    /// Puts these guests in the place of those before, and says whether they are others. New connections go to them alone; open
    /// ones of a guest that is gone go on, and are counted again if it comes back.
    pub(crate) fn replace(&self, addresses: &[Address]) -> bool {
        let mut parting = self.parting.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.set();
        if before.is_known && before.guests.iter().map(|g| &g.address).eq(addresses) {
            return false;
        }
        parting.retain(|g| g.strong_count() > 0);
        let left: Vec<_> = parting.iter().filter_map(Weak::upgrade).collect();
        let known = |at| before.guests.iter().chain(&left).find(|g| g.address == at).cloned();
        let guests: Vec<_> = addresses
            .iter()
            .map(|&at| known(at).unwrap_or_else(|| Arc::new(Guest::new(at))))
            .collect();
        let is_in = |guest: &Arc<Guest>| guests.iter().any(|g| Arc::ptr_eq(g, guest));
        let gone = before.guests.iter().chain(&left).filter(|g| !is_in(g));
        *parting = gone.map(Arc::downgrade).collect();
        let numbered = |guest: &Arc<Guest>| before.members().find(|(_, g)| Arc::ptr_eq(g, guest)).map(|(n, _)| n);
        let mut free = (0..).filter(|n| !guests.iter().any(|g| numbered(g) == Some(*n)));
        let numbers = guests.iter().map(|g| numbered(g).or_else(|| free.next()).unwrap_or(0));
        let numbers = numbers.collect();
        let is_known = true;
        self.set.send_replace(Arc::new(Set {
            guests,
            numbers,
            is_known,
        }));
        self.wake();
        true
    }

    /// The guests now.
    pub(crate) fn set(&self) -> Arc<Set> {
        self.set.borrow().clone()
    }

    /// The guests now and whenever they change.
    pub(crate) fn sets(&self) -> watch::Receiver<Arc<Set>> {
        self.set.subscribe()
    }

    /// Connections open to guests that are no longer in the set.
    pub(crate) fn parting(&self) -> u32 {
        let parting = self.parting.lock().unwrap_or_else(PoisonError::into_inner);
        parting.iter().filter_map(Weak::upgrade).map(|g| g.outstanding()).sum()
    }

    pub(crate) fn is_kept(&self) -> bool {
        self.is_kept.load(Ordering::Acquire)
    }

    /// Returns what it was.
    pub(crate) fn set_kept(&self, is_kept: bool) -> bool {
        self.is_kept.swap(is_kept, Ordering::AcqRel)
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn config(&self) -> &config::Pool {
        &self.config
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
        let set = self.set();
        // Guests that nobody has named yet may come at any moment.
        let mut is_any_up = !set.is_known;
        let mut passed = tried;
        loop {
            let Some((at, guest)) = self.best(&set, client, passed) else {
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
    fn best<'a>(&self, set: &'a Set, client: u64, passed: u64) -> Option<(usize, &'a Arc<Guest>)> {
        let open = set.members().filter(|(at, _)| passed & (1 << at) == 0);
        match self.config.balance {
            Balance::Rendezvous => open.max_by_key(|(_, guest)| mixed(client ^ guest.key)),
            Balance::LeastOutstanding => {
                let start = self.turn.fetch_add(1, Ordering::Relaxed);
                let n = set.guests.len();
                open.min_by_key(|(at, guest)| (guest.outstanding(), (at % n + n - start % n) % n))
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
