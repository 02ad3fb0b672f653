//! How much one session may have under way: whoever attested shares the release path with all others who did.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hanzo_attestation::Nonce;

/// Most requests of one session that are worked on, or wait, at a time. A guest asks for a handful of keys.
pub(crate) const IN_FLIGHT_MAX: u32 = 8;

/// How many requests each session has under way. Sessions without one take no room.
#[derive(Debug, Default)]
pub(crate) struct InFlight {
    by_nonce: Mutex<HashMap<[u8; 32], u32>>,
}

impl InFlight {
    /// Counts one more request of the session, until what this returns is dropped; `None` at the bound.
    pub(crate) fn take(self: &Arc<Self>, nonce: &Nonce) -> Option<UnderWay> {
        let mut by_nonce = self.lock();
        let count = by_nonce.entry(nonce.0).or_default();
        if *count >= IN_FLIGHT_MAX {
            return None;
        }
        *count += 1;
        Some(UnderWay {
            all: Arc::clone(self),
            nonce: nonce.0,
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<[u8; 32], u32>> {
        self.by_nonce.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One request of a session.
#[derive(Debug)]
pub(crate) struct UnderWay {
    all: Arc<InFlight>,
    nonce: [u8; 32],
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut by_nonce = self.all.lock();
        if let Some(count) = by_nonce.get_mut(&self.nonce) {
            *count -= 1;
            if *count == 0 {
                by_nonce.remove(&self.nonce);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_has_a_bounded_number_of_requests_under_way_and_others_have_their_own() {
        let all = Arc::new(InFlight::default());
        let (one, other) = (Nonce([1; 32]), Nonce([2; 32]));
        let mut held: Vec<_> = (0..IN_FLIGHT_MAX).map(|_| all.take(&one).unwrap()).collect();
        assert!(all.take(&one).is_none());
        assert!(all.take(&other).is_some());
        held.pop();
        assert!(all.take(&one).is_some());
        drop(held);
        assert!(all.lock().is_empty(), "nothing is kept of who is gone");
    }
}
