//! What a caller is told of its share: headers that clients read. They speak of the caller's own requests alone; how busy
//! others keep the guest is no caller's business.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::http::{HeaderMap, HeaderName, HeaderValue};

/// Running requests of each caller, told apart by what `hanzo-owner` says.
#[derive(Default)]
pub(crate) struct Callers {
    running: Mutex<HashMap<u64, u32>>,
    hash: RandomState,
    limit: u32,
}

/// One running request of a caller.
pub(crate) struct Present {
    callers: Arc<Callers>,
    /// `None`: nobody who could be known again.
    who: Option<u64>,
}

impl Callers {
    pub(crate) fn new(limit: u32) -> Arc<Self> {
        Arc::new(Self {
            limit,
            ..Self::default()
        })
    }

    fn running(&self) -> MutexGuard<'_, HashMap<u64, u32>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a request until it is dropped.
    pub(crate) fn enter(self: &Arc<Self>, owner: Option<&HeaderValue>) -> Present {
        let who = owner.map(|value| self.hash.hash_one(value.as_bytes()));
        if let Some(who) = who {
            *self.running().entry(who).or_insert(0) += 1;
        }
        Present {
            callers: Arc::clone(self),
            who,
        }
    }
}

impl Present {
    /// A hash under a key of this boot; `None`: nobody who could be known again.
    pub(crate) fn who(&self) -> Option<u64> {
        self.who
    }

    /// `x-ratelimit-*` as OpenAI's clients read them: requests at a time.
    pub(crate) fn headers(&self) -> HeaderMap {
        let own = self
            .who
            .and_then(|who| self.callers.running().get(&who).copied())
            .unwrap_or(1);
        let limit = self.callers.limit;
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("x-ratelimit-limit-requests", limit),
            ("x-ratelimit-remaining-requests", limit.saturating_sub(own)),
            ("anthropic-ratelimit-requests-limit", limit),
            ("anthropic-ratelimit-requests-remaining", limit.saturating_sub(own)),
        ] {
            headers.insert(HeaderName::from_static(name), HeaderValue::from(value));
        }
        headers.insert("x-ratelimit-reset-requests", HeaderValue::from_static("1s"));
        headers
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        let Some(who) = self.who else { return };
        let mut running = self.callers.running();
        if let Some(count) = running.get_mut(&who) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                running.remove(&who);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_is_told_of_its_own_requests_alone() {
        let callers = Callers::new(4);
        let (a, b) = (HeaderValue::from_static("a"), HeaderValue::from_static("b"));
        let left = |p: &Present| {
            p.headers()["x-ratelimit-remaining-requests"]
                .to_str()
                .unwrap()
                .to_owned()
        };
        let first = callers.enter(Some(&a));
        let others: Vec<_> = (0..9).map(|_| callers.enter(Some(&b))).collect();
        assert_eq!((left(&first), left(&others[0])), ("3".into(), "0".into()));
        let second = callers.enter(Some(&a));
        assert_eq!((left(&first), left(&second)), ("2".into(), "2".into()));
        drop(first);
        assert_eq!(left(&second), "3");
        assert_eq!(left(&callers.enter(None)), "3");
        drop((second, others));
        assert!(callers.running().is_empty());
    }
}
