//! Time since the machine started, sleep included: what the guest's clock counts with.
//!
//! The wall clock is the host's to set (RTC, kvm-clock, NTP) and is not offered here. The boot clock has no setting: it runs on
//! the kernel's clock source, which the TSC is where [`crate::TimeSource::SecureTsc`] is claimed.

use std::time::Duration;

/// A moment on the boot clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(Duration);

impl Moment {
    /// Now.
    pub fn now() -> Self {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        #[allow(
            unsafe_code,
            reason = "no safe wrapper of this system call exists in the workspace's feature set"
        )]
        // SAFETY: the pointer is to a `timespec` of our own, which the kernel fills.
        let outcome = unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &mut time) };
        // Linux 2.6.39 and later know the clock, and the pointer is valid: there is nothing to refuse.
        debug_assert_eq!(outcome, 0);
        let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
        let nanoseconds = u32::try_from(time.tv_nsec).unwrap_or_default();
        Self(Duration::new(seconds, nanoseconds))
    }

    /// Time since then.
    pub fn elapsed(self) -> Duration {
        Self::now().0.saturating_sub(self.0)
    }

    /// This moment, `by` earlier; none before the machine started.
    pub fn earlier(self, by: Duration) -> Option<Self> {
        self.0.checked_sub(by).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_runs_forward_and_from_the_start_of_the_machine() {
        let first = Moment::now();
        assert!(first.0 > Duration::ZERO);
        std::thread::sleep(Duration::from_millis(20));
        assert!(first.elapsed() >= Duration::from_millis(20));
        assert!(Moment::now() > first);
        assert_eq!(first.earlier(Duration::MAX), None);
    }
}
