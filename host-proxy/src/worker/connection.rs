//! One client's connection: its first bytes, the search for a guest, and then what is carried.

use std::io;
use std::sync::Arc;

use mio::event::Event;
use mio::unix::SourceFd;
use mio::{Interest, Token};
use tracing::{info, warn};

use crate::address::Address;
use crate::admission::Place;
use crate::forward::{Carried, Flow, Side, Then, Watched, ms};
use crate::metrics::{Ended, Refused};
use crate::pool::{Lease, Pick, Pool, Waiting};
use crate::route::{Door, Opening, Routing};
use crate::socket::{Peer, Stream};
use crate::worker::Desk;
use crate::worker::tally::Tally;
use crate::worker::timers::NEVER;

/// Read at a time before a connection has a guest. Most hellos come in one or two segments.
const FIRST_BYTES: usize = 16 * 1024;

pub(super) struct Connection {
    slot: usize,
    client: Side,
    peer: Peer,
    door: Arc<Door>,
    place: Place,
    tally: Tally,
    opened_ms: u64,
    /// The deadline that the worker keeps for it: at or before the real one.
    pub(super) due_ms: u64,
    /// It is among those that have another turn.
    pub(super) is_again: bool,
    stage: Stage,
}

enum Stage {
    /// The client has yet to send what must come first.
    First(Opening),
    /// Every guest of the pool is full.
    Queued(Call, Waiting),
    /// A guest has yet to accept.
    Calling(Call, Attempt),
    Open(Box<Open>),
    Over,
}

/// The search for a guest.
struct Call {
    pool: Arc<Pool>,
    /// For rendezvous hashing.
    key: u64,
    /// What the guest gets first.
    first: Vec<u8>,
    client_spoke: bool,
    /// A bit for each guest that did not accept.
    tried: u64,
    deadline_ms: u64,
}

struct Attempt {
    guest: Side,
    lease: Lease,
    until_ms: u64,
    /// The guest has all the time that the configuration gives it; what is left of a client's says nothing about a guest.
    is_whole: bool,
}

struct Open {
    guest: Side,
    lease: Lease,
    flow: Flow,
}

/// What a connection needs next from its worker.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Word from the kernel, or this time.
    Wait(u64),
    /// Another turn, after the others.
    Again,
    /// The second part of this turn.
    Write,
    /// A guest with a free place, or this time.
    Queue(u64),
    /// Nothing: it is to be dropped.
    Over,
}

impl Connection {
    pub(super) fn new(slot: usize, stream: Stream, peer: Peer, door: Arc<Door>, place: Place, desk: &Desk) -> Self {
        let mut client = Side::new(stream);
        // Often the first bytes are there already.
        client.can_read = true;
        Self {
            slot,
            client,
            peer,
            place,
            tally: Tally::new(desk.shared.clone()),
            opened_ms: desk.carrier.now_ms,
            due_ms: NEVER,
            is_again: false,
            stage: Stage::First(door.opening(peer)),
            door,
        }
    }

    /// What the event loop says about one side.
    pub(super) fn report(&mut self, is_guest: bool, event: &Event) {
        let side = match (&mut self.stage, is_guest) {
            (_, false) => &mut self.client,
            (Stage::Open(open), true) => &mut open.guest,
            (Stage::Calling(_, attempt), true) => &mut attempt.guest,
            // About a guest that was given up within this turn.
            _ => return,
        };
        side.is_broken |= event.is_error();
        side.is_ending |= event.is_read_closed();
        side.can_read |= event.is_readable() || event.is_read_closed() || event.is_error();
        side.can_write |= event.is_writable() || event.is_error();
    }

    /// Goes on as far as the kernel lets it.
    pub(super) fn advance(&mut self, desk: &mut Desk) -> Outcome {
        if matches!(self.stage, Stage::Open(_)) {
            return self.carry(desk);
        }
        let stage = std::mem::replace(&mut self.stage, Stage::Over);
        let outcome = match stage {
            _ if self.client.is_broken => Err(Refused::ClientGone),
            Stage::First(opening) => self.read_first(opening, desk),
            Stage::Calling(call, attempt) => self.answer(call, attempt, desk),
            Stage::Queued(call, waiting) => {
                let until = call.deadline_ms;
                self.stage = Stage::Queued(call, waiting);
                Ok(Outcome::Wait(until))
            }
            Stage::Open(_) | Stage::Over => Ok(Outcome::Over),
        };
        self.or_refused(outcome)
    }

    /// In which pool's queue it is.
    pub(super) fn queued_in(&self) -> Option<&Arc<Pool>> {
        match &self.stage {
            Stage::Queued(call, _) => Some(&call.pool),
            _ => None,
        }
    }

    /// A guest may have a free place now.
    pub(super) fn look_again(&mut self, desk: &mut Desk) -> Outcome {
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Queued(call, waiting) => {
                let outcome = self.call(call, Some(waiting), desk);
                self.or_refused(outcome)
            }
            other => {
                self.stage = other;
                self.advance(desk)
            }
        }
    }

    /// Its deadline has passed, perhaps not the real one.
    pub(super) fn expire(&mut self, desk: &mut Desk) -> Outcome {
        let now = desk.carrier.now_ms;
        if let Stage::Open(open) = &mut self.stage {
            let (limit, why) = open.flow.limit(&self.door.limits);
            if now < limit {
                return match open.flow.rest(&desk.carrier) {
                    Ok(()) => Outcome::Wait(open.flow.next_look(&self.door.limits)),
                    Err(how) => self.end(how, now),
                };
            }
            let why = Flow::expire(why, &mut self.client);
            return self.end(why, now);
        }
        let outcome = match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::First(_) if now >= self.first_until() => Err(Refused::FirstBytes),
            Stage::Queued(call, _) if now >= call.deadline_ms => Err(Refused::QueueTime),
            Stage::Calling(call, attempt) if now >= attempt.until_ms => {
                desk.shared.metrics.dial_failures.inc();
                if attempt.is_whole {
                    attempt.lease.failed();
                }
                drop(attempt);
                self.call(call, None, desk)
            }
            early => {
                self.stage = early;
                return self.advance(desk);
            }
        };
        self.or_refused(outcome)
    }

    fn first_until(&self) -> u64 {
        self.opened_ms + ms(self.door.limits.first_bytes)
    }

    fn read_first(&mut self, mut opening: Opening, desk: &mut Desk) -> Result<Outcome, Refused> {
        loop {
            if let Routing::To(pool) = self.door.route(&mut opening, &mut self.place)? {
                let call = Call {
                    pool: pool.clone(),
                    key: opening.who.key(),
                    client_spoke: opening.has_spoken(),
                    first: opening.for_guest(pool, &self.client.stream),
                    tried: 0,
                    deadline_ms: desk.carrier.now_ms + ms(pool.config().deadline),
                };
                return self.call(call, None, desk);
            }
            if !self.client.can_read {
                watch(&mut self.client, self.slot, false, desk)?;
                self.stage = Stage::First(opening);
                return Ok(Outcome::Wait(self.first_until()));
            }
            let scratch = desk.carrier.scratch().get_mut(..FIRST_BYTES).unwrap_or_default();
            match self.client.stream.read(scratch) {
                Ok(0) => return Err(Refused::ClientGone),
                Ok(n) => {
                    self.client.can_read = n == scratch.len() || self.client.is_ending;
                    opening.first.extend_from_slice(scratch.get(..n).unwrap_or_default());
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => self.client.can_read = false,
                Err(_) => return Err(Refused::ClientGone),
            }
        }
    }

    /// Calls guests until one may answer. Another one is tried if one does not accept, never after a byte went to one.
    fn call(&mut self, mut call: Call, waiting: Option<Waiting>, desk: &mut Desk) -> Result<Outcome, Refused> {
        let now = desk.carrier.now_ms;
        loop {
            if now >= call.deadline_ms {
                return Err(match call.tried {
                    0 => Refused::QueueTime,
                    _ => Refused::Unreachable,
                });
            }
            let (lease, at) = match call.pool.pick(call.key, call.tried) {
                Pick::One(lease, at) => (lease, at),
                Pick::Nobody if call.tried == 0 => return Err(Refused::NoGuest),
                Pick::Nobody => return Err(Refused::Unreachable),
                Pick::Full => {
                    let waiting = match waiting {
                        Some(waiting) => waiting,
                        None => call.pool.queue(desk.index, &desk.waker)?,
                    };
                    watch(&mut self.client, self.slot, false, desk)?;
                    let until = call.deadline_ms;
                    self.stage = Stage::Queued(call, waiting);
                    return Ok(Outcome::Queue(until));
                }
            };
            call.tried |= 1 << at;
            match Stream::call(&lease.guest.address) {
                Ok(stream) => {
                    let mut guest = Side::new(stream);
                    // On one machine a connection is often made by now, and says so by taking what goes first.
                    guest.can_write = call.is_told_by_writing(&lease.guest.address);
                    let whole_ms = now + ms(call.pool.config().connect);
                    let attempt = Attempt {
                        guest,
                        lease,
                        until_ms: call.deadline_ms.min(whole_ms),
                        is_whole: whole_ms <= call.deadline_ms,
                    };
                    return self.answer(call, attempt, desk);
                }
                // Many connections can take the last descriptor or port; that must not take good guests away too.
                Err(e) if is_want_here(&e) => {
                    desk.shared.metrics.dial_failures.inc();
                    warn!(error = %e, guest = %lease.guest.address, "cannot call a guest");
                }
                Err(_) => self.failed(lease, desk),
            }
        }
    }

    fn failed(&self, lease: Lease, desk: &Desk) {
        desk.shared.metrics.dial_failures.inc();
        lease.failed();
    }

    /// Whether a guest has accepted.
    fn answer(&mut self, mut call: Call, mut attempt: Attempt, desk: &mut Desk) -> Result<Outcome, Refused> {
        let guest = &mut attempt.guest;
        if guest.can_write {
            let told = match call.is_told_by_writing(&attempt.lease.guest.address) {
                true => guest.stream.write(&call.first),
                false => guest.stream.outcome().map(|()| 0),
            };
            match told {
                Ok(sent) => {
                    attempt.lease.accepted();
                    let rest = call.first.split_off(sent.min(call.first.len()));
                    let flow = Flow::new(sent, rest, call.client_spoke, &mut desk.carrier);
                    self.stage = Stage::Open(Box::new(Open {
                        guest: attempt.guest,
                        lease: attempt.lease,
                        flow,
                    }));
                    return Ok(self.carry(desk));
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => guest.can_write = false,
                Err(_) => {
                    self.failed(attempt.lease, desk);
                    return self.call(call, None, desk);
                }
            }
        }
        watch(&mut self.client, self.slot, false, desk)?;
        watch(&mut attempt.guest, self.slot, true, desk)?;
        let until = attempt.until_ms;
        self.stage = Stage::Calling(call, attempt);
        Ok(Outcome::Wait(until))
    }

    fn carry(&mut self, desk: &mut Desk) -> Outcome {
        let Stage::Open(open) = &mut self.stage else {
            return Outcome::Over;
        };
        let metrics = &desk.shared.metrics;
        match open
            .flow
            .advance(&mut self.client, &mut open.guest, &mut desk.carrier, metrics)
        {
            Then::Again => match Self::watch_both(&mut self.client, open, self.slot, desk) {
                // One direction may go on while the other waits for the kernel.
                Ok(()) => Outcome::Again,
                Err(_) => self.end(Ended::Unwatched, desk.carrier.now_ms),
            },
            Then::Write => Outcome::Write,
            Then::Over(how) => self.end(how, desk.carrier.now_ms),
            Then::Wait => match Self::watch_both(&mut self.client, open, self.slot, desk) {
                Ok(()) => Outcome::Wait(open.flow.next_look(&self.door.limits)),
                Err(_) => self.end(Ended::Unwatched, desk.carrier.now_ms),
            },
        }
    }

    fn watch_both(client: &mut Side, open: &mut Open, slot: usize, desk: &Desk) -> Result<(), Refused> {
        watch(client, slot, false, desk)?;
        watch(&mut open.guest, slot, true, desk)
    }

    fn end(&mut self, how: Ended, now_ms: u64) -> Outcome {
        self.tally.ended(how);
        if let Stage::Open(open) = &self.stage
            && self.door.log.connections
        {
            let Carried { to_guest, to_client } = open.flow.carried();
            let guest = open.lease.guest.address;
            let ms = now_ms - self.opened_ms;
            match self.door.log.addresses.then_some(self.peer) {
                Some(peer) => {
                    info!(how = how.text(), %guest, up = to_guest, down = to_client, ms, %peer, "connection ended")
                }
                None => info!(how = how.text(), %guest, up = to_guest, down = to_client, ms, "connection ended"),
            }
        }
        Outcome::Over
    }

    fn or_refused(&mut self, outcome: Result<Outcome, Refused>) -> Outcome {
        let why = match outcome {
            Ok(outcome) => return outcome,
            Err(why) => why,
        };
        self.tally.refused(why);
        if self.door.log.connections {
            match self.door.log.addresses.then_some(self.peer) {
                Some(peer) => info!(why = why.text(), %peer, "connection refused"),
                None => info!(why = why.text(), "connection refused"),
            }
        }
        Outcome::Over
    }
}

impl Call {
    /// A TCP socket takes bytes once its connection is made and not before. AF_VSOCK says otherwise why it takes none.
    fn is_told_by_writing(&self, guest: &Address) -> bool {
        !self.first.is_empty() && matches!(guest, Address::Tcp(_))
    }
}

/// Whether a call failed for want of something on this machine.
fn is_want_here(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM | libc::EADDRNOTAVAIL)
    )
}

/// Asks the event loop to report what this side waits for. Closing the socket ends it.
fn watch(side: &mut Side, slot: usize, is_guest: bool, desk: &Desk) -> Result<(), Refused> {
    let wanted = match (side.watched, side.can_write) {
        (Watched::ReadsAndWrites, _) | (Watched::Reads, true) => return Ok(()),
        (Watched::Nothing, true) => Watched::Reads,
        (_, false) => Watched::ReadsAndWrites,
    };
    let interests = match wanted {
        Watched::ReadsAndWrites => Interest::READABLE | Interest::WRITABLE,
        _ => Interest::READABLE,
    };
    let token = Token(2 * slot + usize::from(is_guest));
    let fd = side.stream.fd();
    // Either call reports what is so already.
    let done = match side.watched {
        Watched::Nothing => desk.registry.register(&mut SourceFd(&fd), token, interests),
        _ => desk.registry.reregister(&mut SourceFd(&fd), token, interests),
    };
    match done {
        Ok(()) => {
            side.watched = wanted;
            Ok(())
        }
        Err(_) => Err(Refused::Unwatched),
    }
}
