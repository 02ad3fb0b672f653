//! Guests that stand in for each other: which one takes a connection, and what happens when none can.

mod guest;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

pub(crate) use guest::Guest;
use guest::Verdict;

use crate::admission::mixed;
use crate::config::{self, Balance};
use crate::metrics::{Metrics, Refused};
use crate::socket::Socket;

/// Who waits looks again after this long even if no place was freed: another guest may have come up.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Guests and those who wait for them.
#[derive(Debug)]
pub(crate) struct Pool {
    name: String,
    config: config::Pool,
    guests: Vec<Arc<Guest>>,
    /// Where the search for the least loaded starts; equals take turns.
    turn: AtomicUsize,
    freed: Notify,
    waiting: AtomicU32,
}

/// A connection's claim on a guest, given back when dropped.
#[derive(Debug)]
pub(crate) struct Lease {
    pool: Arc<Pool>,
    pub(crate) guest: Arc<Guest>,
    is_trial: bool,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.guest.leave(self.is_trial);
        if self.pool.waiting() > 0 {
            self.pool.freed.notify_one();
        }
    }
}

#[derive(Debug)]
enum Pick {
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
            freed: Notify::new(),
            waiting: AtomicU32::new(0),
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

    /// A connection to a guest. Another guest is tried if one does not accept, never after a byte went to one.
    pub(crate) async fn connect(self: &Arc<Self>, client: u64, metrics: &Metrics) -> Result<(Socket, Lease), Refused> {
        let deadline = Instant::now() + self.config.deadline;
        let mut tried = 0_u64;
        loop {
            match self.pick(client, tried) {
                Pick::One(lease, at) => {
                    tried |= 1 << at;
                    let until = deadline.min(Instant::now() + self.config.connect);
                    let address = lease.guest.address;
                    match timeout_at(until, Socket::connect(&address)).await {
                        Ok(Ok(socket)) => {
                            lease.guest.accepted();
                            return Ok((socket, lease));
                        }
                        Ok(Err(_)) | Err(_) => {
                            metrics.dial_failures.inc();
                            lease.guest.failed(&self.config.breaker, &self.name);
                        }
                    }
                    if Instant::now() >= deadline {
                        return Err(Refused::Unreachable);
                    }
                }
                Pick::Nobody if tried == 0 => return Err(Refused::NoGuest),
                Pick::Nobody => return Err(Refused::Unreachable),
                Pick::Full => {
                    let _waiting = self.queue()?;
                    let look_again = deadline.min(Instant::now() + LOOK_AGAIN);
                    // Freed, or time to look.
                    let _ = timeout_at(look_again, self.freed.notified()).await;
                    if Instant::now() >= deadline {
                        return Err(Refused::QueueTime);
                    }
                }
            }
        }
    }

    fn queue(&self) -> Result<Waiting<'_>, Refused> {
        let one_more = |n: u32| (n < self.config.queue_max).then_some(n + 1);
        match self.waiting.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more) {
            Ok(_) => Ok(Waiting(self)),
            Err(_) => Err(Refused::QueueFull),
        }
    }

    fn pick(self: &Arc<Self>, client: u64, tried: u64) -> Pick {
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

struct Waiting<'a>(&'a Pool);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
#[path = "pool_tests.rs"]
mod tests;
