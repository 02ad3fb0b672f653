//! Sessions of replicas: which challenges were answered, and with what, in the store that they share.
//!
//! Any replica gives out challenges, any takes the answer, and any hands out the keys. The insert of the challenge's row
//! decides which of several answers counts. A row holds the answer itself, so that a replica which did not see it can judge
//! it; it is judged whole again for every key, so nothing rests on the row being true. Rows go after their challenge's end,
//! when its MAC no longer counts.

use hanzo_attestation::UnixTime;
use hanzo_store::{Store, StoreError, Value};

use crate::KbsConfig;
use crate::challenge::Challenge;

/// After a challenge's end its row stays this long: replicas' clocks differ.
const KEPT_S: u64 = 30;
/// One redemption in so many removes old rows.
const PRUNE_EVERY: u8 = 32;

/// Whether other brokers may use the same store: a file has one writer, a database any number.
pub(crate) fn has_replicas(config: &KbsConfig) -> bool {
    let store = config.store.to_str().unwrap_or_default();
    ["postgres://", "postgresql://"]
        .iter()
        .any(|scheme| store.starts_with(scheme))
}

/// Uses a challenge up: true for exactly one of all answers at all replicas.
pub(crate) fn redeem(store: &Store, challenge: &Challenge, body: &[u8], now: UnixTime) -> Result<bool, StoreError> {
    let nonce = challenge.nonce.0;
    store.write(|tx| {
        if nonce.first().is_some_and(|first| first.is_multiple_of(PRUNE_EVERY)) {
            let old = now.0.saturating_sub(KEPT_S);
            tx.execute("DELETE FROM challenges WHERE ends_at < ?1", &[integer(old)])?;
        }
        let inserted = tx.execute(
            "INSERT INTO challenges (nonce, ends_at, body) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
            &[nonce.as_slice().into(), integer(challenge.ends_at.0), body.into()],
        )?;
        Ok(inserted == 1)
    })
}

/// The answer to a challenge, at whichever replica it was given.
pub(crate) fn recall(store: &Store, challenge: &Challenge) -> Result<Option<Vec<u8>>, StoreError> {
    store.read(|tx| {
        let row = tx.query_opt(
            "SELECT body FROM challenges WHERE nonce = ?1",
            &[challenge.nonce.0.as_slice().into()],
        )?;
        row.map(|row| row.blob(0).map(<[u8]>::to_vec)).transpose()
    })
}

fn integer(seconds: u64) -> Value {
    Value::Integer(i64::try_from(seconds).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use hanzo_pqc::Dek;
    use hanzo_store::StoreMode;
    use kbs_types::Tee;

    use super::*;
    use crate::challenge::ChallengeKey;
    use crate::schema::SCHEMA;

    const NOW: UnixTime = UnixTime(1_795_000_000);

    #[test]
    fn a_challenge_from_one_replica_is_answered_at_another_exactly_once() {
        let dir = tempfile::tempdir().unwrap();
        let key = Dek::generate().unwrap();
        let store = Store::sqlcipher(&dir.path().join("kbs.db"), &key, SCHEMA, StoreMode::Simulated).unwrap();
        let replica = || ChallengeKey::new(&[7; 32], 60);
        let (cookie, _) = replica().issue(Tee::Snp, NOW).unwrap().unwrap();
        let challenge = replica().read(&cookie, NOW).unwrap();
        assert_eq!(recall(&store, &challenge).unwrap(), None);
        let won: Vec<bool> = std::thread::scope(|scope| {
            let racing: Vec<_> = (0..8u8)
                .map(|n| {
                    let (store, challenge) = (&store, &challenge);
                    scope.spawn(move || redeem(store, challenge, &[n], NOW).unwrap())
                })
                .collect();
            racing.into_iter().map(|t| t.join().unwrap()).collect()
        });
        assert_eq!(won.iter().filter(|won| **won).count(), 1, "{won:?}");
        let winner = won.iter().position(|won| *won).unwrap() as u8;
        assert_eq!(recall(&store, &challenge).unwrap(), Some(vec![winner]));

        // Its row goes only when its MAC no longer counts anywhere.
        let rows = || {
            store
                .read(|tx| tx.query("SELECT nonce FROM challenges", &[]))
                .unwrap()
                .len()
        };
        let later = |s: u64| UnixTime(challenge.ends_at.0 + s);
        let mut other = challenge;
        other.nonce.0 = [0; 32];
        assert!(redeem(&store, &other, b"", later(KEPT_S)).unwrap());
        assert_eq!(rows(), 2);
        assert_eq!(replica().read(&cookie, later(1)), None);
        assert!(!redeem(&store, &other, b"", later(KEPT_S + 1)).unwrap() || rows() == 1);
    }
}
