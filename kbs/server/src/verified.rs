//! Evidence that was verified in this second.
//!
//! Whether evidence is genuine and belongs to a session follows from the evidence, the session, the roots, the collateral and
//! the clock's second, and from nothing else. A guest that attests asks for its keys at once, mostly in the same second. So
//! what was found is kept for the rest of it: a decision with the same roots and the same collateral takes it and judges it
//! by the key's own policy. With the next second, or the first change of roots or collateral, all of it is gone, and
//! evidence is verified anew for every decision.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use hanzo_attestation::{Nonce, UnixTime};
use hanzo_verifier::AttestationResult;

use crate::live::Live;
use crate::token::Proven;

/// Most sessions of one second; a few kilobytes each.
const SESSIONS_MAX: usize = 4096;

#[derive(Default)]
pub(crate) struct Verified(Mutex<Second>);

#[derive(Default)]
struct Second {
    /// Which one, and what was in force. A `Weak`, so that no other state has its address meanwhile.
    at: Option<(UnixTime, Weak<Live>)>,
    by_nonce: HashMap<Nonce, Arc<AttestationResult>>,
}

impl Second {
    fn is(&self, now: UnixTime, live: &Arc<Live>) -> bool {
        let at = self.at.as_ref();
        at.is_some_and(|(second, under)| *second == now && Weak::as_ptr(under) == Arc::as_ptr(live))
    }
}

impl Verified {
    /// Keeps what the session of this challenge proved, once the session was admitted with it.
    pub(crate) fn keep(&self, nonce: Nonce, proven: &Proven) {
        let Proven::Signed { result, under } = proven else {
            return;
        };
        let mut second = self.lock();
        let mut past = Second::default();
        if !second.is(result.verified_at(), under) {
            let at = Some((result.verified_at(), Arc::downgrade(under)));
            past = std::mem::replace(&mut second, Second { at, ..past });
        }
        if second.by_nonce.len() < SESSIONS_MAX {
            second.by_nonce.insert(nonce, Arc::clone(result));
        }
        drop(second);
        // Many small pieces of memory: nobody waits for them.
        drop(past);
    }

    /// What was found in this second, with this state.
    pub(crate) fn find(&self, nonce: &Nonce, live: &Arc<Live>, now: UnixTime) -> Option<Arc<AttestationResult>> {
        let second = self.lock();
        let found = second.is(now, live).then(|| second.by_nonce.get(nonce)).flatten()?;
        Some(Arc::clone(found))
    }

    fn lock(&self) -> MutexGuard<'_, Second> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
