//! Resource limits, and who dies first when memory runs out.

use std::fs;
use std::io;

use rustix::process::{Resource, Rlimit, setrlimit};

use super::SandboxError;

const SCORE: &str = "/proc/self/oom_score_adj";
/// Threads; a user of its own makes them countable.
const THREADS_MAX: u64 = 4096;
pub(super) const DESCRIPTORS_MAX: u64 = 1024;

/// Limits that need no privilege.
///
/// `RLIMIT_DATA` counts private writable memory. Shared anonymous memory, which it does not count, is refused by seccomp.
/// Address space is not bounded: allocators and thread stacks reserve far more of it than they use.
pub(super) fn set(memory_bytes: u64) -> Result<(), SandboxError> {
    limit("RLIMIT_CORE", Resource::Core, 0)?;
    limit("RLIMIT_DATA", Resource::Data, memory_bytes)?;
    limit("RLIMIT_MEMLOCK", Resource::Memlock, 0)?;
    limit("RLIMIT_NOFILE", Resource::Nofile, DESCRIPTORS_MAX)?;
    first_to_end()
}

/// Where memory runs out, the kernel ends this process before others.
pub(super) fn first_to_end() -> Result<(), SandboxError> {
    fs::write(SCORE, "1000").map_err(|source| SandboxError::Limit {
        what: "oom_score_adj of 1000",
        source,
    })
}

/// A limit that is counted per user.
pub(super) fn of_own_user() -> Result<(), SandboxError> {
    limit("RLIMIT_NPROC", Resource::Nproc, THREADS_MAX)
}

/// Keeps the kernel from ending this process when memory runs out, so that an engine ends instead.
///
/// # Errors
/// [`SandboxError::Limit`] without `CAP_SYS_RESOURCE`.
pub fn spare_this_process() -> Result<(), SandboxError> {
    fs::write(SCORE, "-1000").map_err(|source| SandboxError::Limit {
        what: "oom_score_adj of -1000 for the guest itself",
        source,
    })
}

pub(super) fn limit(what: &'static str, resource: Resource, value: u64) -> Result<(), SandboxError> {
    let current = rustix::process::getrlimit(resource).maximum;
    // A hard limit that is lower already stays.
    let value = Some(current.map_or(value, |maximum| maximum.min(value)));
    setrlimit(
        resource,
        Rlimit {
            current: value,
            maximum: value,
        },
    )
    .map_err(|error| SandboxError::Limit {
        what,
        source: error.into(),
    })
}

/// What an engine may use: what is available now, less a sixteenth (at least 32 MiB) for the guest and the kernel.
pub(in crate::engine) fn measured_memory() -> Result<u64, SandboxError> {
    let failed = |source| SandboxError::Limit {
        what: "MemAvailable in /proc/meminfo",
        source,
    };
    let text = fs::read_to_string("/proc/meminfo").map_err(failed)?;
    available(&text).ok_or_else(|| failed(io::ErrorKind::InvalidData.into()))
}

fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    let bytes = kib.checked_mul(1024)?;
    Some(bytes.saturating_sub((bytes / 16).max(32 << 20)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_what_is_available_is_kept_back() {
        assert_eq!(
            available("MemTotal: 9 kB\nMemAvailable:   1048576 kB\n"),
            Some(960 << 20)
        );
        assert_eq!(available("MemAvailable:   65536 kB\n"), Some(32 << 20));
        assert_eq!(available("MemAvailable:   1024 kB\n"), Some(0));
        for bad in ["", "MemAvailable: x kB", "MemAvailable: 5", "MemTotal: 5 kB"] {
            assert_eq!(available(bad), None, "{bad}");
        }
        assert!(measured_memory().unwrap() > 0);
    }
}
