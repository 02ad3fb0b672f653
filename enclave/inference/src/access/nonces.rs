//! Nonces of signed requests, for as long as their signatures count: a request counts once.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};

use hanzo_attestation::name::Name;
use hanzo_attestation::{Digest256, UnixTime};
use hanzo_verifier::callers::RequestError;

use crate::error::ApiError;

/// How long a signature counts, in seconds.
const AGE_S_MAX: u64 = 120;
/// How far a caller's clock may be ahead, in seconds.
const SKEW_S: u64 = 30;
/// Most nonces of one caller, and of all: about 32 MiB.
const OF_ONE_MAX: usize = 16_384;
const OF_ALL_MAX: usize = 1 << 18;

#[derive(Default)]
pub(super) struct Nonces(Mutex<Seen>);

#[derive(Default)]
struct Seen {
    by_caller: HashMap<Name, BTreeSet<(u64, [u8; 32])>>,
    count: usize,
}

/// Whether a signature of `created` counts at `now`.
pub(super) fn in_time(created: u64, now: UnixTime) -> Result<(), RequestError> {
    let is_new = created <= now.0.saturating_add(SKEW_S);
    match is_new && now.0 <= created.saturating_add(AGE_S_MAX) {
        true => Ok(()),
        false => Err(RequestError::Time { created, now: now.0 }),
    }
}

impl Seen {
    /// Forgets what no longer counts anyway.
    fn forget(&mut self, now: UnixTime) {
        let first = (now.0.saturating_sub(AGE_S_MAX), [0; 32]);
        self.by_caller.retain(|_, of| {
            *of = of.split_off(&first);
            !of.is_empty()
        });
        self.count = self.by_caller.values().map(BTreeSet::len).sum();
    }
}

impl Nonces {
    /// Takes a nonce whose signature was verified and is in time.
    pub(super) fn take(&self, caller: &Name, created: u64, nonce: &str, now: UnixTime) -> Result<(), ApiError> {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of = |seen: &Seen| seen.by_caller.get(caller).map_or(0, BTreeSet::len);
        if seen.count >= OF_ALL_MAX || of(&seen) >= OF_ONE_MAX {
            seen.forget(now);
        }
        if seen.count >= OF_ALL_MAX || of(&seen) >= OF_ONE_MAX {
            return Err(ApiError::Busy);
        }
        let nonce = (created, Digest256::of(nonce.as_bytes()).0);
        match seen.by_caller.entry(caller.clone()).or_default().insert(nonce) {
            true => {
                seen.count += 1;
                Ok(())
            }
            false => Err(ApiError::Signed(RequestError::Replayed)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_counts_once_for_as_long_as_its_signature_and_one_caller_fills_no_others_place() {
        let (acme, beta) = (Name::new("acme").unwrap(), Name::new("beta").unwrap());
        let nonces = Nonces::default();
        let now = UnixTime(1000);
        let take = |caller: &Name, created: u64, nonce: &str, now: u64| {
            in_time(created, UnixTime(now)).map_err(|e| e.code())?;
            nonces.take(caller, created, nonce, UnixTime(now)).map_err(|e| e.code())
        };
        assert_eq!(take(&acme, 1000, "a", now.0), Ok(()));
        assert_eq!(take(&beta, 1000, "a", now.0), Ok(()), "another's nonce is another's");
        for at in [1000, 1120] {
            assert_eq!(take(&acme, 1000, "a", at), Err("request.replayed"));
        }
        assert_eq!(take(&acme, 1000, "b", 1120), Ok(()));
        assert_eq!(take(&acme, 1000, "c", 1121), Err("request.time"));
        assert_eq!(take(&acme, 1151, "c", 1120), Err("request.time"));
        assert_eq!(take(&acme, 1150, "c", 1120), Ok(()));
        for n in 3..OF_ONE_MAX {
            assert_eq!(take(&acme, 1120, &n.to_string(), 1120), Ok(()), "{n}");
        }
        assert_eq!(take(&acme, 1120, "one more", 1120), Err("rate_limit_exceeded"));
        assert_eq!(take(&beta, 1120, "one more", 1120), Ok(()));
        // What is over makes room.
        assert_eq!(take(&acme, 1241, "later", 1241), Ok(()));
    }
}
