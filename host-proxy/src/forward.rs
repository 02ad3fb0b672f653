//! Carries bytes both ways until both sides closed, a bound is reached or a side breaks.
//!
//! Small exchanges are copied through one buffer of the worker, long streams are spliced through a pipe. A connection on which
//! nothing is under way holds neither.

use std::cell::RefCell;
use std::future::{Future as _, poll_fn};
use std::io;
use std::pin::pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use tokio::time::Instant;

use crate::metrics::{Ended, Metrics};
use crate::pipe::{Pipe, WINDOW_BYTES};
use crate::socket::Socket;

/// What a worker reads into. One TLS record is at most 16,640 bytes.
const SCRATCH_BYTES: usize = 64 * 1024;

/// So many reads in a row of at least [`LARGE_BYTES`] make a stream worth a pipe; as many small ones end it.
const STREAK: u8 = 4;
const LARGE_BYTES: usize = 8 * 1024;

/// After so many bytes the worker's other connections have their turn.
const TURN_BYTES: usize = 1024 * 1024;

/// How long a client may go on after the guest has closed: what it sends then is read by nobody.
const LINGER: Duration = Duration::from_secs(5);

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; SCRATCH_BYTES]);
}

/// How long a connection may do nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pace {
    /// Nothing moves in either direction.
    pub(crate) idle: Duration,
    /// A side does not take what is there for it.
    pub(crate) stall: Duration,
    /// The client has closed its half and the guest says nothing.
    pub(crate) half_closed: Duration,
    /// The client has not sent anything yet.
    pub(crate) first_bytes: Duration,
}

/// What one connection carried.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Carried {
    pub(crate) to_guest: u64,
    pub(crate) to_client: u64,
}

/// Forwards between `client` and `guest`, `prefix` first. Half-closes are passed on. After anything but [`Ended::Closed`] both
/// connections are reset when they are dropped.
pub(crate) async fn forward(
    client: &mut Socket,
    guest: &mut Socket,
    prefix: Vec<u8>,
    pace: &Pace,
    metrics: &Metrics,
) -> (Ended, Carried) {
    let started = Instant::now();
    let mut quiet = Quiet {
        since: started,
        guest_ended: None,
    };
    let mut up = Half::new(prefix);
    let mut down = Half::new(Vec::new());
    let mut timer = pin!(tokio::time::sleep_until(quiet.limit(&up, &down, pace, started).0));
    let ended = poll_fn(|cx| {
        let (was_up, was_down) = (up.moved, down.moved);
        let ended_up = up.poll(cx, client, guest);
        let ended_down = down.poll(cx, guest, client);
        count(&metrics.bytes_to_guest, up.moved - was_up);
        count(&metrics.bytes_to_client, down.moved - was_down);
        match (ended_up, ended_down) {
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => return Poll::Ready(Ended::Closed),
            (Poll::Ready(Err(Fault::Reading)), _) | (_, Poll::Ready(Err(Fault::Writing))) => {
                return Poll::Ready(Ended::ClientBroken);
            }
            (Poll::Ready(Err(Fault::Writing)), _) | (_, Poll::Ready(Err(Fault::Reading))) => {
                return Poll::Ready(Ended::GuestBroken);
            }
            _ => {}
        }
        if up.moved != was_up || down.moved != was_down {
            quiet.since = Instant::now();
        }
        if down.done && quiet.guest_ended.is_none() {
            quiet.guest_ended = Some(Instant::now());
        }
        let (limit, why) = quiet.limit(&up, &down, pace, started);
        if limit < timer.deadline() {
            timer.as_mut().reset(limit);
        }
        // The timer is set back lazily: traffic moves the limit, not the timer.
        while timer.as_mut().poll(cx).is_ready() {
            if Instant::now() >= limit {
                return Poll::Ready(why);
            }
            timer.as_mut().reset(limit);
        }
        Poll::Pending
    })
    .await;
    if ended == Ended::Closed {
        client.part();
        guest.part();
    }
    let carried = Carried {
        to_guest: up.moved,
        to_client: down.moved,
    };
    (ended, carried)
}

fn count(counter: &Counter, moved: u64) {
    if moved > 0 {
        counter.inc_by(moved);
    }
}

/// Since when nothing has moved.
struct Quiet {
    since: Instant,
    guest_ended: Option<Instant>,
}

impl Quiet {
    /// Until when it may go on like this, and what it is called if it does.
    fn limit(&self, up: &Half, down: &Half, pace: &Pace, started: Instant) -> (Instant, Ended) {
        if let Some(at) = self.guest_ended {
            return (at + LINGER, Ended::Closed);
        }
        if up.is_holding() || down.is_holding() {
            return (self.since + pace.stall, Ended::Stalled);
        }
        if up.done {
            return (self.since + pace.half_closed, Ended::HalfClosed);
        }
        if up.moved == 0 {
            return (started + pace.first_bytes, Ended::Silent);
        }
        (self.since + pace.idle, Ended::Idle)
    }
}

enum Fault {
    Reading,
    Writing,
}

/// What was read and not yet written.
enum Held {
    Nothing,
    Bytes { bytes: Vec<u8>, at: usize },
    Piped(Pipe),
}

/// One direction.
struct Half {
    held: Held,
    /// Large reads in a row, counted up to `STREAK` and from there down by small ones.
    large: u8,
    streaming: bool,
    /// The kernel does not splice this kind of socket.
    copies_only: bool,
    read_ended: bool,
    done: bool,
    moved: u64,
}

impl Half {
    fn new(prefix: Vec<u8>) -> Self {
        Self {
            held: match prefix.is_empty() {
                true => Held::Nothing,
                false => Held::Bytes { bytes: prefix, at: 0 },
            },
            large: 0,
            streaming: false,
            copies_only: false,
            read_ended: false,
            done: false,
            moved: 0,
        }
    }

    fn is_holding(&self) -> bool {
        match &self.held {
            Held::Nothing => false,
            Held::Bytes { .. } => true,
            Held::Piped(pipe) => pipe.filled > 0,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>, from: &Socket, to: &Socket) -> Poll<Result<(), Fault>> {
        if self.done {
            return Poll::Ready(Ok(()));
        }
        let turn_ends = self.moved + TURN_BYTES as u64;
        loop {
            ready!(self.poll_flush(cx, to)).map_err(|_| Fault::Writing)?;
            if self.read_ended {
                self.held = Held::Nothing;
                self.done = true;
                return Poll::Ready(to.end().map_err(|_| Fault::Writing));
            }
            if self.moved >= turn_ends {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            match self.streaming && !self.copies_only {
                true => ready!(self.poll_fill_pipe(cx, from))?,
                false => ready!(self.poll_copy(cx, from, to))?,
            }
        }
    }

    /// Writes all that is held.
    fn poll_flush(&mut self, cx: &mut Context<'_>, to: &Socket) -> Poll<io::Result<()>> {
        loop {
            let n = match &mut self.held {
                Held::Nothing => return Poll::Ready(Ok(())),
                Held::Piped(pipe) if pipe.filled == 0 => return Poll::Ready(Ok(())),
                Held::Piped(pipe) => {
                    let Some(end) = pipe.read_end() else {
                        return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
                    };
                    let n = ready!(to.poll_splice_out(cx, end, pipe.filled))?;
                    pipe.filled = pipe.filled.saturating_sub(n);
                    n
                }
                Held::Bytes { bytes, at } => {
                    let n = ready!(to.poll_write(cx, bytes.get(*at..).unwrap_or_default()))?;
                    *at += n;
                    if *at >= bytes.len() {
                        self.held = Held::Nothing;
                    }
                    n
                }
            };
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.moved += n as u64;
        }
    }

    /// Reads into the worker's buffer and writes from it; only what the other side does not take at once is kept.
    fn poll_copy(&mut self, cx: &mut Context<'_>, from: &Socket, to: &Socket) -> Poll<Result<(), Fault>> {
        SCRATCH.with_borrow_mut(|scratch| {
            let n = ready!(from.poll_read(cx, scratch)).map_err(|_| Fault::Reading)?;
            let bytes = scratch.get(..n).unwrap_or_default();
            if bytes.is_empty() {
                self.read_ended = true;
                return Poll::Ready(Ok(()));
            }
            self.weigh(n);
            let written = match to.poll_write(cx, bytes) {
                Poll::Pending => 0,
                Poll::Ready(Ok(written)) => written,
                Poll::Ready(Err(_)) => return Poll::Ready(Err(Fault::Writing)),
            };
            self.moved += written as u64;
            if let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
                self.held = Held::Bytes {
                    bytes: rest.to_vec(),
                    at: 0,
                };
            }
            Poll::Ready(Ok(()))
        })
    }

    fn poll_fill_pipe(&mut self, cx: &mut Context<'_>, from: &Socket) -> Poll<Result<(), Fault>> {
        if !matches!(self.held, Held::Piped(_)) {
            match Pipe::take() {
                Some(pipe) => self.held = Held::Piped(pipe),
                None => {
                    // All pipes are out: copy for a while, then ask again.
                    self.streaming = false;
                    self.large = 0;
                    return Poll::Ready(Ok(()));
                }
            }
        }
        let Held::Piped(pipe) = &mut self.held else {
            return Poll::Ready(Ok(()));
        };
        let Some(end) = pipe.write_end() else {
            return Poll::Ready(Err(Fault::Reading));
        };
        match from.poll_splice_in(cx, end, WINDOW_BYTES) {
            Poll::Pending => {
                // The pipe is empty: another stream may have it while this one waits.
                self.held = Held::Nothing;
                return Poll::Pending;
            }
            Poll::Ready(Ok(0)) => self.read_ended = true,
            Poll::Ready(Ok(n)) => {
                pipe.filled = n;
                self.weigh(n);
            }
            Poll::Ready(Err(e)) if e.kind() == io::ErrorKind::InvalidInput || is_unsupported(&e) => {
                self.held = Held::Nothing;
                self.copies_only = true;
            }
            Poll::Ready(Err(_)) => return Poll::Ready(Err(Fault::Reading)),
        }
        Poll::Ready(Ok(()))
    }

    /// Decides whether this is a long stream.
    fn weigh(&mut self, n: usize) {
        self.large = match n >= LARGE_BYTES {
            true => self.large.saturating_add(1).min(STREAK),
            false => self.large.saturating_sub(1),
        };
        if self.large == STREAK {
            self.streaming = true;
        } else if self.large == 0 && self.streaming {
            self.streaming = false;
        }
    }
}

fn is_unsupported(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EOPNOTSUPP | libc::ENOSYS | libc::EINVAL)
    )
}
