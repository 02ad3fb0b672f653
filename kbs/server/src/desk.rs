//! Where keys are released: few threads, each of which decides several requests at a time.
//!
//! A decision is half a millisecond of arithmetic and one wait for the disk. A thread for each would be woken, put to sleep
//! at the store's turn, at the commit and at the fences, and woken again; here those that wait together are recorded in one
//! turn, and one thread waits for all of them. What comes while it waits is decided, signed and recorded together next: fewer
//! threads make larger groups, and a group costs little more than one alone.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hanzo_attestation::name::KeyId;
use tokio::sync::oneshot;

use crate::broker::{Broker, Denied};
use crate::sessions::Attested;

/// Most decisions that one thread makes before their replies leave.
const AT_ONCE_MAX: usize = 16;

type Answer = Result<Vec<u8>, Denied>;

/// The desk was closed, or fell over, before there was an answer.
#[derive(Debug, thiserror::Error)]
#[error("a release was broken off")]
pub(crate) struct BrokenOff;

/// All requests for keys that are under way.
pub(crate) struct Desk {
    broker: Arc<Broker>,
    threads_max: usize,
    work: Mutex<Work>,
}

#[derive(Default)]
struct Work {
    waiting: VecDeque<Asked>,
    threads: usize,
}

struct Asked {
    key_id: KeyId,
    attested: Arc<Attested>,
    answer: oneshot::Sender<Answer>,
}

impl Desk {
    pub(crate) fn new(broker: Arc<Broker>) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            broker,
            // The other half verifies evidence and carries bytes. On two cores a second thread was slower: it took half of
            // each group with it (`cargo bench -p hanzo-kbs --bench exchange`).
            threads_max: (cores / 2).max(1),
            work: Mutex::default(),
        }
    }

    /// The reply, once the decision is on the disk and in every fence.
    pub(crate) async fn release(self: &Arc<Self>, key_id: KeyId, attested: Arc<Attested>) -> Result<Answer, BrokenOff> {
        let (answer, answered) = oneshot::channel();
        let one_more = {
            let mut work = self.lock();
            work.waiting.push_back(Asked {
                key_id,
                attested,
                answer,
            });
            let one_more = work.threads < self.threads_max;
            work.threads += usize::from(one_more);
            one_more
        };
        if one_more {
            let at = AtDesk {
                desk: Arc::clone(self),
                has_left: false,
            };
            tokio::task::spawn_blocking(move || at.work());
        }
        answered.await.map_err(|_| BrokenOff)
    }

    fn lock(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A thread's place.
struct AtDesk {
    desk: Arc<Desk>,
    has_left: bool,
}

impl AtDesk {
    fn work(mut self) {
        while let Some(asked) = self.next() {
            let each: Vec<_> = asked.iter().map(|a| (&a.key_id, &*a.attested)).collect();
            let answers = self.desk.broker.release_each(&each);
            for (asked, answer) in asked.into_iter().zip(answers) {
                // Who is gone misses it; it counts all the same.
                let _ = asked.answer.send(answer);
            }
        }
    }

    /// This thread's share of those that wait, without those whose peers have gone meanwhile. If there are none, it leaves, and
    /// whoever asks from then on starts another thread.
    fn next(&mut self) -> Option<Vec<Asked>> {
        let mut work = self.desk.lock();
        work.waiting.retain(|asked| !asked.answer.is_closed());
        let share = work.waiting.len().div_ceil(self.desk.threads_max).min(AT_ONCE_MAX);
        if share == 0 {
            work.threads = work.threads.saturating_sub(1);
            self.has_left = true;
            return None;
        }
        Some(work.waiting.drain(..share).collect())
    }
}

impl Drop for AtDesk {
    fn drop(&mut self) {
        if self.has_left {
            return;
        }
        // It fell over. Nobody waits for a thread that is not there.
        let mut work = self.desk.lock();
        work.threads = work.threads.saturating_sub(1);
        if work.threads == 0 {
            work.waiting.clear();
        }
    }
}
