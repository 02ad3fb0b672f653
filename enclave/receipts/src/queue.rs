//! Callers that come at the same time, and which of them works for all.
//!
//! Each brings a job. The first leads: it takes what waits, in the order in which it came, and tells each its outcome; when it
//! has taken enough, the first of those who came since leads. A job that is dropped untold, because its leader panicked, is told
//! so: nobody waits for ever.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Jobs that nobody has taken.
pub(crate) struct Queue<J, R>(Mutex<Waiting<J, R>>);

struct Waiting<J, R> {
    jobs: VecDeque<Job<J, R>>,
    /// Whether somebody leads. If nobody does, nobody waits.
    is_led: bool,
}

/// One job, and who waits for its outcome.
pub(crate) struct Job<J, R> {
    pub(crate) what: J,
    outcome: Arc<Outcome<R>>,
    is_told: bool,
}

/// What its caller holds.
pub(crate) struct Ticket<R>(Arc<Outcome<R>>);

struct Outcome<R> {
    told: Mutex<Told<R>>,
    bell: Condvar,
}

enum Told<R> {
    Nothing,
    Lead,
    Outcome(R),
    Dropped,
}

/// What a caller is to do next.
pub(crate) enum Turn<'a, J, R> {
    /// Work for all, then ask again.
    Lead(Lead<'a, J, R>),
    /// Its job is done; `None` if whoever led is gone without a word.
    Done(Option<R>),
}

/// The right to take jobs; passed on when dropped.
pub(crate) struct Lead<'a, J, R>(&'a Queue<J, R>);

fn locked<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<J, R> Queue<J, R> {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Waiting {
            jobs: VecDeque::new(),
            is_led: false,
        }))
    }

    /// Puts a job at the end.
    pub(crate) fn join(&self, what: J) -> Ticket<R> {
        let mut waiting = locked(&self.0);
        let told = match std::mem::replace(&mut waiting.is_led, true) {
            true => Told::Nothing,
            false => Told::Lead,
        };
        let outcome = Arc::new(Outcome {
            told: Mutex::new(told),
            bell: Condvar::new(),
        });
        waiting.jobs.push_back(Job {
            what,
            outcome: Arc::clone(&outcome),
            is_told: false,
        });
        Ticket(outcome)
    }

    /// Waits for what the holder of `ticket` is to do.
    pub(crate) fn turn(&self, ticket: &Ticket<R>) -> Turn<'_, J, R> {
        let mut told = locked(&ticket.0.told);
        loop {
            match std::mem::replace(&mut *told, Told::Nothing) {
                Told::Nothing => told = ticket.0.bell.wait(told).unwrap_or_else(PoisonError::into_inner),
                Told::Lead => return Turn::Lead(Lead(self)),
                Told::Outcome(outcome) => return Turn::Done(Some(outcome)),
                Told::Dropped => return Turn::Done(None),
            }
        }
    }

    /// How many nobody has taken.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        locked(&self.0).jobs.len()
    }
}

impl<J, R> Lead<'_, J, R> {
    /// The first of those that wait, at most `most`.
    pub(crate) fn take(&self, most: usize) -> Vec<Job<J, R>> {
        let mut waiting = locked(&self.0.0);
        let count = most.min(waiting.jobs.len());
        waiting.jobs.drain(..count).collect()
    }
}

impl<J, R> Drop for Lead<'_, J, R> {
    fn drop(&mut self) {
        let mut waiting = locked(&self.0.0);
        match waiting.jobs.front() {
            Some(first) => first.say(Told::Lead),
            None => waiting.is_led = false,
        }
    }
}

impl<J, R> Job<J, R> {
    pub(crate) fn tell(mut self, outcome: R) {
        self.is_told = true;
        self.say(Told::Outcome(outcome));
    }

    fn say(&self, what: Told<R>) {
        let mut told = locked(&self.outcome.told);
        *told = what;
        self.outcome.bell.notify_all();
    }
}

impl<J, R> Drop for Job<J, R> {
    fn drop(&mut self) {
        if !self.is_told {
            self.say(Told::Dropped);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn lead<'a>(queue: &'a Queue<u32, u32>, ticket: &Ticket<u32>) -> Lead<'a, u32, u32> {
        match queue.turn(ticket) {
            Turn::Lead(lead) => lead,
            Turn::Done(_) => panic!("a job is done that nobody took"),
        }
    }

    fn done(queue: &Queue<u32, u32>, ticket: &Ticket<u32>) -> Option<u32> {
        match queue.turn(ticket) {
            Turn::Done(outcome) => outcome,
            Turn::Lead(_) => panic!("a job that was taken leads"),
        }
    }

    #[test]
    fn jobs_are_taken_in_their_order_each_is_told_its_own_outcome_and_the_next_one_leads() {
        let queue = Queue::<u32, u32>::new();
        let tickets: Vec<_> = (0..5).map(|n| queue.join(n)).collect();
        let first = lead(&queue, &tickets[0]);
        let taken = first.take(3);
        assert_eq!(taken.iter().map(|job| job.what).collect::<Vec<_>>(), [0, 1, 2]);
        drop(first);
        let second = lead(&queue, &tickets[3]);
        let rest = second.take(3);
        assert_eq!(queue.len(), 0);
        drop(second);
        for job in rest.into_iter().chain(taken) {
            let outcome = job.what * 10;
            job.tell(outcome);
        }
        let told: Vec<_> = tickets.iter().map(|ticket| done(&queue, ticket)).collect();
        assert_eq!(told, [Some(0), Some(10), Some(20), Some(30), Some(40)]);
        // Nobody waited when the last one stopped leading: whoever comes next leads.
        let again = queue.join(7);
        drop(lead(&queue, &again));
    }

    #[test]
    fn a_job_that_is_dropped_untold_ends_its_callers_wait() {
        let queue = Queue::<u32, u32>::new();
        let (told, dropped) = (queue.join(1), queue.join(2));
        let first = lead(&queue, &told);
        first.take(1).pop().unwrap().tell(7);
        drop(first.take(1));
        assert_eq!(done(&queue, &told), Some(7));
        assert_eq!(done(&queue, &dropped), None);
    }
}
