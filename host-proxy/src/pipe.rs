//! Kernel pipes that streams are spliced through, so that their bytes never enter this process.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::OwnedFd;

use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};

/// At most this many bytes of one direction of one connection are inside the proxy, in a pipe or in memory.
pub(crate) const WINDOW_BYTES: usize = 256 * 1024;

/// Pipes of one worker that are in use at a time; streams beyond this are copied. The kernel caps what one user may hold in
/// pipes (`fs.pipe-user-pages-soft`), and below the cap every pipe keeps its size.
pub(crate) const PIPES_PER_WORKER_MAX: usize = 128;

/// Empty pipes that a worker keeps for the next stream.
pub(crate) const SPARE_MAX: usize = 16;

thread_local! {
    static SPARE: RefCell<Vec<Ends>> = const { RefCell::new(Vec::new()) };
    static IN_USE: Cell<usize> = const { Cell::new(0) };
}

#[derive(Debug)]
struct Ends {
    read: OwnedFd,
    write: OwnedFd,
}

/// A pipe on loan. It goes back to its worker's spares if it is empty and is closed otherwise.
#[derive(Debug)]
pub(crate) struct Pipe {
    ends: Option<Ends>,
    /// Bytes inside.
    pub(crate) filled: usize,
}

impl Pipe {
    /// None if the worker or the machine has no more to give: copy then.
    pub(crate) fn take() -> Option<Self> {
        if IN_USE.get() >= PIPES_PER_WORKER_MAX {
            return None;
        }
        let ends = match SPARE.with_borrow_mut(Vec::pop) {
            Some(ends) => ends,
            None => {
                let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).ok()?;
                // A smaller pipe works too, with more system calls.
                let _ = fcntl_setpipe_size(&write, WINDOW_BYTES);
                Ends { read, write }
            }
        };
        IN_USE.set(IN_USE.get() + 1);
        Some(Self {
            ends: Some(ends),
            filled: 0,
        })
    }

    /// What no kernel splices to: two files that are no pipe, put where the next stream finds them.
    #[cfg(test)]
    pub(crate) fn spoil_next() {
        let mut options = std::fs::OpenOptions::new();
        let options = options.read(true).write(true);
        let file = || OwnedFd::from(options.open("/dev/null").unwrap());
        let (read, write) = (file(), file());
        SPARE.with_borrow_mut(|spare| spare.push(Ends { read, write }));
    }

    #[cfg(test)]
    pub(crate) fn in_use() -> usize {
        IN_USE.get()
    }

    /// Most are out: streams that stand still should not keep theirs.
    pub(crate) fn are_scarce() -> bool {
        IN_USE.get() > PIPES_PER_WORKER_MAX / 2
    }

    pub(crate) fn read_end(&self) -> Option<&OwnedFd> {
        self.ends.as_ref().map(|e| &e.read)
    }

    /// Takes out all that is inside. After an error bytes are lost, and the stream must not go on.
    pub(crate) fn emptied(&mut self) -> io::Result<Vec<u8>> {
        let end = self.read_end().ok_or(io::ErrorKind::BrokenPipe)?;
        let mut bytes = vec![0; self.filled];
        let mut at = 0;
        while let Some(rest) = bytes.get_mut(at..).filter(|rest| !rest.is_empty()) {
            match rustix::io::read(end, rest) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(n) => at += n,
                Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
        self.filled = 0;
        Ok(bytes)
    }

    pub(crate) fn write_end(&self) -> Option<&OwnedFd> {
        self.ends.as_ref().map(|e| &e.write)
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        // Threads that end have no pool any more; the pipe closes with them.
        let _ = IN_USE.try_with(|n| n.set(n.get().saturating_sub(1)));
        if self.filled > 0 {
            return;
        }
        if let Some(ends) = self.ends.take() {
            let _ = SPARE.try_with(|spare| {
                let mut spare = spare.borrow_mut();
                if spare.len() < SPARE_MAX {
                    spare.push(ends);
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_pipe_is_used_again_and_one_with_bytes_is_not() {
        let held = || SPARE.with_borrow(Vec::len);
        drop(Pipe::take().unwrap());
        assert_eq!((held(), IN_USE.get()), (1, 0));
        let mut filled = Pipe::take().unwrap();
        assert_eq!((held(), IN_USE.get()), (0, 1));
        filled.filled = 1;
        drop(filled);
        assert_eq!(
            (held(), IN_USE.get()),
            (0, 0),
            "bytes of one connection never reach another"
        );
    }

    #[test]
    fn a_worker_has_so_many_pipes_and_no_more() {
        let all: Vec<_> = (0..PIPES_PER_WORKER_MAX).map(|_| Pipe::take().unwrap()).collect();
        assert!(Pipe::take().is_none());
        drop(all);
        assert!(Pipe::take().is_some());
        assert!(SPARE.with_borrow(Vec::len) <= SPARE_MAX);
    }
}
