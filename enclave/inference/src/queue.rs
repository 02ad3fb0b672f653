//! Requests that wait for the engine, in front of it and nowhere else.
//!
//! The order is in `order`; here are the tasks that wait. A request that is dropped while it waits leaves; one that waits too long,
//! or for which there is no place, is told to come again. Nobody is told how many others wait.

mod order;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hanzo_attestation::config;
use tokio::sync::oneshot;

use crate::access::Tenant;
use crate::error::ApiError;
use order::{Moved, Needs, Order, Ticket};

/// The queue of one guest.
pub(crate) struct Queue {
    places: Mutex<Places>,
    wait: Duration,
}

struct Places {
    order: Order<Tenant>,
    waiting: HashMap<Ticket, Waiter>,
}

/// Who is called when its turn comes.
struct Waiter {
    tenant: Tenant,
    needs: Needs,
    call: oneshot::Sender<Turn>,
}

/// Turns for those who wait. One that nobody waits for any longer ends at once, which takes the lock: so they are handed over
/// when it is free.
#[must_use]
struct Calls(Vec<(oneshot::Sender<Turn>, Turn)>);

impl Calls {
    fn make(self) {
        for (call, turn) in self.0 {
            drop(call.send(turn));
        }
    }
}

/// A place at the engine, until it is dropped.
pub(crate) struct Turn {
    queue: Arc<Queue>,
    tenant: Tenant,
    needs: Needs,
    used: Option<u64>,
}

impl Turn {
    /// Gives the place back. The tokens that were used count in place of those that were expected.
    pub(crate) fn end(mut self, used: u64) {
        self.used = Some(used);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let calls = {
            let mut places = self.queue.places();
            let moved = places.order.end(&self.tenant, self.needs, self.used);
            self.queue.calls(&mut places, moved)
        };
        calls.make();
    }
}

/// What a request says of itself before its tokens are counted.
pub(crate) struct Asks {
    pub(crate) tenant: Tenant,
    /// Requests of its tenant at a time.
    pub(crate) concurrent: u32,
    /// Bytes of its body: a token is at least one.
    pub(crate) body_bytes: u64,
    /// Most tokens of an answer, if it says so.
    pub(crate) max_tokens: Option<u64>,
    /// How many answers, one after the other.
    pub(crate) answers: u64,
    /// Tokens of prompt and answer together, by its model.
    pub(crate) context_tokens: u64,
}

impl Asks {
    /// Four bytes a token, as texts have, and answers as long as they may be.
    fn needs(&self) -> Needs {
        let prompt = (self.body_bytes / 4).min(self.context_tokens);
        let each = self.max_tokens.unwrap_or(self.context_tokens).min(self.context_tokens);
        let room = self.body_bytes.saturating_add(each).min(self.context_tokens);
        Needs {
            cost: prompt.saturating_add(each.saturating_mul(self.answers)).max(1),
            room,
            most: self.concurrent,
        }
    }
}

/// Leaves when it is dropped.
struct Waiting {
    queue: Arc<Queue>,
    tenant: Tenant,
    ticket: Ticket,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let calls = {
            let mut places = self.queue.places();
            places.waiting.remove(&self.ticket);
            let moved = places.order.leave(&self.tenant, self.ticket);
            self.queue.calls(&mut places, moved)
        };
        calls.make();
    }
}

impl Queue {
    pub(crate) fn new(slots: u32, queue: Option<config::Queue>) -> Arc<Self> {
        let queue = queue.unwrap_or_default();
        Arc::new(Self {
            places: Mutex::new(Places {
                order: Order::new(slots, queue.requests, queue.tokens),
                waiting: HashMap::new(),
            }),
            wait: Duration::from_secs(queue.wait_s),
        })
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn calls(self: &Arc<Self>, places: &mut Places, moved: Moved) -> Calls {
        for away in moved.away {
            // Whoever waits for the call hears that none comes.
            places.waiting.remove(&away);
        }
        let called = moved
            .turns
            .into_iter()
            .filter_map(|ticket| places.waiting.remove(&ticket));
        let calls = called.map(|waiter| {
            let turn = Turn {
                queue: self.clone(),
                tenant: waiter.tenant,
                needs: waiter.needs,
                used: None,
            };
            (waiter.call, turn)
        });
        Calls(calls.collect())
    }

    /// Waits for a turn.
    pub(crate) async fn turn(self: &Arc<Self>, asks: Asks) -> Result<Turn, ApiError> {
        let needs = asks.needs();
        let (call, called) = oneshot::channel();
        let (waiting, calls) = {
            let mut places = self.places();
            let (ticket, moved) = places.order.enter(&asks.tenant, needs);
            let waiter = Waiter {
                tenant: asks.tenant.clone(),
                needs,
                call,
            };
            places.waiting.insert(ticket, waiter);
            let calls = self.calls(&mut places, moved);
            let waiting = Waiting {
                queue: self.clone(),
                tenant: asks.tenant,
                ticket,
            };
            (waiting, calls)
        };
        calls.make();
        let turn = tokio::time::timeout(self.wait, called).await;
        drop(waiting);
        match turn {
            Ok(Ok(turn)) => Ok(turn),
            Ok(Err(_)) | Err(_) => Err(ApiError::Busy),
        }
    }
}
