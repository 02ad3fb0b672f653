//! The guest's clock: a grant's `kbs_time` plus the boot clock, which nobody can set and which counts a sleeping machine's
//! time too. No wall clock is ever read.

use std::time::Duration;

use hanzo_attestation::UnixTime;
use hanzo_device::clock::Moment;

/// A clock set by a grant.
///
/// It counts from the moment the request was *sent*, so it is never behind the broker's clock: lives end early rather
/// than late, by at most the time of one exchange.
#[derive(Debug, Clone, Copy)]
pub struct GrantClock {
    base: UnixTime,
    sent: Moment,
}

impl GrantClock {
    /// `kbs_time` as a grant states it, and when its request was sent.
    pub fn new(kbs_time: UnixTime, sent: Moment) -> Self {
        Self { base: kbs_time, sent }
    }

    /// Now.
    pub fn now(&self) -> UnixTime {
        UnixTime(self.base.0.saturating_add(self.sent.elapsed().as_secs()))
    }

    /// Time left until the last second `not_after` is over; zero when it is.
    pub fn until_after(&self, not_after: UnixTime) -> Duration {
        let end = Duration::from_secs(not_after.0.saturating_add(1).saturating_sub(self.base.0));
        end.saturating_sub(self.sent.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_runs_from_the_moment_of_asking() {
        let Some(sent) = Moment::now().earlier(Duration::from_secs(5)) else {
            return;
        };
        let clock = GrantClock::new(UnixTime(100), sent);
        assert!((105..=106).contains(&clock.now().0));
        assert_eq!(clock.until_after(UnixTime(99)), Duration::ZERO);
        assert!(clock.until_after(UnixTime(110)) <= Duration::from_secs(6));
        assert!(clock.until_after(UnixTime(110)) > Duration::from_secs(4));
    }
}
