//! How long a worker looks for the next report before it sleeps.

/// A worker with reports in quick succession looks for the next ones for so long before it sleeps: to be woken costs it and the
/// sender more than that. Others sleep at once.
const EAGER_US: u64 = 50;

/// So many turns in a row make it eager.
const EAGER_TURNS: u32 = 8;

/// Whether reports come in quick succession.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    /// Since the last report was dealt with.
    waited_us: u64,
    /// Reports in a row that were not waited for long.
    quick: u32,
}

impl Pulse {
    pub(super) fn waited(&mut self, us: u64, has_reports: bool) {
        self.waited_us = self.waited_us.saturating_add(us);
        if has_reports {
            self.quick = match self.waited_us <= EAGER_US {
                true => self.quick.saturating_add(1),
                false => 0,
            };
            self.waited_us = 0;
        }
    }

    pub(super) fn is_eager(&self) -> bool {
        self.quick >= EAGER_TURNS && self.waited_us < EAGER_US
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn eager() -> Pulse {
        let mut pulse = Pulse::default();
        for _ in 0..EAGER_TURNS {
            assert!(!pulse.is_eager());
            pulse.waited(EAGER_US, true);
        }
        pulse
    }

    #[test]
    fn reports_in_quick_succession_make_it_eager_for_a_while() {
        let mut pulse = eager();
        assert!(pulse.is_eager());
        pulse.waited(EAGER_US - 1, false);
        assert!(pulse.is_eager());
        pulse.waited(1, false);
        assert!(!pulse.is_eager(), "it sleeps now");
        pulse.waited(0, true);
        assert!(pulse.is_eager(), "a report that came in time");
    }

    #[test]
    fn one_report_that_comes_late_ends_it() {
        let mut pulse = eager();
        pulse.waited(EAGER_US + 1, true);
        assert!(!pulse.is_eager());
    }
}
