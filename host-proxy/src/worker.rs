//! One thread: an event loop, its listening sockets, and the connections that came in there.
//!
//! Edge-triggered: the kernel reports a change once, and a connection goes on until a call would block. Nothing here is shared
//! with other workers but limits, guests and metrics.

mod connection;
mod pulse;
mod tally;
mod timers;

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Registry, Token, Waker};
use socket2::Socket as Raw;
use std::os::fd::AsRawFd as _;
use tokio::sync::watch;
use tracing::warn;

use crate::address::Address;
use crate::admission::{Admission, Client};
use crate::forward::{Carrier, ms};
use crate::metrics::Metrics;
use crate::pool::Pool;
use crate::route::Door;
use crate::socket::{Peer, Stream, accept};
use crate::state::{Entrance, Phase, State};
use connection::{Connection, Outcome};
use pulse::Pulse;
use timers::{NEVER, Timers};

/// Connections accepted in a row before those that are open have their turn.
const ACCEPTS_PER_TURN: usize = 32;

/// More than that do not wait in a socket; those that come while it is emptied are not waited for.
const BACKLOG_MAX: usize = 65_536;

/// Reports taken from the kernel at a time.
const EVENTS_PER_TURN: usize = 256;

/// Who waits for a guest looks again after this long even if no place was freed: another guest may have come up.
const LOOK_AGAIN_MS: u64 = 100;

/// How long nothing is accepted after the kernel could not give a connection, most likely for want of descriptors.
const ACCEPT_PAUSE_MS: u64 = 50;

/// How often that is logged.
const WARN_AGAIN_MS: u64 = 1_000;

/// Tokens below are connections: twice the slot, one more for the guest's side.
const LISTENERS: usize = usize::MAX / 2;
const WOKEN: Token = Token(usize::MAX);

/// What all workers share.
pub(crate) struct Shared {
    pub(crate) admission: Arc<Admission>,
    pub(crate) metrics: Arc<Metrics>,
}

/// One worker of several.
pub(crate) struct Worker {
    of: usize,
    state: watch::Receiver<Arc<State>>,
    poll: Poll,
    desk: Desk,
    started: Instant,
    listeners: Vec<Option<Listener>>,
    /// Until then nothing is accepted.
    paused_until_ms: u64,
    /// When that was logged last.
    warned_ms: u64,
    slots: Vec<Option<Box<Connection>>>,
    /// Slots to use again, and those whose reports may still be in this turn's.
    free: Vec<usize>,
    freed: Vec<usize>,
    open: usize,
    timers: Timers,
    /// Connections that wait for the second part of this turn.
    writes: VecDeque<usize>,
    /// Connections whose turn was over before their work was.
    again: Vec<usize>,
    /// Connections that wait for a guest with a free place, in their order. Some may be gone.
    queued: VecDeque<usize>,
    looked_ms: u64,
    is_woken: bool,
    /// When connections that are still open are cut.
    drain_until_ms: Option<u64>,
    pulse: Pulse,
}

/// What a worker's connections use.
struct Desk {
    index: usize,
    shared: Arc<Shared>,
    registry: Registry,
    waker: Arc<Waker>,
    carrier: Carrier,
}

struct Listener {
    asked: Address,
    /// Which sockets it is one of.
    of: Weak<Vec<Raw>>,
    socket: Raw,
    door: Arc<Door>,
    /// Connections may wait in it.
    has_more: bool,
}

impl Worker {
    pub(crate) fn new(
        index: usize,
        of: usize,
        shared: Arc<Shared>,
        state: watch::Receiver<Arc<State>>,
    ) -> io::Result<Self> {
        let poll = Poll::new()?;
        let desk = Desk {
            index,
            shared,
            registry: poll.registry().try_clone()?,
            waker: Arc::new(Waker::new(poll.registry(), WOKEN)?),
            carrier: Carrier::new(),
        };
        Ok(Self {
            of,
            state,
            poll,
            desk,
            started: Instant::now(),
            listeners: Vec::new(),
            paused_until_ms: 0,
            warned_ms: 0,
            slots: Vec::new(),
            free: Vec::new(),
            freed: Vec::new(),
            open: 0,
            timers: Timers::default(),
            writes: VecDeque::new(),
            again: Vec::new(),
            queued: VecDeque::new(),
            looked_ms: 0,
            is_woken: false,
            drain_until_ms: None,
            pulse: Pulse::default(),
        })
    }

    /// Wakes the worker to look at the state, or for a guest's free place.
    pub(crate) fn waker(&self) -> Arc<Waker> {
        self.desk.waker.clone()
    }

    /// Starts the thread. It ends when the state has no entrances and its connections are gone or out of time, or nobody is
    /// left to publish a state. Connections that are left are dropped then, which resets them.
    pub(crate) fn start(mut self) -> io::Result<std::thread::JoinHandle<()>> {
        std::thread::Builder::new()
            .name(format!("proxy-{}", self.desk.index))
            .spawn(move || self.run())
    }

    fn run(&mut self) {
        let mut events = Events::with_capacity(EVENTS_PER_TURN);
        self.renew();
        while !self.is_over() {
            self.desk.carrier.publish(&self.desk.shared.metrics);
            let asked_us = self.now_us();
            let patience = match self.pulse.is_eager() {
                true => Some(Duration::ZERO),
                false => self.patience(),
            };
            match self.poll.poll(&mut events, patience) {
                Ok(()) => {}
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    warn!(%error, "event loop");
                    std::thread::sleep(Duration::from_millis(ACCEPT_PAUSE_MS));
                    continue;
                }
            }
            let now_us = self.now_us();
            self.desk.carrier.now_ms = now_us / 1_000;
            self.pulse.waited(now_us.saturating_sub(asked_us), !events.is_empty());
            let again = std::mem::take(&mut self.again);
            self.desk.carrier.gather();
            for event in &events {
                self.report(event);
            }
            self.desk.carrier.spread();
            while let Some(slot) = self.writes.pop_front() {
                self.turn(slot, Connection::advance);
            }
            for slot in again {
                if let Some(connection) = self.slots.get_mut(slot).and_then(Option::as_mut) {
                    connection.is_again = false;
                }
                self.turn(slot, Connection::advance);
            }
            while let Some(slot) = self.timers.pop_due(self.desk.carrier.now_ms) {
                if let Some(connection) = self.slots.get_mut(slot).and_then(Option::as_mut) {
                    connection.due_ms = NEVER;
                }
                self.turn(slot, Connection::expire);
            }
            self.look_for_guests();
            self.accept();
            self.free.append(&mut self.freed);
            if std::mem::take(&mut self.is_woken) {
                match self.state.has_changed() {
                    Ok(true) => self.renew(),
                    Ok(false) => {}
                    // The proxy was dropped.
                    Err(_) => return,
                }
            }
        }
    }

    fn now_us(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(NEVER)
    }

    fn is_over(&self) -> bool {
        let Some(until) = self.drain_until_ms else {
            return false;
        };
        let is_late = self.desk.carrier.now_ms >= until;
        if is_late && self.open > 0 {
            warn!(
                worker = self.desk.index,
                open = self.open,
                "drain time is over, closing the rest"
            );
        }
        is_late || self.open == 0
    }

    /// How long nothing happens by itself.
    fn patience(&self) -> Option<Duration> {
        let now = self.desk.carrier.now_ms;
        let is_accepting = self.paused_until_ms == 0;
        if !self.again.is_empty() || is_accepting && self.listeners.iter().flatten().any(|l| l.has_more) {
            return Some(Duration::ZERO);
        }
        let next = [
            self.timers.next(),
            self.drain_until_ms,
            (!is_accepting).then_some(self.paused_until_ms),
            (!self.queued.is_empty()).then_some(self.looked_ms + LOOK_AGAIN_MS),
        ];
        let next = next.into_iter().flatten().min()?;
        Some(Duration::from_millis(next.saturating_sub(now)))
    }

    fn report(&mut self, event: &Event) {
        let token = event.token();
        if token == WOKEN {
            self.is_woken = true;
        } else if let Some(at) = token.0.checked_sub(LISTENERS) {
            if let Some(Some(listener)) = self.listeners.get_mut(at) {
                listener.has_more = true;
            }
        } else {
            let slot = token.0 / 2;
            if let Some(connection) = self.slots.get_mut(slot).and_then(Option::as_mut) {
                connection.report(token.0 % 2 == 1, event);
                // One turn for each: a fast stream would have more and more of them.
                if !connection.is_again {
                    self.turn(slot, Connection::advance);
                }
            }
        }
    }

    /// Lets a connection do something, and sees to what it needs next.
    fn turn(&mut self, slot: usize, what: impl FnOnce(&mut Connection, &mut Desk) -> Outcome) {
        let Some(held) = self.slots.get_mut(slot) else {
            return;
        };
        let Some(connection) = held else {
            return;
        };
        let until = match what(connection, &mut self.desk) {
            Outcome::Wait(until) => until,
            Outcome::Again => {
                if !std::mem::replace(&mut connection.is_again, true) {
                    self.again.push(slot);
                }
                return;
            }
            Outcome::Write => {
                self.writes.push_back(slot);
                return;
            }
            Outcome::Queue(until) => {
                self.queued.push_back(slot);
                until
            }
            Outcome::Over => {
                self.timers.clear(slot, connection.due_ms);
                *held = None;
                self.queued.retain(|queued| *queued != slot);
                self.freed.push(slot);
                self.open -= 1;
                return;
            }
        };
        // Traffic moves the limit and not the deadline: that is set anew once it has passed.
        if until < connection.due_ms {
            self.timers.set(slot, connection.due_ms, until);
            connection.due_ms = until;
        }
    }

    fn look_for_guests(&mut self) {
        let now = self.desk.carrier.now_ms;
        if self.queued.is_empty() || !self.is_woken && now < self.looked_ms + LOOK_AGAIN_MS {
            return;
        }
        self.looked_ms = now;
        let mut full: Vec<Arc<Pool>> = Vec::new();
        for slot in std::mem::take(&mut self.queued) {
            let connection = self.slots.get(slot).and_then(Option::as_ref);
            let Some(pool) = connection.and_then(|c| c.queued_in()).cloned() else {
                continue;
            };
            if full.iter().any(|p| Arc::ptr_eq(p, &pool)) {
                self.queued.push_back(slot);
                continue;
            }
            self.turn(slot, Connection::look_again);
            if self.queued.back() == Some(&slot) {
                full.push(pool);
            }
        }
    }

    fn accept(&mut self) {
        if self.desk.carrier.now_ms < self.paused_until_ms {
            return;
        }
        self.paused_until_ms = 0;
        for at in 0..self.listeners.len() {
            if self.paused_until_ms == 0 {
                self.accept_from(at, ACCEPTS_PER_TURN);
            }
        }
    }

    fn accept_from(&mut self, at: usize, most: usize) {
        for _ in 0..most {
            let Some(Some(listener)) = self.listeners.get_mut(at) else {
                return;
            };
            if !listener.has_more {
                return;
            }
            match accept(&listener.socket) {
                Ok((stream, peer)) => {
                    let door = listener.door.clone();
                    self.admit(stream, peer, door);
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => listener.has_more = false,
                Err(error) => {
                    // Out of descriptors, or a connection that died in the queue: wait, do not spin.
                    self.desk.shared.metrics.accept_failures.inc();
                    let now = self.desk.carrier.now_ms;
                    self.paused_until_ms = now + ACCEPT_PAUSE_MS;
                    if now >= self.warned_ms + WARN_AGAIN_MS || self.warned_ms == 0 {
                        self.warned_ms = now.max(1);
                        warn!(%error, "accept failed");
                    }
                    return;
                }
            }
        }
    }

    fn admit(&mut self, stream: Stream, peer: Peer, door: Arc<Door>) {
        let shared = &self.desk.shared;
        shared.metrics.connections.inc();
        let place = shared.admission.enter(&door.limits).and_then(|mut place| {
            // A balancer's connection is counted for the client that its header names.
            if !door.is_balancer(&peer) {
                place.enter_as(Client::from(peer), &door.limits)?;
            }
            Ok(place)
        });
        let place = match place {
            Ok(place) => place,
            Err(why) => return shared.metrics.refused(why),
        };
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        let connection = Connection::new(slot, stream, peer, door, place, &self.desk);
        if let Some(held) = self.slots.get_mut(slot) {
            *held = Some(Box::new(connection));
            self.open += 1;
            self.turn(slot, Connection::advance);
        }
    }

    /// Listens where the state says so and nowhere else.
    fn renew(&mut self) {
        let state = self.state.borrow_and_update().clone();
        for at in 0..self.listeners.len() {
            let Some(Some(listener)) = self.listeners.get_mut(at) else {
                continue;
            };
            let entrance = state.entrances.iter().find(|e| listener.is_of(e));
            if let Some(entrance) = entrance {
                listener.door = entrance.door.clone();
                continue;
            }
            if state.phase != Phase::HandedOver {
                // Nobody else will take what the kernel has accepted already.
                listener.has_more = true;
                self.paused_until_ms = 0;
                for _ in 0..BACKLOG_MAX / ACCEPTS_PER_TURN {
                    if self.paused_until_ms != 0 || !self.has_more(at) {
                        break;
                    }
                    self.accept_from(at, ACCEPTS_PER_TURN);
                }
            }
            if let Some(listener) = self.listeners.get_mut(at).and_then(Option::take) {
                // Its socket may live on elsewhere, and would be reported about here.
                let _ = self
                    .desk
                    .registry
                    .deregister(&mut SourceFd(&listener.socket.as_raw_fd()));
            }
        }
        for entrance in &state.entrances {
            if self.listeners.iter().flatten().any(|l| l.is_of(entrance)) {
                continue;
            }
            let n = entrance.sockets.len();
            for (i, socket) in entrance.sockets.iter().enumerate() {
                let is_mine = match n >= self.of {
                    true => i % self.of == self.desk.index,
                    // Fewer sockets than workers: some are shared.
                    false => i == self.desk.index % n,
                };
                if is_mine && let Err(error) = self.listen(entrance, socket) {
                    warn!(at = %entrance.asked, %error, "cannot listen");
                }
            }
        }
        if state.phase != Phase::Serving {
            self.drain_until_ms = Some(self.desk.carrier.now_ms + ms(state.config.drain));
        }
    }

    fn has_more(&self, at: usize) -> bool {
        self.listeners
            .get(at)
            .is_some_and(|l| l.as_ref().is_some_and(|l| l.has_more))
    }

    fn listen(&mut self, entrance: &Entrance, socket: &Raw) -> io::Result<()> {
        let socket = socket.try_clone()?;
        let token = Token(LISTENERS + self.listeners.len());
        self.desk
            .registry
            .register(&mut SourceFd(&socket.as_raw_fd()), token, Interest::READABLE)?;
        self.listeners.push(Some(Listener {
            asked: entrance.asked,
            of: Arc::downgrade(&entrance.sockets),
            socket,
            door: entrance.door.clone(),
            has_more: false,
        }));
        Ok(())
    }
}

impl Listener {
    fn is_of(&self, entrance: &Entrance) -> bool {
        self.asked == entrance.asked && Weak::as_ptr(&self.of) == Arc::as_ptr(&entrance.sockets)
    }
}
