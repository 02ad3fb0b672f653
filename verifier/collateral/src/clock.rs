//! Waiting and jitter, injectable so that tests of minutes take milliseconds.

use std::pin::Pin;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A future that ends when the wait is over.
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What retries and rate limits wait by. Verification never asks it: its clock is an argument.
pub trait Clock: Send + Sync {
    /// Time since some fixed moment; never goes back.
    fn elapsed(&self) -> Duration;
    /// Unix time, for `Retry-After` dates alone.
    fn unix_s(&self) -> u64;
    /// Waits.
    fn sleep(&self, wait: Duration) -> Sleep;
    /// A fresh number, 0 to 65535, that spreads the retries of many clients.
    fn jitter(&self) -> u16;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    start: Instant,
}

impl Default for SystemClock {
    fn default() -> Self {
        Self { start: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    fn unix_s(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
    }

    fn sleep(&self, wait: Duration) -> Sleep {
        Box::pin(tokio::time::sleep(wait))
    }

    fn jitter(&self) -> u16 {
        let mut bytes = [0; 2];
        // Without randomness retries come at the same time: slower, not wrong.
        let _ = aws_lc_rs::rand::fill(&mut bytes);
        u16::from_le_bytes(bytes)
    }
}
