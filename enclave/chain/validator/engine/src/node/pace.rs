//! The time that blocks go by.

/// This machine's clock, kept from being so far behind that a block could not be final which is.
///
/// Nobody's word counts. A final block was voted for by a quorum, and a voter lets no header be more than `clock_ahead_ms` ahead of this
/// time; in each quorum is an honest one. So, on any machine, this time is at most what the most advanced honest machine's clock shows: a
/// right clock is never put forward, and a wrong one leads nobody. A clock that is set while this runs counts as ticks until the next
/// final block.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    ahead_ms: u64,
    /// What time it was at least, and what this machine's clock showed then.
    seen: Option<(u64, u64)>,
}

impl Pace {
    /// `ahead_ms` is how far a header may be ahead of a voter's time.
    pub(crate) fn new(ahead_ms: u64) -> Self {
        let seen = None;
        Self { ahead_ms, seen }
    }

    /// The newest final header has this time; this machine's clock shows `clock_ms`.
    pub(crate) fn newest(&mut self, time_ms: u64, clock_ms: u64) {
        self.seen = Some((time_ms.saturating_sub(self.ahead_ms), clock_ms));
    }

    /// How much later it is than `clock_ms`, which this machine's clock shows.
    pub(crate) fn behind(&self, clock_ms: u64) -> u64 {
        let Some((least, then)) = self.seen else {
            return 0;
        };
        let now = least.saturating_add(clock_ms.saturating_sub(then));
        now.saturating_sub(clock_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_right_clock_is_never_put_forward() {
        let mut pace = Pace::new(500);
        assert_eq!(pace.behind(1_000_000), 0);
        // As far ahead as a liar's header can be, and come at once.
        for n in 0..100 {
            let clock = 1_000_000 + n * 500;
            pace.newest(clock + 500, clock);
            assert_eq!((pace.behind(clock), pace.behind(clock + 500)), (0, 0));
        }
        // A millisecond more could not have been voted for by this clock.
        pace.newest(2_000_501, 2_000_000);
        assert_eq!(pace.behind(2_000_000), 1);
    }

    #[test]
    fn a_clock_that_is_behind_goes_by_final_blocks_and_its_own_ticks() {
        let mut pace = Pace::new(500);
        pace.newest(1_010_000, 1_000_000);
        assert_eq!(pace.behind(1_000_000), 9_500);
        assert_eq!(pace.behind(1_000_400), 9_500);
        // Set back: what is known does not go back with it.
        assert_eq!(pace.behind(990_000), 19_500);
        // Set right: the next block says so.
        pace.newest(1_010_500, 1_010_400);
        assert_eq!(pace.behind(1_010_400), 0);
    }

    #[test]
    fn no_time_is_too_large() {
        let mut pace = Pace::new(u64::MAX);
        pace.newest(5, 5);
        assert_eq!(pace.behind(5), 0);
        let mut pace = Pace::new(0);
        pace.newest(u64::MAX, 0);
        assert_eq!(pace.behind(u64::MAX), 0);
        assert_eq!(pace.behind(1), u64::MAX - 1);
    }
}
