//! One direction of a connection.

use std::io;

use crate::forward::{Carrier, ROOM_BYTES, SCRATCH_BYTES, Side};
use crate::metrics::Metrics;
use crate::pipe::{Pipe, WINDOW_BYTES};

/// So many reads in a row of at least [`LARGE_BYTES`] make a stream worth a pipe; as many small ones end it.
const STREAK: u8 = 4;
const LARGE_BYTES: usize = 8 * 1024;

/// After so many bytes the worker's other connections have their turn.
const TURN_BYTES: u64 = 1024 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    ToGuest,
    ToClient,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    Reading,
    Writing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Until the kernel reports something.
    Blocked,
    /// Its turn is over.
    Again,
    /// It is written when all have been read.
    Gathered,
    /// The end was read and passed on.
    Done,
}

/// What was read and not yet written.
#[derive(Debug)]
enum Held {
    Nothing,
    /// In what the worker has gathered, until the end of this turn.
    Gathered {
        at: usize,
        len: usize,
    },
    Bytes {
        bytes: Vec<u8>,
        at: usize,
    },
    Piped(Pipe),
}

/// How bytes go from one side to the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Means {
    Copy,
    Splice,
    /// The kernel does not splice this kind of socket.
    CopyOnly,
}

#[derive(Debug)]
pub(super) struct Half {
    way: Way,
    held: Held,
    means: Means,
    /// Large reads in a row, counted up to `STREAK` and from there down by small ones.
    large: u8,
    /// Something came from the side that is read.
    pub(super) has_read: bool,
    read_ended: bool,
    /// Something was spliced since the kernel reported something.
    has_spliced: bool,
    /// Splicing does not go past urgent data, and says that there is nothing, or that this is the end: a read has to tell.
    is_in_doubt: bool,
    /// The other side takes nothing any more: what comes is read and dropped.
    is_dropping: bool,
    dropped: u64,
    pub(super) done: bool,
    pub(super) moved: u64,
}

impl Half {
    pub(super) fn new(way: Way, moved: u64, first: Vec<u8>) -> Self {
        Self {
            way,
            held: match first.is_empty() {
                true => Held::Nothing,
                false => Held::Bytes { bytes: first, at: 0 },
            },
            means: Means::Copy,
            large: 0,
            has_read: false,
            read_ended: false,
            has_spliced: false,
            is_in_doubt: false,
            is_dropping: false,
            dropped: 0,
            done: false,
            moved,
        }
    }

    /// Differs from before whenever something was written, began to be held or came to its end.
    pub(super) fn stand(&self) -> (u64, bool, bool) {
        (self.moved, self.is_holding(), self.done)
    }

    pub(super) fn is_holding(&self) -> bool {
        match &self.held {
            Held::Nothing => false,
            Held::Bytes { .. } | Held::Gathered { .. } => true,
            Held::Piped(pipe) => pipe.filled > 0,
        }
    }

    /// Moves what can be moved. If the other direction is done already, the end needs no passing on: both sides are closed.
    pub(super) fn pump(
        &mut self,
        from: &mut Side,
        to: &mut Side,
        is_last: bool,
        carrier: &mut Carrier,
        metrics: &Metrics,
    ) -> Result<Next, Fault> {
        if self.done {
            return Ok(Next::Done);
        }
        let turn_ends = self.moved + self.dropped + TURN_BYTES;
        loop {
            if carrier.is_gathering && matches!(self.held, Held::Gathered { .. }) {
                return Ok(Next::Gathered);
            }
            if !self.flush(to, carrier)? {
                return Ok(Next::Blocked);
            }
            if self.read_ended {
                self.held = Held::Nothing;
                self.done = true;
                if !is_last && !self.is_dropping {
                    carrier.publish(metrics);
                    to.stream.end().map_err(|_| Fault::Writing)?;
                }
                return Ok(Next::Done);
            }
            if !from.can_read || self.means != Means::Splice {
                // An empty pipe: another stream may have it.
                self.held = Held::Nothing;
            }
            if !from.can_read {
                return Ok(Next::Blocked);
            }
            if self.moved + self.dropped >= turn_ends {
                return Ok(Next::Again);
            }
            match self.means {
                _ if self.is_dropping => self.drop_some(from, carrier)?,
                _ if std::mem::take(&mut self.is_in_doubt) => self.copy(from, to, carrier)?,
                Means::Splice => self.fill_pipe(from)?,
                Means::Copy | Means::CopyOnly => self.copy(from, to, carrier)?,
            }
        }
    }

    /// From here on nothing is passed on.
    pub(super) fn drop_the_rest(&mut self) {
        self.held = Held::Nothing;
        self.is_dropping = true;
    }

    fn drop_some(&mut self, from: &mut Side, carrier: &mut Carrier) -> Result<(), Fault> {
        let scratch = carrier.scratch();
        match from.stream.read(scratch) {
            Ok(0) => self.read_ended = true,
            Ok(n) => {
                self.dropped += n as u64;
                from.can_read = n == scratch.len() || from.is_ending;
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => from.can_read = false,
            Err(_) => return Err(Fault::Reading),
        }
        Ok(())
    }

    /// Writes what is held; whether that was all.
    fn flush(&mut self, to: &mut Side, carrier: &mut Carrier) -> Result<bool, Fault> {
        loop {
            let written = match &mut self.held {
                Held::Nothing => return Ok(true),
                Held::Piped(pipe) if pipe.filled == 0 => return Ok(true),
                &mut Held::Gathered { at, len } => {
                    let bytes = carrier.gathered.get(at..at + len).unwrap_or_default();
                    let written = write_now(to, bytes)?;
                    self.held = Held::after(bytes, written);
                    self.count(written, carrier);
                    continue;
                }
                _ if !to.can_write => return Ok(false),
                Held::Piped(pipe) => {
                    let end = pipe.read_end().ok_or(Fault::Writing)?;
                    let written = to.stream.splice_out(end, pipe.filled);
                    if let Ok(n) = written {
                        pipe.filled = pipe.filled.saturating_sub(n);
                    }
                    written
                }
                Held::Bytes { bytes, at } => {
                    let written = to.stream.write(bytes.get(*at..).unwrap_or_default());
                    if let Ok(n) = written {
                        *at += n;
                        if *at >= bytes.len() {
                            self.held = Held::Nothing;
                        }
                    }
                    written
                }
            };
            match written {
                Ok(0) => return Err(Fault::Writing),
                Ok(n) => self.count(n, carrier),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => to.can_write = false,
                Err(_) => return Err(Fault::Writing),
            }
        }
    }

    /// Reads into the worker's buffer and writes from it; only what the other side does not take at once is kept.
    fn copy(&mut self, from: &mut Side, to: &mut Side, carrier: &mut Carrier) -> Result<(), Fault> {
        let at = carrier.gathered_bytes;
        let is_gathered = carrier.is_gathering && self.large == 0 && at + ROOM_BYTES <= carrier.gathered.len();
        let buffer = match is_gathered {
            true => {
                let end = carrier.gathered.len().min(at + SCRATCH_BYTES);
                carrier.gathered.get_mut(at..end).unwrap_or_default()
            }
            false => carrier.scratch(),
        };
        let n = match from.stream.read(buffer) {
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                from.can_read = false;
                return Ok(());
            }
            Err(_) => return Err(Fault::Reading),
        };
        if n == 0 {
            self.read_ended = true;
            return Ok(());
        }
        // A short read emptied the socket: the next arrival raises a new edge (epoll(7), question 9).
        if n < buffer.len() && !from.is_ending {
            from.can_read = false;
        }
        self.has_read = true;
        self.weigh(n);
        if is_gathered {
            carrier.gathered_bytes += n;
            self.held = Held::Gathered { at, len: n };
            return Ok(());
        }
        let bytes = carrier.scratch.get(..n).unwrap_or_default();
        let written = write_now(to, bytes)?;
        self.held = Held::after(bytes, written);
        self.count(written, carrier);
        Ok(())
    }

    fn fill_pipe(&mut self, from: &mut Side) -> Result<(), Fault> {
        if !matches!(self.held, Held::Piped(_)) {
            match Pipe::take() {
                Some(pipe) => self.held = Held::Piped(pipe),
                None => {
                    // All pipes are out: copy for a while, then ask again.
                    self.means = Means::Copy;
                    self.large = 0;
                    return Ok(());
                }
            }
        }
        let Held::Piped(pipe) = &mut self.held else {
            return Ok(());
        };
        let end = pipe.write_end().ok_or(Fault::Reading)?;
        match from.stream.splice_in(end, WINDOW_BYTES) {
            Ok(0) => self.is_in_doubt = true,
            Ok(n) => {
                self.has_read = true;
                self.has_spliced = true;
                pipe.filled = n;
                self.weigh(n);
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => match std::mem::take(&mut self.has_spliced) {
                true => from.can_read = false,
                false => self.is_in_doubt = true,
            },
            Err(e) if is_unsupported(&e) => self.means = Means::CopyOnly,
            Err(_) => return Err(Fault::Reading),
        }
        Ok(())
    }

    fn count(&mut self, moved: usize, carrier: &mut Carrier) {
        self.moved += moved as u64;
        carrier.count(self.way, moved);
    }

    /// Decides whether this is a long stream.
    fn weigh(&mut self, n: usize) {
        self.large = match n >= LARGE_BYTES {
            true => self.large.saturating_add(1).min(STREAK),
            false => self.large.saturating_sub(1),
        };
        match (self.large, self.means) {
            (STREAK, Means::Copy) => self.means = Means::Splice,
            (0, Means::Splice) => self.means = Means::Copy,
            _ => {}
        }
    }

    /// Takes what waits in a pipe into memory, so that another stream may have the pipe.
    pub(super) fn give_pipe_back(&mut self) -> Result<(), Fault> {
        if let Held::Piped(pipe) = &mut self.held {
            let bytes = pipe.emptied().map_err(|_| Fault::Reading)?;
            self.held = match bytes.is_empty() {
                true => Held::Nothing,
                false => Held::Bytes { bytes, at: 0 },
            };
        }
        Ok(())
    }

    pub(super) fn has_pipe(&self) -> bool {
        matches!(self.held, Held::Piped(_))
    }

    #[cfg(test)]
    pub(super) fn is_splicing(&self) -> bool {
        self.means == Means::Splice
    }

    #[cfg(test)]
    pub(super) fn is_copy_only(&self) -> bool {
        self.means == Means::CopyOnly
    }
}

impl Held {
    /// What is left once so many of these bytes are written.
    fn after(bytes: &[u8], written: usize) -> Self {
        match bytes.get(written..) {
            Some(rest) if !rest.is_empty() => Self::Bytes {
                bytes: rest.to_vec(),
                at: 0,
            },
            _ => Self::Nothing,
        }
    }
}

/// How much the other side takes now.
fn write_now(to: &mut Side, bytes: &[u8]) -> Result<usize, Fault> {
    if !to.can_write {
        return Ok(0);
    }
    match to.stream.write(bytes) {
        Ok(n) => Ok(n),
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
            to.can_write = false;
            Ok(0)
        }
        Err(_) => Err(Fault::Writing),
    }
}

fn is_unsupported(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EOPNOTSUPP | libc::ENOSYS | libc::EINVAL)
    )
}
