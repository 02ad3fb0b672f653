//! The keys that messages are sealed to, and what each has opened already.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use hanzo_attestation::config::SealedMessages;
use hanzo_attestation::keyset::OhttpKey;
use hanzo_attestation::{Digest256, UnixTime};
use hanzo_device::entropy::mixed_seed;
use hanzo_pqc::gcm::Gcm;
use hanzo_pqc::hpke::message::{MessageKem, MessageKey};
use hanzo_sealed::config::{KeyConfig, Protocol};
use hanzo_sealed::ehbp;
use tokio::sync::Notify;

use crate::keys::KeyError;

pub use hanzo_sealed::config::KEY_LIFE_S;

/// Most messages that one key opens.
pub const KEY_MESSAGES_MAX: usize = 1 << 20;

/// One fresh key.
struct FreshKey {
    config: KeyConfig,
    key: MessageKey,
}

impl FreshKey {
    fn draw(kem: MessageKem, key_id: u8, aeads: &[Gcm]) -> Result<Self, KeyError> {
        let key = MessageKey::from_seed(kem, &*mixed_seed::<32>()?)?;
        let config = KeyConfig::new(key_id, key.public_key().clone(), aeads);
        Ok(Self { config, key })
    }
}

/// The message keys of one boot. They exist in this process's memory alone.
pub struct MessageKeys {
    ohttp: Vec<FreshKey>,
    ehbp: Option<FreshKey>,
}

impl MessageKeys {
    /// Makes them: X-Wing always, X25519 for what the configuration opens. From tier 3 on AES-256 alone is offered. No key gets
    /// an identifier that is `taken` by the keyset before, whose messages are opened for a while yet.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn generate(required_tier: u8, opened: SealedMessages, taken: &[u8]) -> Result<Self, KeyError> {
        let aeads: &[Gcm] = if required_tier >= 3 {
            &[Gcm::Aes256]
        } else {
            &[Gcm::Aes128, Gcm::Aes256]
        };
        // Random, so that a message for another guest usually fails at its first byte.
        let key_id = loop {
            let [drawn] = *mixed_seed::<1>()?;
            if !taken.contains(&drawn) && !taken.contains(&drawn.wrapping_add(1)) {
                break drawn;
            }
        };
        let mut ohttp = vec![FreshKey::draw(MessageKem::Xwing, key_id, aeads)?];
        if opened.ohttp_x25519 {
            ohttp.push(FreshKey::draw(MessageKem::X25519, key_id.wrapping_add(1), aeads)?);
        }
        let ehbp = match opened.ehbp {
            true => Some(FreshKey::draw(ehbp::KEM, ehbp::KEY_ID, &[ehbp::AEAD])?),
            false => None,
        };
        Ok(Self { ohttp, ehbp })
    }

    /// As the keyset has them.
    pub fn to_keyset(&self) -> Vec<OhttpKey> {
        let ohttp = self.ohttp.iter().map(|key| key.config.to_keyset(Protocol::Ohttp));
        let ehbp = self.ehbp.iter().map(|key| key.config.to_keyset(Protocol::Ehbp));
        ohttp.chain(ehbp).collect()
    }

    /// Begins their life, which ends after `last_second`, or with the `messages_max`th message of each.
    pub(super) fn begin(self, last_second: UnixTime, messages_max: usize) -> LiveKeys {
        let spent = Arc::new(Notify::new());
        let live = |fresh: FreshKey| LiveKey {
            config: fresh.config,
            last_second,
            messages_max: messages_max.clamp(1, KEY_MESSAGES_MAX),
            spent: spent.clone(),
            held: Mutex::new(Held {
                key: Some(Arc::new(fresh.key)),
                seen: HashSet::new(),
                is_ended: false,
            }),
        };
        LiveKeys {
            ohttp: self.ohttp.into_iter().map(live).collect(),
            ehbp: self.ehbp.map(live),
            spent: spent.clone(),
        }
    }
}

/// The keys at work.
pub(super) struct LiveKeys {
    pub(super) ohttp: Vec<LiveKey>,
    pub(super) ehbp: Option<LiveKey>,
    spent: Arc<Notify>,
}

impl LiveKeys {
    /// Waits until three quarters of the messages of a key are spent.
    pub(super) async fn spent(&self) {
        self.spent.notified().await;
    }

    /// Ends all of them at once, whatever is left of their lives.
    pub(super) fn end(&self) {
        for key in self.ohttp.iter().chain(&self.ehbp) {
            let mut held = key.held();
            held.key = None;
            held.is_ended = true;
            // Nothing is accepted from now on, so nothing need be remembered.
            held.seen = HashSet::new();
        }
    }
}

/// A key at work.
pub(super) struct LiveKey {
    pub(super) config: KeyConfig,
    last_second: UnixTime,
    messages_max: usize,
    spent: Arc<Notify>,
    held: Mutex<Held>,
}

struct Held {
    key: Option<Arc<MessageKey>>,
    /// The first 16 bytes of SHA-256 of each `enc` that opened something: at most 2^20 of them.
    seen: HashSet<[u8; 16]>,
    is_ended: bool,
}

fn short_digest(enc: &[u8]) -> [u8; 16] {
    let digest = Digest256::of(enc).0;
    std::array::from_fn(|i| digest.get(i).copied().unwrap_or_default())
}

impl LiveKey {
    fn held(&self) -> std::sync::MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The private key, for a message with `enc`. `None` if its life is over, or if `enc` opened something before.
    pub(super) fn key_for(&self, enc: &[u8], now: UnixTime) -> Option<Arc<MessageKey>> {
        let mut held = self.held();
        if now > self.last_second || held.seen.len() >= self.messages_max {
            // Gone for good once the last message in work is open.
            held.key = None;
        }
        if held.seen.contains(&short_digest(enc)) {
            return None;
        }
        held.key.clone()
    }

    /// Takes `enc` as used. False if it was already: of two at a time one alone goes on.
    ///
    /// Called once something opened, so that garbage uses nothing up, and before anything is done with it.
    pub(super) fn accept(&self, enc: &[u8]) -> bool {
        let mut held = self.held();
        let is_new = !held.is_ended && held.seen.len() < self.messages_max && held.seen.insert(short_digest(enc));
        if is_new && held.seen.len() == self.messages_max - self.messages_max / 4 {
            self.spent.notify_one();
        }
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(messages_max: usize) -> LiveKey {
        let keys = MessageKeys::generate(2, SealedMessages::default(), &[]).unwrap();
        let mut live = keys.begin(UnixTime(1_000 + KEY_LIFE_S), messages_max);
        live.ohttp.remove(0)
    }

    #[test]
    fn an_enc_is_accepted_once_also_by_two_at_a_time() {
        let key = one(10);
        let now = UnixTime(1_000);
        // Both looked before either was accepted.
        assert!(key.key_for(b"enc", now).is_some() && key.key_for(b"enc", now).is_some());
        assert!(key.accept(b"enc"));
        assert!(!key.accept(b"enc"));
        assert!(key.key_for(b"enc", now).is_none(), "a replay costs no decapsulation");
        assert!(key.key_for(b"other", now).is_some());
    }

    #[test]
    fn a_key_ends_with_its_hour_and_with_its_last_message() {
        let key = one(10);
        assert!(
            key.key_for(b"a", UnixTime(1_000 + KEY_LIFE_S)).is_some(),
            "the last second counts"
        );
        assert!(key.key_for(b"a", UnixTime(1_001 + KEY_LIFE_S)).is_none());
        assert!(key.held().key.is_none(), "it is gone");
        assert!(
            key.key_for(b"a", UnixTime(1_000)).is_none(),
            "and stays gone when a clock goes back"
        );

        let key = one(2);
        let now = UnixTime(1_000);
        assert!(key.accept(b"a") && key.accept(b"b"));
        assert!(!key.accept(b"c"), "the third");
        assert!(key.key_for(b"c", now).is_none() && key.held().key.is_none());
        assert_eq!(key.held().seen.len(), 2);
    }

    #[tokio::test]
    async fn spent_keys_say_so_in_time_and_ended_ones_take_nothing_back() {
        let keys = MessageKeys::generate(2, SealedMessages::default(), &[]).unwrap();
        let live = keys.begin(UnixTime(2_000), 8);
        let now = UnixTime(1_000);
        for enc in 0..5_u8 {
            assert!(live.ohttp[0].accept(&[enc]));
        }
        let early = tokio::time::timeout(std::time::Duration::from_millis(20), live.spent()).await;
        assert!(early.is_err(), "five of eight");
        assert!(live.ohttp[0].accept(b"sixth"));
        live.spent().await;
        // Two of one message at a time: one was accepted, then the keys ended, and the other is none the better for it.
        assert!(live.ohttp[0].key_for(b"seventh", now).is_some());
        assert!(live.ohttp[0].accept(b"seventh"));
        live.end();
        assert!(!live.ohttp[0].accept(b"seventh") && live.ohttp[0].key_for(b"new", now).is_none());
    }

    #[test]
    fn identifiers_of_the_keyset_before_are_not_taken_again() {
        let opened = SealedMessages {
            ohttp_x25519: true,
            ehbp: false,
        };
        let taken: Vec<u8> = (0..=251).collect();
        for _ in 0..20 {
            let keys = MessageKeys::generate(2, opened, &taken).unwrap();
            assert!(keys.ohttp.iter().all(|key| !taken.contains(&key.config.key_id())));
        }
    }

    #[test]
    fn what_the_configuration_does_not_open_has_no_key() {
        let names = |tier, ohttp_x25519, ehbp| -> Vec<_> {
            let keys = MessageKeys::generate(tier, SealedMessages { ohttp_x25519, ehbp }, &[]).unwrap();
            let ids: HashSet<u8> = keys.ohttp.iter().map(|k| k.config.key_id()).collect();
            assert_eq!(ids.len(), keys.ohttp.len(), "one identifier, one key");
            let name = |k: OhttpKey| format!("{} {} {}", k.protocol, k.kem, k.aeads.join("+"));
            keys.to_keyset().into_iter().map(name).collect()
        };
        assert_eq!(names(2, false, false), ["ohttp x-wing aes-128-gcm+aes-256-gcm"]);
        assert_eq!(
            names(3, true, true),
            [
                "ohttp x-wing aes-256-gcm",
                "ohttp x25519 aes-256-gcm",
                "ehbp x25519 aes-256-gcm"
            ]
        );
    }
}
