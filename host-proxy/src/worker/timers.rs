//! Deadlines of one worker's connections, in milliseconds since its start. A connection has one at a time.

use std::collections::BTreeSet;

/// No deadline is set.
pub(super) const NEVER: u64 = u64::MAX;

#[derive(Debug, Default)]
pub(super) struct Timers(BTreeSet<(u64, usize)>);

impl Timers {
    /// Replaces the deadline `was` of a slot.
    pub(super) fn set(&mut self, slot: usize, was: u64, at: u64) {
        self.clear(slot, was);
        if at != NEVER {
            self.0.insert((at, slot));
        }
    }

    pub(super) fn clear(&mut self, slot: usize, was: u64) {
        if was != NEVER {
            self.0.remove(&(was, slot));
        }
    }

    pub(super) fn next(&self) -> Option<u64> {
        self.0.first().map(|(at, _)| *at)
    }

    /// A slot whose deadline has passed; it has none after that.
    pub(super) fn pop_due(&mut self, now: u64) -> Option<usize> {
        match self.0.first() {
            Some((at, _)) if *at <= now => self.0.pop_first().map(|(_, slot)| slot),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_due_once_at_its_last_deadline() {
        let mut timers = Timers::default();
        timers.set(1, NEVER, 50);
        timers.set(2, NEVER, 40);
        timers.set(1, 50, 30);
        assert_eq!(timers.next(), Some(30));
        assert_eq!(timers.pop_due(29), None);
        assert_eq!(
            (timers.pop_due(45), timers.pop_due(45), timers.pop_due(45)),
            (Some(1), Some(2), None)
        );
        timers.set(3, NEVER, 60);
        timers.clear(3, 60);
        assert_eq!(timers.next(), None);
    }
}
