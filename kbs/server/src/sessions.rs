//! Sessions: one challenge, one attestation, then keys, all within a minute.
//!
//! A session is a one-shot state machine: `Challenged -> Verifying -> Attested`. Each step is a compare-and-swap under one
//! lock, so of two concurrent attestations one is refused; a failed one ends the session.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hanzo_attestation::Nonce;
use hanzo_kbs_protocol::AttestBody;
use hanzo_pqc::{PqcError, random};

/// Most keys that one session may ask for.
const ASKS_MAX: u32 = 64;

/// What an attested session asks with.
#[derive(Debug)]
pub(crate) struct Attested {
    pub(crate) nonce: Nonce,
    pub(crate) body: AttestBody,
}

enum State {
    Challenged(Nonce),
    Verifying,
    Attested { asked: u32, by: Arc<Attested> },
}

struct Session {
    opened: Instant,
    state: State,
}

/// Why a session could not do what was asked of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SessionRefusal {
    #[error("no such session, or its time is over: start again with auth")]
    Unknown,
    #[error("this session already attested, or is at it: start again with auth")]
    Used,
    #[error("this session has not attested yet")]
    NotAttested,
    #[error("this session asked for too many keys: start again with auth")]
    Exhausted,
    #[error("too many sessions: try again in a minute")]
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

/// All sessions.
pub(crate) struct Sessions {
    ttl: Duration,
    max: usize,
    by_id: Mutex<HashMap<[u8; 16], Session>>,
}

/// A cookie's value: 32 lower-case hex digits.
pub(crate) type SessionId = [u8; 16];

impl Sessions {
    pub(crate) fn new(ttl: Duration, max: usize) -> Self {
        Self {
            ttl,
            max,
            by_id: Mutex::new(HashMap::new()),
        }
    }

    pub(crate) fn ttl(&self) -> Duration {
        self.ttl
    }

    /// Opens a session with a fresh challenge.
    pub(crate) fn open(&self, now: Instant) -> Result<Result<(SessionId, Nonce), SessionRefusal>, PqcError> {
        let (mut id, mut nonce) = ([0; 16], [0; 32]);
        random::fill(&mut id)?;
        random::fill(&mut nonce)?;
        let mut sessions = self.lock();
        if sessions.len() >= self.max {
            sessions.retain(|_, s| now.duration_since(s.opened) <= self.ttl);
        }
        if sessions.len() >= self.max && !drop_oldest_challenge(&mut sessions) {
            return Ok(Err(SessionRefusal::Full));
        }
        let state = State::Challenged(Nonce(nonce));
        sessions.insert(id, Session { opened: now, state });
        Ok(Ok((id, Nonce(nonce))))
    }

    /// Takes the session's one attempt to attest.
    pub(crate) fn begin(&self, id: &SessionId, now: Instant) -> Result<Nonce, SessionRefusal> {
        let mut sessions = self.lock();
        let session = self.alive(&mut sessions, id, now)?;
        match std::mem::replace(&mut session.state, State::Verifying) {
            State::Challenged(nonce) => Ok(nonce),
            other => {
                session.state = other;
                Err(SessionRefusal::Used)
            }
        }
    }

    /// Ends the attempt: the session may now ask for keys, or is over.
    pub(crate) fn finish(&self, id: &SessionId, attested: Option<Attested>) {
        let mut sessions = self.lock();
        match attested {
            None => {
                sessions.remove(id);
            }
            Some(by) => {
                if let Some(session) = sessions.get_mut(id).filter(|s| matches!(s.state, State::Verifying)) {
                    session.state = State::Attested {
                        asked: 0,
                        by: Arc::new(by),
                    };
                }
            }
        }
    }

    /// What the session proved, for one more key.
    pub(crate) fn ask(&self, id: &SessionId, now: Instant) -> Result<Arc<Attested>, SessionRefusal> {
        let mut sessions = self.lock();
        match &mut self.alive(&mut sessions, id, now)?.state {
            State::Attested { asked, .. } if *asked >= ASKS_MAX => Err(SessionRefusal::Exhausted),
            State::Attested { asked, by } => {
                *asked += 1;
                Ok(Arc::clone(by))
            }
            _ => Err(SessionRefusal::NotAttested),
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.lock().len()
    }

    fn alive<'a>(
        &self,
        sessions: &'a mut HashMap<SessionId, Session>,
        id: &SessionId,
        now: Instant,
    ) -> Result<&'a mut Session, SessionRefusal> {
        if sessions
            .get(id)
            .is_some_and(|s| now.duration_since(s.opened) > self.ttl)
        {
            sessions.remove(id);
        }
        sessions.get_mut(id).ok_or(SessionRefusal::Unknown)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, Session>> {
        self.by_id.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A challenge costs its asker nothing, so whoever takes all places with challenges loses them to the next who asks: a
/// guest that answers at once still gets in. Sessions that showed genuine evidence stay.
fn drop_oldest_challenge(sessions: &mut HashMap<SessionId, Session>) -> bool {
    let oldest = sessions
        .iter()
        .filter(|(_, s)| matches!(s.state, State::Challenged(_)))
        .min_by_key(|(_, s)| s.opened)
        .map(|(id, _)| *id);
    oldest.is_some_and(|id| sessions.remove(&id).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_attests_once_and_ends_with_its_time() {
        let sessions = Sessions::new(Duration::from_secs(60), 2);
        let start = Instant::now();
        let (id, nonce) = sessions.open(start).unwrap().unwrap();
        assert_eq!(sessions.ask(&id, start).unwrap_err(), SessionRefusal::NotAttested);
        assert_eq!(sessions.begin(&id, start), Ok(nonce));
        assert_eq!(
            sessions.begin(&id, start),
            Err(SessionRefusal::Used),
            "of two concurrent ones"
        );
        sessions.finish(&id, None);
        assert_eq!(
            sessions.begin(&id, start),
            Err(SessionRefusal::Unknown),
            "a failed one ends it"
        );
        let (late, _) = sessions.open(start).unwrap().unwrap();
        assert_eq!(
            sessions.begin(&late, start + Duration::from_secs(61)),
            Err(SessionRefusal::Unknown)
        );
        // The cap counts live sessions alone.
        let later = start + Duration::from_secs(1);
        let answering = [start, later].map(|t| sessions.open(t).unwrap().unwrap().0);
        // Whoever floods the broker with challenges pushes out challenges, not those who answer them.
        let flood = |t| sessions.open(t).unwrap();
        assert!(sessions.begin(&answering[1], later).is_ok());
        for _ in 0..10 {
            assert!(flood(later).is_ok());
        }
        assert_eq!(sessions.begin(&answering[0], later), Err(SessionRefusal::Unknown));
        assert_eq!(sessions.begin(&answering[1], later), Err(SessionRefusal::Used));
        let last = flood(later).unwrap().0;
        assert!(sessions.begin(&last, later).is_ok());
        assert_eq!(flood(later).unwrap_err(), SessionRefusal::Full);
        assert!(sessions.open(start + Duration::from_secs(62)).unwrap().is_ok());
    }
}
