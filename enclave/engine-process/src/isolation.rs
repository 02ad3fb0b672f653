//! Confines the process before it reads anything it was given.
//!
//! The engine parses model files, templates and prompts with half a thousand crates. Whatever goes wrong there must not
//! reach further than this process. After [`enforce`], for every thread there will ever be:
//! - no core dump, no ptrace of us ([`rustix`] limits and `PR_SET_DUMPABLE`);
//! - files: the model directory and a few system paths, read-only; nothing can be written or created (Landlock);
//! - system calls: no socket but AF_UNIX, no connect, bind or listen, no exec, fork into another program, ptrace, mount,
//!   keyring, bpf, io_uring, module, namespace or clock call (seccomp, with EPERM).
//!
//! # Does not establish
//! Anything about what was opened before: the caller binds its socket first, and has no other descriptors open. The list
//! of system calls is a deny list; the file rules are an allow list.

mod files;
mod syscalls;

use std::path::Path;

use self::syscalls::Part;
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// Why the process could not be confined. It must not go on then.
#[derive(Debug, thiserror::Error)]
pub enum IsolationError {
    /// Landlock rules cover the calling thread and its future children only, so they must come first.
    #[error("isolation: got {got} threads, expected 1; confine the process before anything starts a thread")]
    Threads {
        /// Threads running.
        got: usize,
    },
    /// A limit or process flag was refused.
    #[error("isolation: {what}: {source}")]
    Process {
        /// What was being set.
        what: &'static str,
        /// The kernel's answer.
        source: std::io::Error,
    },
    /// The kernel has no Landlock, or an old one.
    #[error(
        "isolation: Landlock is {got}; expected ABI 3 or later, enforced (Linux 6.2, CONFIG_SECURITY_LANDLOCK=y and `landlock` in the lsm= list); run on such a kernel, the engine does not start without"
    )]
    Landlock {
        /// What the kernel offers.
        got: String,
    },
    /// seccomp was refused.
    #[error(
        "isolation: seccomp: {got}; expected the filter to load (CONFIG_SECCOMP_FILTER=y); the engine does not start without"
    )]
    Seccomp {
        /// The reason.
        got: String,
    },
}

impl IsolationError {
    /// A stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Threads { .. } => "isolation.threads",
            Self::Process { .. } => "isolation.process",
            Self::Landlock { .. } => "isolation.landlock",
            Self::Seccomp { .. } => "isolation.seccomp",
        }
    }
}

/// Confines this process for good. `readable` may be read, nothing else but a few system files, nothing written.
///
/// # Errors
/// [`IsolationError`], also when the kernel would enforce only a part. There is no weaker mode.
pub fn enforce(readable: &[&Path]) -> Result<(), IsolationError> {
    confine(readable, Part::Engine)
}

/// As [`enforce`], but this process may call a server over a Unix socket: any that its mounts show it and its user may open.
///
/// # Errors
/// As [`enforce`].
pub fn enforce_calling(readable: &[&Path]) -> Result<(), IsolationError> {
    confine(readable, Part::Caller)
}

/// Takes from this process what a server that it is about to become needs not: calling anybody, other processes, leaving its
/// process group, and the kernel's own calls. It may become other programs still, and what it opens is not restricted here.
///
/// # Errors
/// [`IsolationError::Seccomp`].
pub fn one_process() -> Result<(), IsolationError> {
    syscalls::restrict(Part::Server)
}

fn confine(readable: &[&Path], part: Part) -> Result<(), IsolationError> {
    let threads = std::fs::read_dir("/proc/self/task")
        .map_err(|source| IsolationError::Process {
            what: "counting threads in /proc/self/task",
            source,
        })?
        .count();
    if threads != 1 {
        return Err(IsolationError::Threads { got: threads });
    }
    setrlimit(
        Resource::Core,
        Rlimit {
            current: Some(0),
            maximum: Some(0),
        },
    )
    .map_err(|error| IsolationError::Process {
        what: "RLIMIT_CORE",
        source: error.into(),
    })?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(|error| IsolationError::Process {
        what: "PR_SET_DUMPABLE",
        source: error.into(),
    })?;
    files::restrict(readable)?;
    syscalls::restrict(part)
}
