//! Whose turn it is: fair by tokens between tenants, first come first served within one.
//!
//! Each tenant has a tag: the tokens of its turns so far. Beside them runs the fair share: the tokens that one who was there all
//! the time would have had, each token served divided among those who ask. The next turn is the waiting tenant's with the lowest tag;
//! among equal tags, of whoever waits longest at it. Who comes anew starts at the fair share. So it waits for no tenant that has had
//! its share, however many requests that has, and over time each gets the same tokens. Nobody starves: the share grows with every
//! token that others have, and passes everybody's tag.
//!
//! No clock and no task here: what happens depends on the calls alone.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// Tenants without a request that are remembered for what they had.
const REMEMBERED_MAX: usize = 4096;

/// A request in the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Ticket(u64);

/// What a request is expected to take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Needs {
    /// Tokens in all: what its tenant is charged until more is known.
    pub(super) cost: u64,
    /// Tokens that the engine holds at a time.
    pub(super) room: u64,
    /// Requests of its tenant at a time.
    pub(super) most: u32,
}

/// What came of a call: whose turn it is now, and who is turned away.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Moved {
    pub(super) turns: Vec<Ticket>,
    pub(super) away: Vec<Ticket>,
}

/// The order of one guest.
pub(super) struct Order<T> {
    /// Requests at a time.
    slots: u32,
    /// Requests that wait.
    waiting_max: u32,
    /// Tokens at a time.
    room: Option<u64>,
    running: u32,
    taken: u64,
    waiting: u32,
    tenants: HashMap<T, Tenant>,
    /// The fair share so far, and what is left of dividing it.
    share: u64,
    undivided: u64,
    count: u64,
}

#[derive(Default)]
struct Tenant {
    tag: u64,
    /// Since when it waits at this tag.
    since: u64,
    waiting: VecDeque<(Ticket, Needs)>,
    running: u32,
}

impl Tenant {
    /// Whom tokens are divided among.
    fn is_active(&self) -> bool {
        self.running > 0 || !self.waiting.is_empty()
    }

    /// Whose turn may be next.
    fn is_ready(&self) -> bool {
        self.waiting
            .front()
            .is_some_and(|(_, needs)| self.running < needs.most.max(1))
    }
}

impl<T: Clone + Eq + Hash> Order<T> {
    pub(super) fn new(slots: u32, waiting_max: u32, room: Option<u64>) -> Self {
        Self {
            slots: slots.max(1),
            waiting_max,
            room,
            running: 0,
            taken: 0,
            waiting: 0,
            tenants: HashMap::new(),
            share: 0,
            undivided: 0,
            count: 0,
        }
    }

    fn next_count(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    /// A request comes. Where more wait than may, the newest of whoever has most waiting is turned away; that is the one that
    /// came, unless another tenant has more.
    pub(super) fn enter(&mut self, tenant: &T, needs: Needs) -> (Ticket, Moved) {
        let ticket = Ticket(self.next_count());
        if self.tenants.len() >= REMEMBERED_MAX {
            self.tenants.retain(|_, t| t.is_active());
        }
        let own = self.tenants.entry(tenant.clone()).or_default();
        if own.waiting.is_empty() {
            own.tag = own.tag.max(self.share);
            own.since = ticket.0;
        }
        own.waiting.push_back((ticket, needs));
        let own_waiting = own.waiting.len();
        self.waiting += 1;
        let mut moved = self.turns();
        if self.waiting > self.waiting_max {
            let longest = self.tenants.iter().max_by_key(|(_, t)| t.waiting.len());
            let loser = match longest {
                Some((other, t)) if t.waiting.len() > own_waiting => other.clone(),
                _ => tenant.clone(),
            };
            let last = self.tenants.get_mut(&loser).and_then(|t| t.waiting.pop_back());
            if let Some((last, _)) = last {
                self.waiting -= 1;
                moved.away.push(last);
            }
        }
        (ticket, moved)
    }

    /// A request that waits goes away by itself. Nothing happens to one that does not wait.
    pub(super) fn leave(&mut self, tenant: &T, ticket: Ticket) -> Moved {
        if let Some(own) = self.tenants.get_mut(tenant) {
            let before = own.waiting.len();
            own.waiting.retain(|(waiting, _)| *waiting != ticket);
            self.waiting = self.waiting.saturating_sub((before - own.waiting.len()) as u32);
        }
        // Whoever was held up by it may have its turn.
        self.turns()
    }

    /// A turn ends. `used` tokens count in place of what was expected.
    pub(super) fn end(&mut self, tenant: &T, needs: Needs, used: Option<u64>) -> Moved {
        let active = self.tenants.values().filter(|t| t.is_active()).count().max(1) as u64;
        let served = self.undivided.saturating_add(used.unwrap_or(needs.cost));
        self.share = self.share.saturating_add(served / active);
        self.undivided = served % active;
        self.running = self.running.saturating_sub(1);
        self.taken = self.taken.saturating_sub(needs.room);
        if let Some(own) = self.tenants.get_mut(tenant) {
            own.running = own.running.saturating_sub(1);
            if let Some(used) = used {
                own.tag = own.tag.saturating_sub(needs.cost).saturating_add(used);
            }
        }
        let moved = self.turns();
        if self.running == 0 && self.waiting == 0 {
            // Nobody is behind anybody.
            self.tenants.clear();
            (self.share, self.undivided) = (0, 0);
        }
        let share = self.share;
        self.tenants.retain(|_, t| t.is_active() || t.tag > share);
        moved
    }

    fn turns(&mut self) -> Moved {
        let mut moved = Moved::default();
        while self.running < self.slots {
            let ready = self.tenants.values_mut().filter(|t| t.is_ready());
            let Some(next) = ready.min_by_key(|t| (t.tag, t.since)) else {
                break;
            };
            let Some((ticket, needs)) = next.waiting.front().copied() else {
                break;
            };
            let fits = self
                .room
                .is_none_or(|room| self.taken.saturating_add(needs.room) <= room);
            if !fits && self.running > 0 {
                // Nobody passes by: else the largest would never fit.
                break;
            }
            next.waiting.pop_front();
            next.running += 1;
            next.tag = next.tag.saturating_add(needs.cost);
            self.count += 1;
            next.since = self.count;
            self.running += 1;
            self.waiting -= 1;
            self.taken = self.taken.saturating_add(needs.room);
            moved.turns.push(ticket);
        }
        moved
    }
}

#[cfg(test)]
mod tests;
