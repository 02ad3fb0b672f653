//! Carries bytes both ways until both sides closed, a bound is reached or a side breaks.
//!
//! Small exchanges are copied through one buffer of the worker, long streams are spliced through a pipe. A connection on which
//! nothing is under way holds neither. Nothing here waits: a worker calls [`Flow::advance`] whenever the kernel says that a side
//! became readable or writable, and whenever [`Flow::limit`] has passed.

mod half;

use half::{Fault, Half, Next, Way};

use crate::config::Limits;
use crate::metrics::{Ended, Metrics};
use crate::pipe::Pipe;
use crate::socket::Stream;

/// What a worker reads into. One TLS record is at most 16,640 bytes.
const SCRATCH_BYTES: usize = 64 * 1024;

/// What is gathered within one turn of the event loop, and the room that a read needs.
const GATHERED_BYTES: usize = 256 * 1024;
const ROOM_BYTES: usize = 16 * 1024;

/// How long a client may go on after the guest has closed: what it sends then is read by nobody.
const LINGER_MS: u64 = 5_000;

/// A stream that stands still for this long gives its pipe to others if there are few.
const QUIET_MS: u64 = 1_000;

/// One end of a connection and what the kernel said about it last. A flag that is set may be wrong; the next call finds out. One
/// that is not set is right until the kernel reports a change.
#[derive(Debug)]
pub(crate) struct Side {
    pub(crate) stream: Stream,
    pub(crate) can_read: bool,
    pub(crate) can_write: bool,
    /// The peer reset the connection.
    pub(crate) is_broken: bool,
    /// The peer has said that nothing more comes: a short read does not mean that the socket is empty.
    pub(crate) is_ending: bool,
    /// What the worker's event loop was asked to report.
    pub(crate) watched: Watched,
}

/// What the event loop reports about a socket. Writability only once a write had to wait, which saves most connections the wake-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Watched {
    Nothing,
    Reads,
    ReadsAndWrites,
}

impl Side {
    pub(crate) fn new(stream: Stream) -> Self {
        Self {
            stream,
            can_read: false,
            can_write: true,
            is_broken: false,
            is_ending: false,
            watched: Watched::Nothing,
        }
    }
}

/// What the connections of one worker share while bytes are carried.
///
/// Small reads of one turn of the event loop are gathered and written once all have been read. Whoever they are for is woken fewer
/// times, with more to do each time.
pub(crate) struct Carrier {
    scratch: Box<[u8]>,
    gathered: Box<[u8]>,
    gathered_bytes: usize,
    is_gathering: bool,
    /// The time of this turn of the event loop, in milliseconds since the worker's start.
    pub(crate) now_ms: u64,
    /// Carried and not yet in the metrics.
    to_guest: u64,
    to_client: u64,
}

impl Carrier {
    pub(crate) fn new() -> Self {
        Self {
            scratch: vec![0; SCRATCH_BYTES].into(),
            gathered: vec![0; GATHERED_BYTES].into(),
            gathered_bytes: 0,
            is_gathering: false,
            now_ms: 0,
            to_guest: 0,
            to_client: 0,
        }
    }

    /// The worker's buffer. What is in it is gone with the next connection.
    pub(crate) fn scratch(&mut self) -> &mut [u8] {
        &mut self.scratch
    }

    /// From here on small reads are gathered. What was gathered before has been written or kept elsewhere.
    pub(crate) fn gather(&mut self) {
        self.gathered_bytes = 0;
        self.is_gathering = true;
    }

    /// From here on what was gathered is written.
    pub(crate) fn spread(&mut self) {
        self.is_gathering = false;
    }

    /// Makes the metrics right. Needed before a client may learn that its bytes have passed, and before the worker sleeps.
    pub(crate) fn publish(&mut self, metrics: &Metrics) {
        for (carried, counter) in [
            (&mut self.to_guest, &metrics.bytes_to_guest),
            (&mut self.to_client, &metrics.bytes_to_client),
        ] {
            if *carried > 0 {
                counter.inc_by(std::mem::take(carried));
            }
        }
    }

    fn count(&mut self, way: Way, moved: usize) {
        match way {
            Way::ToGuest => self.to_guest += moved as u64,
            Way::ToClient => self.to_client += moved as u64,
        }
    }
}

/// What one connection carried.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Carried {
    pub(crate) to_guest: u64,
    pub(crate) to_client: u64,
}

/// What a connection needs next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    /// Word from the kernel, or the limit.
    Wait,
    /// Another turn: others come first.
    Again,
    /// The second part of this turn, when what was gathered is written.
    Write,
    Over(Ended),
}

/// Both directions of a connection.
#[derive(Debug)]
pub(crate) struct Flow {
    up: Half,
    down: Half,
    started_ms: u64,
    /// When bytes moved last, in either direction.
    moved_ms: u64,
    /// Since when each direction has stood still with what it holds: one that moves says nothing about the other.
    up_since_ms: u64,
    down_since_ms: u64,
    guest_ended_ms: Option<u64>,
    /// When a stream that stands still was looked at last.
    looked_ms: u64,
    /// The client has sent something itself; a PROXY header is the proxy's.
    client_spoke: bool,
}

impl Flow {
    /// `sent` bytes of what goes first have gone to the guest, `rest` has not.
    pub(crate) fn new(sent: usize, rest: Vec<u8>, client_spoke: bool, carrier: &mut Carrier) -> Self {
        carrier.count(Way::ToGuest, sent);
        Self {
            up: Half::new(Way::ToGuest, sent as u64, rest),
            down: Half::new(Way::ToClient, 0, Vec::new()),
            started_ms: carrier.now_ms,
            moved_ms: carrier.now_ms,
            up_since_ms: carrier.now_ms,
            down_since_ms: carrier.now_ms,
            guest_ended_ms: None,
            looked_ms: 0,
            client_spoke,
        }
    }

    /// Moves what can be moved. Half-closes are passed on. After anything but [`Ended::Closed`] both connections are reset when
    /// they are dropped.
    pub(crate) fn advance(
        &mut self,
        client: &mut Side,
        guest: &mut Side,
        carrier: &mut Carrier,
        metrics: &Metrics,
    ) -> Then {
        let before = (self.up.stand(), self.down.stand());
        let ended_up = self.up.pump(client, guest, self.down.done, carrier, metrics);
        let ended_down = self.down.pump(guest, client, self.up.done, carrier, metrics);
        let ended_up = match ended_up {
            // The guest reads no more. What it has said before goes to its end all the same.
            Err(Fault::Writing) if ended_down.is_ok() => {
                self.up.drop_the_rest();
                Ok(Next::Again)
            }
            ended_up => ended_up,
        };
        self.client_spoke |= self.up.has_read;
        if self.up.stand() != before.0 {
            self.up_since_ms = carrier.now_ms;
        }
        if self.down.stand() != before.1 {
            self.down_since_ms = carrier.now_ms;
        }
        self.moved_ms = self.up_since_ms.max(self.down_since_ms);
        match (ended_up, ended_down) {
            (Ok(Next::Done), Ok(Next::Done)) => {
                carrier.publish(metrics);
                client.stream.part();
                guest.stream.part();
                Then::Over(Ended::Closed)
            }
            (Err(Fault::Reading), _) | (_, Err(Fault::Writing)) => Then::Over(Ended::ClientBroken),
            (Err(Fault::Writing), _) | (_, Err(Fault::Reading)) => Then::Over(Ended::GuestBroken),
            // It can take nothing any more, and what it sent before has been read or waits for a guest that does not take it.
            (Ok(Next::Blocked | Next::Done), Ok(_)) if client.is_broken => Then::Over(Ended::ClientBroken),
            (Ok(up), Ok(down)) => {
                if down == Next::Done && self.guest_ended_ms.is_none() {
                    self.guest_ended_ms = Some(carrier.now_ms);
                }
                match (up, down) {
                    (Next::Gathered, _) | (_, Next::Gathered) => Then::Write,
                    (Next::Again, _) | (_, Next::Again) => Then::Again,
                    _ => Then::Wait,
                }
            }
        }
    }

    /// When to look at it again if nothing is reported: at the limit, or earlier if it stands still with a pipe.
    pub(crate) fn next_look(&self, limits: &Limits) -> u64 {
        let limit = self.limit(limits).0;
        let with_pipe = [
            self.up.has_pipe().then_some(self.up_since_ms),
            self.down.has_pipe().then_some(self.down_since_ms),
        ];
        match with_pipe.into_iter().flatten().min() {
            Some(since) => limit.min(since.max(self.looked_ms) + QUIET_MS),
            None => limit,
        }
    }

    /// Gives back what a stream needs that does not stand still. Its bytes stay in memory.
    pub(crate) fn rest(&mut self, carrier: &Carrier) -> Result<(), Ended> {
        let is_quiet = |half: &Half, since| half.has_pipe() && carrier.now_ms >= since + QUIET_MS;
        let (up, down) = (
            is_quiet(&self.up, self.up_since_ms),
            is_quiet(&self.down, self.down_since_ms),
        );
        if up || down {
            self.looked_ms = carrier.now_ms;
        }
        if up && Pipe::are_scarce() {
            self.up.give_pipe_back().map_err(|_| Ended::ClientBroken)?;
        }
        if down && Pipe::are_scarce() {
            self.down.give_pipe_back().map_err(|_| Ended::GuestBroken)?;
        }
        Ok(())
    }

    /// Ends a connection whose limit has passed. A client that has had the guest's end has had everything; the guest has not had all
    /// of the client's, and is told so by a reset.
    pub(crate) fn expire(why: Ended, client: &mut Side) -> Ended {
        if why == Ended::Closed {
            client.stream.part();
        }
        why
    }

    /// Until when it may go on like this, and what it is called if it does.
    pub(crate) fn limit(&self, limits: &Limits) -> (u64, Ended) {
        if let Some(at) = self.guest_ended_ms {
            return (at + LINGER_MS, Ended::Closed);
        }
        let holding = [
            self.up.is_holding().then_some(self.up_since_ms),
            self.down.is_holding().then_some(self.down_since_ms),
        ];
        if let Some(since) = holding.into_iter().flatten().min() {
            return (since + ms(limits.stall), Ended::Stalled);
        }
        if self.up.done {
            return (self.moved_ms + ms(limits.half_closed), Ended::HalfClosed);
        }
        if !self.client_spoke {
            return (self.started_ms + ms(limits.first_bytes), Ended::Silent);
        }
        (self.moved_ms + ms(limits.idle), Ended::Idle)
    }

    pub(crate) fn carried(&self) -> Carried {
        Carried {
            to_guest: self.up.moved,
            to_client: self.down.moved,
        }
    }
}

/// Bounds of the configuration fit.
pub(crate) fn ms(duration: std::time::Duration) -> u64 {
    duration.as_millis() as u64
}

#[cfg(test)]
#[path = "forward_tests.rs"]
mod tests;
