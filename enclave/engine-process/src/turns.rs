//! Who computes now and who waits: a bounded number of answers at a time, a bounded queue behind them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::GenerateError;

/// The places of an engine.
pub struct Turns {
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
    queue: usize,
}

/// A place; given back when dropped.
pub struct Turn(#[expect(dead_code, reason = "held, not read")] OwnedSemaphorePermit);

impl Turns {
    /// `places` answers at a time (at least one), `queue` callers behind them.
    pub fn new(places: usize, queue: usize) -> Self {
        Self {
            places: Arc::new(Semaphore::new(places.max(1))),
            waiting: AtomicUsize::new(0),
            queue,
        }
    }

    /// Waits for a place.
    ///
    /// # Errors
    /// [`GenerateError::Busy`] when the queue is full.
    pub async fn turn(&self) -> Result<Turn, GenerateError> {
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            return Ok(Turn(place));
        }
        let waiting = Waiting::enter(&self.waiting);
        if waiting.before >= self.queue {
            return Err(GenerateError::Busy {
                waiting: waiting.before,
            });
        }
        let place = Arc::clone(&self.places).acquire_owned().await;
        place.map(Turn).map_err(|_| GenerateError::Refused)
    }
}

/// Counts a caller in the queue for as long as it lives, also when the caller goes away.
struct Waiting<'a> {
    count: &'a AtomicUsize,
    before: usize,
}

impl<'a> Waiting<'a> {
    fn enter(count: &'a AtomicUsize) -> Self {
        Self {
            count,
            before: count.fetch_add(1, Ordering::SeqCst),
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_waits_the_next_is_turned_away_and_a_place_given_back_is_taken() {
        let turns = Arc::new(Turns::new(1, 1));
        let held = turns.turn().await.ok().unwrap();
        let second = Arc::clone(&turns);
        let waiting = tokio::spawn(async move { second.turn().await.is_ok() });
        while turns.waiting.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(turns.turn().await.err().map(|error| error.code()), Some("busy"));
        drop(held);
        assert!(waiting.await.unwrap());
        // Who gave up waiting counts no more.
        assert_eq!(turns.waiting.load(Ordering::SeqCst), 0);
    }
}
