//! Challenges that cost the broker nothing to give out.
//!
//! What the broker must remember of a challenge stands in the cookie, under a MAC. A flood of requests for challenges
//! therefore leaves no trace here; only a challenge that was answered with genuine evidence is remembered, until its end.
//!
//! # Layout
//! Base64url without padding (100 characters) of 75 bytes, integers big endian:
//!
//! | offset | size | what |
//! |---|---|---|
//! | 0 | 1 | version, 1 |
//! | 1 | 1 | kind of evidence, the place in [`TEES`] |
//! | 2 | 1 | 0 |
//! | 3 | 8 | issued at, Unix seconds |
//! | 11 | 32 | nonce, random |
//! | 43 | 32 | HMAC-SHA-256 over `hanzo/kbs-challenge/v1` and the bytes before |

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hanzo_attestation::{Nonce, UnixTime};
use hanzo_pqc::{PqcError, random};
use kbs_types::Tee;
use zeroize::Zeroizing;

const VERSION: u8 = 1;
const DOMAIN: &[u8] = b"hanzo/kbs-challenge/v1";
const MACED_BYTES: usize = 43;
const CHALLENGE_BYTES: usize = 75;
/// Length of a cookie's value.
pub(crate) const COOKIE_CHARACTERS: usize = 100;
/// How far the clocks of two replicas may be apart.
const SKEW_S: u64 = 5;

/// Kinds of evidence by their place. Only ever append.
const TEES: [Tee; 8] = [
    Tee::Snp,
    Tee::Tdx,
    Tee::AzSnpVtpm,
    Tee::AzTdxVtpm,
    Tee::Tpm,
    Tee::Sample,
    Tee::Nvidia,
    Tee::Cca,
];

/// A challenge of this broker (or of a replica with the same key) that is not past its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Challenge {
    /// What the guest's evidence answers.
    pub(crate) nonce: Nonce,
    /// What kind of evidence the session was opened for.
    pub(crate) tee: Tee,
    /// Last second of the session.
    pub(crate) ends_at: UnixTime,
}

/// Makes challenges and knows its own.
pub(crate) struct ChallengeKey {
    key: hmac::Key,
    ttl_s: u64,
}

impl ChallengeKey {
    /// A key that ends with this process, and every challenge with it.
    pub(crate) fn of_this_process(ttl_s: u64) -> Result<Self, PqcError> {
        let mut secret = Zeroizing::new([0; 32]);
        random::fill(secret.as_mut())?;
        Ok(Self::new(&secret, ttl_s))
    }

    /// The key that all replicas share.
    pub(crate) fn new(secret: &[u8; 32], ttl_s: u64) -> Self {
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, secret),
            ttl_s,
        }
    }

    pub(crate) fn ttl_s(&self) -> u64 {
        self.ttl_s
    }

    /// A fresh challenge: the cookie's value, and what it says. `None` for evidence that has no place in [`TEES`].
    pub(crate) fn issue(&self, tee: Tee, now: UnixTime) -> Result<Option<(String, Challenge)>, PqcError> {
        let Some(place) = TEES.iter().position(|t| *t == tee) else {
            return Ok(None);
        };
        let mut nonce = [0; 32];
        random::fill(&mut nonce)?;
        let mut bytes = Vec::with_capacity(CHALLENGE_BYTES);
        bytes.extend_from_slice(&[VERSION, place as u8, 0]);
        bytes.extend_from_slice(&now.0.to_be_bytes());
        bytes.extend_from_slice(&nonce);
        bytes.extend_from_slice(self.mac(&bytes).as_ref());
        let challenge = Challenge {
            nonce: Nonce(nonce),
            tee,
            ends_at: UnixTime(now.0.saturating_add(self.ttl_s)),
        };
        Ok(Some((URL_SAFE_NO_PAD.encode(bytes), challenge)))
    }

    /// Reads a cookie's value; `None` for whatever this key did not make, and for what is past its end.
    pub(crate) fn read(&self, cookie: &str, now: UnixTime) -> Option<Challenge> {
        if cookie.len() != COOKIE_CHARACTERS {
            return None;
        }
        let bytes: [u8; CHALLENGE_BYTES] = URL_SAFE_NO_PAD.decode(cookie).ok()?.try_into().ok()?;
        let (maced, tag) = bytes.split_at_checked(MACED_BYTES)?;
        hmac::verify(&self.key, &[DOMAIN, maced].concat(), tag).ok()?;
        let (&[version, tee, zero], rest) = maced.split_first_chunk::<3>()?;
        let (issued_at, nonce) = rest.split_first_chunk::<8>()?;
        if version != VERSION || zero != 0 {
            return None;
        }
        let issued_at = u64::from_be_bytes(*issued_at);
        let ends_at = issued_at.saturating_add(self.ttl_s);
        if issued_at > now.0.saturating_add(SKEW_S) || now.0 > ends_at {
            return None;
        }
        Some(Challenge {
            nonce: Nonce(nonce.try_into().ok()?),
            tee: *TEES.get(usize::from(tee))?,
            ends_at: UnixTime(ends_at),
        })
    }

    fn mac(&self, maced: &[u8]) -> hmac::Tag {
        hmac::sign(&self.key, &[DOMAIN, maced].concat())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime(1_795_000_000);

    fn key() -> ChallengeKey {
        ChallengeKey::new(&[7; 32], 60)
    }

    #[test]
    fn replicas_know_each_others_challenges_until_their_end() {
        let (cookie, issued) = key().issue(Tee::Tdx, NOW).unwrap().unwrap();
        assert_eq!(cookie.len(), COOKIE_CHARACTERS);
        assert_eq!(key().read(&cookie, NOW), Some(issued));
        assert_eq!(key().read(&cookie, issued.ends_at), Some(issued));
        assert_eq!((issued.tee, issued.ends_at), (Tee::Tdx, UnixTime(NOW.0 + 60)));
        // Past its end; from a future that no clock is in; of a broker with another key.
        assert_eq!(key().read(&cookie, UnixTime(NOW.0 + 61)), None);
        assert!(key().read(&cookie, UnixTime(NOW.0 - SKEW_S)).is_some());
        assert_eq!(key().read(&cookie, UnixTime(NOW.0 - SKEW_S - 1)), None);
        assert_eq!(ChallengeKey::new(&[8; 32], 60).read(&cookie, NOW), None);
        // A shorter life that was configured since counts for older challenges too.
        assert_eq!(ChallengeKey::new(&[7; 32], 5).read(&cookie, UnixTime(NOW.0 + 6)), None);
        let (other, _) = key().issue(Tee::Tdx, NOW).unwrap().unwrap();
        assert_ne!(cookie, other);
        assert!(key().issue(Tee::Sgx, NOW).unwrap().is_none());
    }

    #[test]
    fn no_changed_cookie_is_a_challenge() {
        let (cookie, _) = key().issue(Tee::Snp, NOW).unwrap().unwrap();
        let mut bytes = URL_SAFE_NO_PAD.decode(&cookie).unwrap();
        for at in 0..bytes.len() {
            for bit in 0..8 {
                bytes[at] ^= 1 << bit;
                let changed = URL_SAFE_NO_PAD.encode(&bytes);
                assert_eq!(key().read(&changed, NOW), None, "byte {at} bit {bit}");
                bytes[at] ^= 1 << bit;
            }
        }
        for wrong in [
            "",
            &cookie[1..],
            &format!("{cookie}A"),
            &format!("{}=", &cookie[..COOKIE_CHARACTERS - 1]),
            &"\u{fc}".repeat(COOKIE_CHARACTERS / 2),
        ] {
            assert_eq!(key().read(wrong, NOW), None, "{wrong}");
        }
    }
}
