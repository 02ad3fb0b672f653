//! What is known about one guest: its open connections, its health, its circuit breaker.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

use tracing::{info, warn};

use crate::address::Address;
use crate::admission::mixed;
use crate::config::Breaker;

/// One guest.
#[derive(Debug)]
pub(crate) struct Guest {
    pub(crate) address: Address,
    /// Its own number for rendezvous hashing, the same everywhere.
    pub(crate) key: u64,
    outstanding: AtomicU32,
    /// What health checks say; true until they say otherwise.
    is_healthy: AtomicBool,
    /// Failed connection attempts in a row.
    failures: AtomicU32,
    /// Left alone until then, in milliseconds after `start`; 0: not left alone.
    open_until_ms: AtomicU64,
    /// After that time one connection tries it for all.
    trial: AtomicBool,
    start: Instant,
}

/// Whether a connection may go to a guest.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Entered { is_trial: bool },
    Full,
    Down,
}

impl Guest {
    pub(crate) fn new(address: Address) -> Self {
        let name = address.to_string();
        Self {
            address,
            key: name.bytes().fold(0, |key, b| mixed(key ^ u64::from(b)).wrapping_add(1)),
            outstanding: AtomicU32::new(0),
            is_healthy: AtomicBool::new(true),
            failures: AtomicU32::new(0),
            open_until_ms: AtomicU64::new(0),
            trial: AtomicBool::new(false),
            start: Instant::now(),
        }
    }

    pub(crate) fn outstanding(&self) -> u32 {
        self.outstanding.load(Ordering::Relaxed)
    }

    /// Healthy, and its breaker is not open.
    pub(crate) fn is_up(&self) -> bool {
        let until = self.open_until_ms.load(Ordering::Acquire);
        self.is_healthy.load(Ordering::Acquire) && (until == 0 || self.now_ms() >= until)
    }

    pub(crate) fn enter(&self, max: u32) -> Verdict {
        if !self.is_up() {
            return Verdict::Down;
        }
        let is_trial = self.open_until_ms.load(Ordering::Acquire) != 0;
        if is_trial && self.trial.swap(true, Ordering::AcqRel) {
            return Verdict::Down;
        }
        let one_more = |n: u32| (n < max).then_some(n + 1);
        match self
            .outstanding
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more)
        {
            Ok(_) => Verdict::Entered { is_trial },
            Err(_) => {
                if is_trial {
                    self.trial.store(false, Ordering::Release);
                }
                Verdict::Full
            }
        }
    }

    pub(crate) fn leave(&self, is_trial: bool) {
        self.outstanding.fetch_sub(1, Ordering::AcqRel);
        if is_trial {
            self.tried();
        }
    }

    /// The trial has an outcome.
    pub(crate) fn tried(&self) {
        self.trial.store(false, Ordering::Release);
    }

    /// It took a connection.
    pub(crate) fn accepted(&self) {
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Release);
        }
        if self.open_until_ms.load(Ordering::Relaxed) != 0 {
            self.open_until_ms.store(0, Ordering::Release);
        }
    }

    /// It did not take a connection. Only this counts: how a connection ends is in the hands of clients, and hostile ones could
    /// take a good guest away from the others.
    pub(crate) fn failed(&self, breaker: &Breaker, pool: &str) {
        let failures = self.failures.fetch_add(1, Ordering::AcqRel).saturating_add(1);
        if failures < breaker.failures {
            return;
        }
        let until = self.now_ms() + u64::try_from(breaker.open.as_millis()).unwrap_or(u64::MAX / 2);
        if self.open_until_ms.swap(until.max(1), Ordering::AcqRel) == 0 {
            warn!(pool, guest = %self.address, failures, "guest does not accept: left alone for a while");
        }
    }

    /// What a health check says.
    pub(crate) fn set_healthy(&self, is_healthy: bool, pool: &str) {
        if self.is_healthy.swap(is_healthy, Ordering::AcqRel) != is_healthy {
            match is_healthy {
                true => info!(pool, guest = %self.address, "guest is up"),
                false => warn!(pool, guest = %self.address, "guest is down"),
            }
        }
        if is_healthy {
            self.accepted();
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX / 2)
    }
}
