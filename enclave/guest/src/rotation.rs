//! Keysets of one boot, one after the other.
//!
//! Before a keyset ends the next one takes over: new keys, a new keyset, new evidence over it. Connections that were made
//! under the old one stay on it until its end: each closes after its next answer, and at the end of the keyset all are
//! closed once what they have in flight is answered. A boot lives at most a day, so its grants are as old at most.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hanzo_attestation::bundle::{Bundle, DeviceCollateral};
use hanzo_attestation::config::{Config, SealedMessages};
use hanzo_attestation::keyset::{KEYSET_LIFETIME_S_MAX, ServedModel};
use hanzo_attestation::{Nonce, UnixTime};
use hanzo_channel::{ChannelKey, TlsIdentity};
use hanzo_device::{Attester, entropy::mixed_seed};
use hanzo_receipts::ReceiptLog;
use hanzo_store::EncryptedDb;
use tokio::task::spawn_blocking;

use crate::clock::GrantClock;
use crate::error::GuestError;
use crate::evidence::{EvidenceDesk, Sealed, Windows};
use crate::keys::BootKeys;
use crate::sealed::{KEY_LIFE_S, MessageKeys};
use crate::sealing::{Standing, seal_keyset};

/// Longest life of one boot in seconds: then it asks the broker again, which may have changed its mind.
const BOOT_LIFE_S: u64 = KEYSET_LIFETIME_S_MAX;
/// Most seconds that two keysets overlap.
const OVERLAP_S_MAX: u64 = 300;
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
    pub(crate) clock: GrantClock,
}

/// New keys; the wrapping key among them is of use at boot alone.
pub(crate) async fn new_keys(required_tier: u8, sealed: SealedMessages) -> Result<BootKeys, GuestError> {
    let making = spawn_blocking(move || BootKeys::generate(required_tier, sealed));
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
            sealed.keyset_digest = sealed.keyset.digest()?;
        }
        sealed.collateral = self.collateral.clone();
        let sealed = Arc::new(sealed);
        let nonce = Nonce(*mixed_seed::<32>()?);
        let desk = EvidenceDesk::open(self.attester.clone(), sealed.clone(), nonce, Windows::default()).await?;
        let mut tls = keys.tls;
        carry_evidence(&mut tls, &desk.standing());
        let tls = hanzo_channel::server_config(&tls)?;
        let receipts = ReceiptLog::open(self.store.clone(), keys.receipts, sealed.keyset.clone())?;
        Ok(Epoch {
            sealed,
            desk,
            channel: keys.channel,
            messages: keys.messages,
            tls,
            receipts: Arc::new(receipts),
        })
    }

    /// Waits until the keyset that ends with `not_after`, made just now, should be followed by another, and makes that one:
    /// some time before its end or the end of its message keys' hour, whichever is sooner. What fails is tried again
    /// while the keyset lives.
    ///
    /// # Errors
    /// [`GuestError::KeysetExpired`] when the keyset has ended without a successor, however long the processor takes to
    /// answer, or the boot's life ends with it.
    pub(crate) async fn next(&self, not_after: u64, overlap_s: Option<u64>) -> Result<Epoch, GuestError> {
        let life_s = self.config.keyset_lifetime_s.min(KEY_LIFE_S);
        let overlap_s = overlap_s.unwrap_or((life_s / 10).min(OVERLAP_S_MAX)).max(1);
        let turn = not_after.min(self.clock.now().0.saturating_add(KEY_LIFE_S));
        let is_last = turn >= self.booted_at.0.saturating_add(BOOT_LIFE_S);
        let successor = async {
            if is_last {
                std::future::pending::<()>().await;
            }
            life_over(self.clock, UnixTime(turn.saturating_sub(overlap_s))).await;
            self.make_next().await
        };
        tokio::select! {
            biased;
            () = life_over(self.clock, UnixTime(not_after)) => Err(GuestError::KeysetExpired { not_after }),
            epoch = successor => Ok(epoch),
        }
    }

    async fn make_next(&self) -> Epoch {
        loop {
            let next = match new_keys(self.config.required_tier, self.config.sealed).await {
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
}
