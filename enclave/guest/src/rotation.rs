//! Keysets of one boot, one after the other.
//!
//! Before a keyset ends the next one takes over: new keys, a new keyset, new evidence over it. Connections that were made
//! under the old one stay on it until its end: each closes after its next answer, and at the end of the keyset all are
//! closed once what they have in flight is answered. A boot lives at most a day, so its grants are as old at most.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hanzo_attestation::bundle::{Bundle, DeviceCollateral};
use hanzo_attestation::config::{Aci, Config, SealedMessages};
use hanzo_attestation::keyset::{KEYSET_LIFETIME_S_MAX, Keyset, ServedModel};
use hanzo_attestation::{Nonce, UnixTime};
use hanzo_channel::{ChannelKey, TlsIdentity};
use hanzo_device::{Attester, entropy::mixed_seed};
use hanzo_inference::AciServing;
use hanzo_receipts::{AciShelf, PublicLog, ReceiptLog};
use hanzo_store::EncryptedDb;
use tokio::task::spawn_blocking;

use crate::aci::serving;
use crate::clock::GrantClock;
use crate::error::GuestError;
use crate::evidence::{EvidenceDesk, Sealed, Windows};
use crate::keys::BootKeys;
use crate::options::OperatingLimits;
use crate::sealed::{Gateway, KEY_LIFE_S, MessageKeys};
use crate::sealing::{Standing, seal_keyset};

/// Longest life of one boot in seconds: then it asks the broker again, which may have changed its mind.
const BOOT_LIFE_S: u64 = KEYSET_LIFETIME_S_MAX;
/// Most seconds that two keysets overlap, unless they are told otherwise.
const OVERLAP_S_MAX: u64 = 300;
/// How long a keyset serves at least, in seconds, whatever overlap is asked for: it cannot overlap its whole life.
const TURN_S_MIN: u64 = 2;
/// Pause after a keyset that could not be made.
const RETRY: Duration = Duration::from_secs(5);

/// One keyset and what serves under it.
pub(crate) struct Epoch {
    pub(crate) sealed: Arc<Sealed>,
    pub(crate) desk: EvidenceDesk,
    pub(crate) channel: ChannelKey,
    pub(crate) messages: MessageKeys,
    pub(crate) tls: Arc<rustls::ServerConfig>,
    pub(crate) receipts: Arc<ReceiptLog>,
    /// The same receipts in another format, if the configuration asks for it.
    pub(crate) aci: Option<AciServing>,
}

/// What every keyset of this boot is made from.
pub(crate) struct Sealer {
    pub(crate) booted_at: UnixTime,
    pub(crate) config: Config,
    pub(crate) config_text: String,
    pub(crate) standing: Standing,
    pub(crate) models: Vec<ServedModel>,
    pub(crate) collateral: DeviceCollateral,
    pub(crate) attester: Arc<dyn Attester>,
    pub(crate) store: Arc<EncryptedDb>,
    pub(crate) log: Arc<PublicLog>,
    /// What ACI receipts all keysets of this boot keep.
    pub(crate) shelf: Arc<AciShelf>,
    pub(crate) clock: GrantClock,
}

/// What of the keyset in force decides when the next one follows.
pub(crate) struct Current<'a> {
    pub(crate) keyset: &'a Keyset,
    /// Takes its sealed messages.
    pub(crate) gateway: &'a Gateway,
}

impl Current<'_> {
    /// The last second of its message keys.
    pub(crate) fn last_message(keyset: &Keyset) -> UnixTime {
        UnixTime(keyset.issued_at.saturating_add(KEY_LIFE_S).min(keyset.not_after))
    }

    fn key_ids(&self) -> Vec<u8> {
        self.keyset.ohttp_keys.iter().map(|key| key.key_id).collect()
    }
}

/// New keys; the wrapping key among them is of use at boot alone. `taken` are identifiers of message keys still in use.
pub(crate) async fn new_keys(
    required_tier: u8,
    sealed: SealedMessages,
    taken: Vec<u8>,
) -> Result<BootKeys, GuestError> {
    let making = spawn_blocking(move || BootKeys::generate(required_tier, sealed, &taken));
    let keys = making.await.map_err(|_| GuestError::TaskEnded { what: "keys" })?;
    Ok(keys?)
}

impl Sealer {
    /// Seals a keyset over `keys` and makes evidence over it.
    pub(crate) async fn seal(&self, keys: BootKeys) -> Result<Epoch, GuestError> {
        let now = self.clock.now();
        let (text, models, time) = (
            self.config_text.clone(),
            self.models.clone(),
            self.attester.time_source(),
        );
        let mut sealed = seal_keyset(&self.config, text, &keys, self.standing, models, time, now)?;
        let end_of_boot = self.booted_at.0.saturating_add(BOOT_LIFE_S);
        if sealed.keyset.not_after > end_of_boot {
            sealed.keyset.not_after = end_of_boot;
        }
        sealed.keyset.log = Some(self.log.keys());
        sealed.keyset_digest = sealed.keyset.digest()?;
        sealed.collateral = self.collateral.clone();
        let sealed = Arc::new(sealed);
        let nonce = Nonce(*mixed_seed::<32>()?);
        let desk = EvidenceDesk::open(self.attester.clone(), sealed.clone(), nonce, Windows::default()).await?;
        let aci = match self.config.aci {
            Aci::On => Some(serving(&sealed, &self.attester, &self.shelf).await?),
            Aci::Off => None,
        };
        let mut tls = keys.tls;
        carry_evidence(&mut tls, &desk.standing());
        let tls = hanzo_channel::server_config(&tls)?;
        let (log, keyset) = (self.log.clone(), sealed.keyset.clone());
        let opening = spawn_blocking(move || ReceiptLog::open(log, keys.receipts, keyset));
        let receipts = opening
            .await
            .map_err(|_| GuestError::TaskEnded { what: "receipts" })??;
        Ok(Epoch {
            sealed,
            desk,
            channel: keys.channel,
            messages: keys.messages,
            tls,
            receipts: Arc::new(receipts),
            aci,
        })
    }

    /// Waits until the keyset in force, made just now, should be followed by another, and makes that one: some time before its
    /// end or the end of its message keys' hour, whichever is sooner, or sooner still when those are nearly spent. What fails is
    /// tried again while the keyset lives.
    ///
    /// # Errors
    /// [`GuestError::KeysetExpired`] when the keyset has ended without a successor, however long the processor takes to
    /// answer, or the boot's life ends with it.
    pub(crate) async fn next(&self, current: Current<'_>, limits: &OperatingLimits) -> Result<Epoch, GuestError> {
        let not_after = current.keyset.not_after;
        let life_s = self.config.keyset_lifetime_s.min(KEY_LIFE_S);
        let overlap_s = overlap_s(life_s, limits.keyset_overlap_s);
        let turn = not_after.min(self.clock.now().0.saturating_add(KEY_LIFE_S));
        let is_last = turn >= self.booted_at.0.saturating_add(BOOT_LIFE_S);
        let in_time = async {
            if is_last {
                std::future::pending::<()>().await;
            }
            life_over(self.clock, UnixTime(turn.saturating_sub(overlap_s))).await;
        };
        // Whoever spends them all closes this way in until the next keyset: that one comes early, and not too often.
        let early = async {
            current.gateway.spent().await;
            let earliest = current.keyset.issued_at.saturating_add(limits.keyset_turn_min_s);
            life_over(self.clock, UnixTime(earliest)).await;
            tracing::warn!("most message keys are spent: the next keyset follows early");
        };
        let successor = async {
            tokio::select! {
                () = in_time => {}
                () = early => {}
            }
            self.make_next(current.key_ids()).await
        };
        before_end(self.clock, not_after, successor).await
    }

    async fn make_next(&self, taken: Vec<u8>) -> Epoch {
        loop {
            let next = match new_keys(self.config.required_tier, self.config.sealed, taken.clone()).await {
                Ok(keys) => self.seal(keys).await,
                Err(error) => Err(error),
            };
            match next {
                Ok(epoch) => return epoch,
                Err(error) => tracing::error!(code = error.code(), "the next keyset is not there yet: {error}"),
            }
            tokio::time::sleep(RETRY).await;
        }
    }
}

/// How long before the end of a life of `life_s` seconds the next keyset takes over.
fn overlap_s(life_s: u64, asked: Option<u64>) -> u64 {
    let overlap_s = asked.unwrap_or((life_s / 10).min(OVERLAP_S_MAX));
    overlap_s.clamp(1, life_s.saturating_sub(TURN_S_MIN).max(1))
}

/// What `making` makes, unless the keyset ends first: then nothing is waited for any longer.
async fn before_end<T>(clock: GrantClock, not_after: u64, making: impl Future<Output = T>) -> Result<T, GuestError> {
    tokio::select! {
        biased;
        () = life_over(clock, UnixTime(not_after)) => Err(GuestError::KeysetExpired { not_after }),
        made = making => Ok(made),
    }
}

/// Longest sleep before the clock is asked again.
const CLOCK_STEP: Duration = Duration::from_secs(30);

/// Returns when the last second of `not_after` is over.
pub(crate) async fn life_over(clock: GrantClock, not_after: UnixTime) {
    loop {
        let left = clock.until_after(not_after);
        if left.is_zero() {
            return;
        }
        tokio::time::sleep(left.min(CLOCK_STEP)).await;
    }
}

/// Says of one keyset whether the next has taken over.
#[derive(Clone, Default)]
pub(crate) struct Retired(Arc<AtomicBool>);

impl Retired {
    pub(crate) fn retire(&self) {
        self.0.store(true, Ordering::Release);
    }

    pub(crate) fn is_retired(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Puts the standing bundle into a certificate for RA-TLS clients. A bundle that no certificate can hold goes in without
/// its device collateral, which nothing signs and a verifier may have elsewhere; one that is still too long stays out.
fn carry_evidence(tls: &mut TlsIdentity, standing: &[u8]) {
    let bare = || {
        let mut bundle = Bundle::parse(standing).ok()?;
        bundle.collateral = DeviceCollateral::default();
        bundle.canonical().ok()
    };
    let carried = tls
        .carry_evidence(standing)
        .or_else(|error| bare().map_or(Err(error), |bundle| tls.carry_evidence(&bundle)));
    if let Err(error) = carried {
        tracing::warn!(code = error.code(), "no certificate carries the evidence: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hanzo_device::clock::Moment;

    #[tokio::test]
    async fn a_life_ends_after_its_last_second_and_not_before() {
        let clock = GrantClock::new(UnixTime(100), Moment::now());
        life_over(clock, UnixTime(99)).await;
        let early = tokio::time::timeout(Duration::from_millis(50), life_over(clock, UnixTime(100))).await;
        assert!(early.is_err(), "the last second still counts");
    }

    #[tokio::test]
    async fn a_processor_that_never_answers_ends_the_keyset_at_its_end_and_not_before() {
        let clock = GrantClock::new(UnixTime(100), Moment::now());
        let never = std::future::pending::<()>();
        let early = tokio::time::timeout(Duration::from_millis(50), before_end(clock, 100, never)).await;
        assert!(early.is_err(), "the keyset serves to its last second");
        let ended = before_end(clock, 99, std::future::pending::<()>()).await;
        assert_eq!(ended.unwrap_err().code(), "keyset.expired");
        assert_eq!(before_end(clock, 100, async { 7 }).await.unwrap(), 7);
    }

    #[test]
    fn a_keyset_serves_before_the_next_one_does_whatever_overlap_is_asked_for() {
        for (life_s, asked, overlap) in [
            (3_600, None, 300),
            (60, None, 6),
            (3_600, Some(3_596), 3_596),
            (3_600, Some(3_600), 3_598),
            (3_600, Some(u64::MAX), 3_598),
            (60, Some(0), 1),
        ] {
            assert_eq!(overlap_s(life_s, asked), overlap, "{life_s} {asked:?}");
        }
    }
}
