//! Sessions: one challenge, one attestation, then keys, all until the challenge's end.
//!
//! A session that has not attested is a cookie and nothing here (see [`crate::challenge`]). One that did is kept, bounded
//! in number and bytes, until its end: it is at the same time the memory that its challenge was answered, so of any
//! number of attestations on one challenge exactly one wins.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hanzo_attestation::{Nonce, UnixTime};
use hanzo_kbs_protocol::AttestBody;

use crate::challenge::{Challenge, ChallengeKey};

/// Most keys that one session may ask for.
const ASKS_MAX: u32 = 64;

/// What an attested session asks with.
#[derive(Debug)]
pub(crate) struct Attested {
    pub(crate) nonce: Nonce,
    pub(crate) body: AttestBody,
}

struct Session<A> {
    asked: u32,
    bytes: usize,
    by: Arc<A>,
}

/// Why a session could not do what was asked of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SessionRefusal {
    #[error("no such session, or its time is over: start again with auth")]
    Unknown,
    #[error("this challenge was answered already: start again with auth")]
    Used,
    #[error("this session has not attested yet, or its broker was started anew: start again with auth")]
    NotAttested,
    #[error("this session asked for too many keys: start again with auth")]
    Exhausted,
    #[error("too many attested sessions: try again in a minute")]
    Full,
}

impl SessionRefusal {
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::Unknown => "kbs.session.unknown",
            Self::Used => "kbs.session.used",
            Self::NotAttested => "kbs.session.not_attested",
            Self::Exhausted => "kbs.session.exhausted",
            Self::Full => "kbs.session.full",
        }
    }
}

/// All sessions that attested here.
pub(crate) struct Sessions<A = Attested> {
    pub(crate) challenges: ChallengeKey,
    most: usize,
    bytes_most: usize,
    /// True if other brokers use the same store: it then decides which answer to a challenge counts.
    pub(crate) has_replicas: bool,
    live: Mutex<Live<A>>,
}

struct Live<A> {
    by_nonce: HashMap<[u8; 32], Session<A>>,
    /// By end, so that the dead are found without looking at the living.
    by_end: BTreeSet<(u64, [u8; 32])>,
    bytes: usize,
}

impl<A> Sessions<A> {
    /// At most `most` attested sessions, of `bytes_most` bytes of evidence together.
    pub(crate) fn new(challenges: ChallengeKey, most: usize, bytes_most: usize) -> Self {
        Self {
            challenges,
            most,
            bytes_most,
            has_replicas: false,
            live: Mutex::new(Live {
                by_nonce: HashMap::new(),
                by_end: BTreeSet::new(),
                bytes: 0,
            }),
        }
    }

    pub(crate) fn with_replicas(self) -> Self {
        Self {
            has_replicas: true,
            ..self
        }
    }

    /// Whether the challenge may still be answered. Says so early; [`Sessions::admit`] decides.
    pub(crate) fn may_attest(&self, challenge: &Challenge, now: UnixTime) -> Result<(), SessionRefusal> {
        let mut live = self.lock();
        live.sweep(now);
        if live.by_nonce.contains_key(challenge.nonce.as_bytes()) {
            return Err(SessionRefusal::Used);
        }
        live.has_room(self, 0)
    }

    /// The session attested: the one place where a challenge is used up. `bytes` is what its evidence takes.
    pub(crate) fn admit(
        &self,
        challenge: &Challenge,
        attested: A,
        bytes: usize,
        now: UnixTime,
    ) -> Result<(), SessionRefusal> {
        let mut live = self.lock();
        live.sweep(now);
        // Its time may have passed while the evidence was verified, and with it the memory that it was used.
        if now > challenge.ends_at {
            return Err(SessionRefusal::Unknown);
        }
        let nonce = challenge.nonce.0;
        if live.by_nonce.contains_key(&nonce) {
            return Err(SessionRefusal::Used);
        }
        live.has_room(self, bytes)?;
        let session = Session {
            asked: 0,
            bytes,
            by: Arc::new(attested),
        };
        live.by_nonce.insert(nonce, session);
        live.by_end.insert((challenge.ends_at.0, nonce));
        live.bytes = live.bytes.saturating_add(bytes);
        Ok(())
    }

    /// What the session proved, for one more key.
    pub(crate) fn ask(&self, challenge: &Challenge) -> Result<Arc<A>, SessionRefusal> {
        let mut live = self.lock();
        match live.by_nonce.get_mut(challenge.nonce.as_bytes()) {
            None => Err(SessionRefusal::NotAttested),
            Some(session) if session.asked >= ASKS_MAX => Err(SessionRefusal::Exhausted),
            Some(session) => {
                session.asked += 1;
                Ok(Arc::clone(&session.by))
            }
        }
    }

    /// How many there are, and the bytes of their evidence.
    pub(crate) fn size(&self, now: UnixTime) -> (usize, usize) {
        let mut live = self.lock();
        live.sweep(now);
        (live.by_nonce.len(), live.bytes)
    }

    fn lock(&self) -> MutexGuard<'_, Live<A>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<A> Live<A> {
    fn sweep(&mut self, now: UnixTime) {
        while let Some((end, nonce)) = self.by_end.first().copied() {
            if end >= now.0 {
                return;
            }
            self.by_end.pop_first();
            if let Some(dead) = self.by_nonce.remove(&nonce) {
                self.bytes = self.bytes.saturating_sub(dead.bytes);
            }
        }
    }

    fn has_room(&self, bounds: &Sessions<A>, bytes: usize) -> Result<(), SessionRefusal> {
        match self.by_nonce.len() < bounds.most && self.bytes.saturating_add(bytes) <= bounds.bytes_most {
            true => Ok(()),
            false => Err(SessionRefusal::Full),
        }
    }
}

#[cfg(test)]
mod tests {
    use kbs_types::Tee;

    use super::*;

    const START: UnixTime = UnixTime(1_795_000_000);

    fn challenge(sessions: &Sessions<&str>) -> Challenge {
        sessions.challenges.issue(Tee::Snp, START).unwrap().unwrap().1
    }

    #[test]
    fn a_challenge_counts_once_and_ends_with_its_time() {
        let sessions = Sessions::new(ChallengeKey::new(&[1; 32], 60), 8, 1000);
        let c = challenge(&sessions);
        assert_eq!(sessions.size(START), (0, 0), "a challenge takes no place");
        assert_eq!(sessions.ask(&c).unwrap_err(), SessionRefusal::NotAttested);
        assert_eq!(sessions.may_attest(&c, START), Ok(()));
        // Two verified it at the same time.
        assert_eq!(sessions.admit(&c, "evidence", 10, START), Ok(()));
        let second = sessions.admit(&c, "evidence", 10, START);
        assert_eq!(second, Err(SessionRefusal::Used));
        assert_eq!(sessions.may_attest(&c, START), Err(SessionRefusal::Used));
        for _ in 0..ASKS_MAX {
            assert!(sessions.ask(&c).is_ok());
        }
        assert_eq!(sessions.ask(&c).unwrap_err(), SessionRefusal::Exhausted);
        // Forgotten only when its own end makes it void.
        let over = UnixTime(c.ends_at.0 + 1);
        assert_eq!(sessions.size(c.ends_at), (1, 10));
        assert_eq!(sessions.size(over), (0, 0));
        let late = sessions.admit(&c, "evidence", 10, over);
        assert_eq!(late, Err(SessionRefusal::Unknown));
    }

    #[test]
    fn attested_sessions_are_bounded_in_number_and_bytes() {
        let sessions = Sessions::new(ChallengeKey::new(&[1; 32], 60), 2, 100);
        let all = [(); 3].map(|()| challenge(&sessions));
        let admit = |n: usize, bytes| sessions.admit(&all[n], "evidence", bytes, START);
        assert_eq!(admit(0, 60), Ok(()));
        assert_eq!(admit(1, 41), Err(SessionRefusal::Full));
        assert_eq!(admit(1, 40), Ok(()));
        assert_eq!(admit(2, 0), Err(SessionRefusal::Full));
        assert_eq!(sessions.may_attest(&all[2], START), Err(SessionRefusal::Full));
        // Who attested keeps its place.
        assert!(sessions.ask(&all[0]).is_ok());
    }
}
