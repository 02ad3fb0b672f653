//! How fast one host is asked, and how long is waited before it is asked again.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::clock::Clock;

/// Limits of waiting and asking.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Requests that may go to one host at once after a pause.
    pub burst: u32,
    /// Time between requests to one host thereafter.
    pub interval: Duration,
    /// How often one thing is asked for, at most.
    pub attempts: u32,
    /// Wait before the second attempt; doubled before each further one, and a random half of it is left out.
    pub backoff: Duration,
    /// Longest wait of that kind.
    pub backoff_max: Duration,
    /// Longest time that one thing may take, waits that a service asks for included.
    pub total: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            burst: 8,
            interval: Duration::from_millis(250),
            attempts: 5,
            backoff: Duration::from_secs(1),
            backoff_max: Duration::from_secs(30),
            total: Duration::from_secs(120),
        }
    }
}

impl Pace {
    /// Wait before attempt `next` (2 is the first repeat): between half of and the whole doubled backoff.
    pub(crate) fn backoff_before(&self, next: u32, jitter: u16) -> Duration {
        let doubled = 1_u32.checked_shl(next.saturating_sub(2)).unwrap_or(u32::MAX);
        let whole = self.backoff.saturating_mul(doubled).min(self.backoff_max);
        let half = whole / 2;
        half.saturating_add(half.mul_f64(f64::from(jitter) / f64::from(u16::MAX)))
    }
}

#[derive(Debug, Default, Clone, Copy)]
struct Host {
    /// When the host would be free of all requests so far, were they served one an interval.
    busy_until: Duration,
    /// When the host, by its own word, wants to be asked again.
    closed_until: Duration,
}

/// Who was asked when.
#[derive(Debug, Default)]
pub(crate) struct Hosts(Mutex<HashMap<String, Host>>);

impl Hosts {
    /// Takes a place in the queue of `host`: zero, or how long to wait before asking for one again.
    pub(crate) fn wait(&self, host: &str, pace: &Pace, now: Duration) -> Duration {
        let mut hosts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let state = hosts.entry(host.to_owned()).or_default();
        let allowance = pace.interval.saturating_mul(pace.burst.saturating_sub(1));
        let open_at = state.closed_until.max(state.busy_until.saturating_sub(allowance));
        if open_at > now {
            return open_at.saturating_sub(now);
        }
        state.busy_until = state.busy_until.max(now).saturating_add(pace.interval);
        Duration::ZERO
    }

    /// Nobody asks `host` again before `until`.
    pub(crate) fn close(&self, host: &str, until: Duration) {
        let mut hosts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let state = hosts.entry(host.to_owned()).or_default();
        state.closed_until = state.closed_until.max(until);
    }
}

/// Seconds that a `Retry-After` value asks for: a number, or a date in HTTP form.
pub(crate) fn retry_after(value: &str, clock: &dyn Clock) -> Option<Duration> {
    if let Ok(seconds) = value.trim().parse::<u32>() {
        return Some(Duration::from_secs(seconds.into()));
    }
    let at = httpdate::parse_http_date(value.trim()).ok()?;
    let at_s = at.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs();
    Some(Duration::from_secs(at_s.saturating_sub(clock.unix_s())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn a_burst_is_let_through_and_then_one_request_an_interval() {
        let (hosts, pace) = (
            Hosts::default(),
            Pace {
                burst: 2,
                interval: S,
                ..Pace::default()
            },
        );
        let ask = |host, now| hosts.wait(host, &pace, now);
        assert_eq!([ask("a", S), ask("a", S)], [Duration::ZERO; 2]);
        assert_eq!(ask("a", S), S, "the third waits");
        assert_eq!(ask("b", S), Duration::ZERO, "another host does not");
        assert_eq!([ask("a", 2 * S), ask("a", 2 * S)], [Duration::ZERO, S]);
        assert_eq!([ask("a", 9 * S), ask("a", 9 * S)], [Duration::ZERO; 2], "rested");
        hosts.close("b", 5 * S);
        assert_eq!([ask("b", 2 * S), ask("b", 5 * S)], [3 * S, Duration::ZERO]);
    }

    #[test]
    fn waits_double_stay_bounded_and_keep_at_least_half() {
        let pace = Pace {
            backoff: S,
            backoff_max: 5 * S,
            ..Pace::default()
        };
        let longest: Vec<_> = (2..=6).map(|n| pace.backoff_before(n, u16::MAX)).collect();
        assert_eq!(longest, [S, 2 * S, 4 * S, 5 * S, 5 * S]);
        assert_eq!(pace.backoff_before(3, 0), S);
        assert_eq!(pace.backoff_before(u32::MAX, u16::MAX), 5 * S);
    }

    #[test]
    fn retry_after_is_read_as_seconds_or_date_and_nothing_else() {
        let clock = SystemClock::default();
        assert_eq!(retry_after("7", &clock), Some(7 * S));
        assert_eq!(
            retry_after("Sun, 06 Nov 1994 08:49:37 GMT", &clock),
            Some(Duration::ZERO)
        );
        for bad in ["", "soon", "-1", "1.5", "99999999999"] {
            assert_eq!(retry_after(bad, &clock), None, "{bad}");
        }
    }
}
