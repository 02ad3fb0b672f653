//! Grants: one RCAR exchange per key with the broker that the configuration pins.
//!
//! The guest has no clock before its first grant. That grant cannot be an old one, because it names a wrapping key made
//! in this boot; its signed `kbs_time`, checked against the monotonic time of the exchange, becomes the clock, and every
//! later grant is held against it.

use std::sync::Arc;
use std::time::Duration;

use hanzo_attestation::config::PinnedKbs;
use hanzo_attestation::name::{KeyId, Name};
use hanzo_attestation::{Nonce, UnixTime};
use hanzo_device::clock::Moment;
use hanzo_device::entropy::mixed_seed;
use hanzo_device::{Attester, DeviceError};
use hanzo_kbs_protocol::heads::{HEADS_PATH, HeadError, HeldLease};
use hanzo_kbs_protocol::{
    ATTEST_PATH, AUTH_PATH, Expected, GrantError, GuestSession, OpenedGrant, SessionError, WrappedDek, resource_path,
};
use hanzo_pqc::hpke::PrivateKey;
use hanzo_pqc::sign::{SignatureSuite, VerifyingKeys};
use tokio::task::spawn_blocking;

use crate::clock::GrantClock;
use crate::kbs_http::{KbsConnection, KbsDoor, KbsHttpError};

/// Why a key was not granted.
#[derive(Debug, thiserror::Error)]
pub enum GrantsError {
    /// The configuration's signer is no usable key.
    #[error("config: kbs.signer: not a usable key pair")]
    Signer,
    /// The exchange failed or the broker refused.
    #[error("key {key_id}: {source}")]
    Http {
        /// Which key.
        key_id: String,
        /// What went wrong.
        source: KbsHttpError,
    },
    /// The broker's challenge is unusable, or the processor gave no evidence.
    #[error("key {key_id}: {source}")]
    Session {
        /// Which key.
        key_id: String,
        /// What went wrong.
        source: SessionError<DeviceError>,
    },
    /// What came back is not a grant for this guest.
    #[error("key {key_id}: {source}")]
    Grant {
        /// Which key.
        key_id: String,
        /// What went wrong.
        source: GrantError,
    },
    /// What came back is not a lease for this guest.
    #[error("store {key_id}: {source}")]
    Lease {
        /// Which store.
        key_id: String,
        /// What went wrong.
        source: HeadError,
    },
    /// No entropy that the host cannot choose.
    #[error(transparent)]
    Entropy(DeviceError),
    /// The evidence task died.
    #[error("key {key_id}: the task that makes evidence ended")]
    Ended {
        /// Which key.
        key_id: String,
    },
}

impl GrantsError {
    /// True if nobody answered: asking again may help.
    pub(crate) fn is_absence(&self) -> bool {
        let source = match self {
            Self::Http { source, .. } => source,
            _ => return false,
        };
        matches!(source, KbsHttpError::Unreachable { .. } | KbsHttpError::Timeout { .. })
    }

    /// Stable dotted code of the cause.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Signer => "config.value",
            Self::Http { source, .. } => source.code(),
            Self::Session { source, .. } => match source {
                SessionError::Wire(e) => e.code(),
                SessionError::Evidence(e) => e.code(),
                SessionError::Jcs(_) => "kbs.malformed",
                SessionError::Kind { .. } => "kbs.evidence_kind",
            },
            Self::Grant { source, .. } => source.code(),
            Self::Lease { source, .. } => source.code(),
            Self::Entropy(e) => e.code(),
            Self::Ended { .. } => "evidence.ended",
        }
    }
}

/// Asks one broker for keys.
pub struct GrantDesk<'a> {
    door: &'a KbsDoor,
    step_limit: Duration,
    attester: Arc<dyn Attester>,
    wrapping: &'a PrivateKey,
    pinned: VerifyingKeys,
    grant_lifetime_s: u64,
    required_tier: u8,
    clock: Option<GrantClock>,
}

impl<'a> GrantDesk<'a> {
    /// For the broker whose signer `kbs` pins, reached at `door`.
    ///
    /// # Errors
    /// [`GrantsError::Signer`].
    pub fn new(
        door: &'a KbsDoor,
        step_limit: Duration,
        attester: Arc<dyn Attester>,
        wrapping: &'a PrivateKey,
        kbs: &PinnedKbs,
        required_tier: u8,
    ) -> Result<Self, GrantsError> {
        let suite = SignatureSuite::from_name(&kbs.signer.suite).ok_or(GrantsError::Signer)?;
        let pinned =
            VerifyingKeys::from_hex(suite, &kbs.signer.ml_dsa, &kbs.signer.ed25519).map_err(|_| GrantsError::Signer)?;
        Ok(Self {
            door,
            step_limit,
            attester,
            wrapping,
            pinned,
            grant_lifetime_s: kbs.grant_lifetime_s,
            required_tier,
            clock: None,
        })
    }

    /// The clock that the first grant set.
    pub fn clock(&self) -> Option<GrantClock> {
        self.clock
    }

    /// Gets `key_id`, which must be for `subject`.
    ///
    /// # Establishes
    /// As [`GuestSession::open_wrapped`]: the pinned broker granted this key to this boot, at the tier that the
    /// configuration requires or a higher one.
    ///
    /// # Errors
    /// [`GrantsError`].
    pub async fn get(&mut self, key_id: &KeyId, subject: &Name) -> Result<OpenedGrant, GrantsError> {
        let http = |source| GrantsError::Http {
            key_id: key_id.to_string(),
            source,
        };
        let (mut kbs, session) = self.attested(key_id).await?;
        let sent = Moment::now();
        let reply = kbs.get("resource", &resource_path(key_id)).await.map_err(http)?;
        let opened = self
            .open(&session, &reply, sent, key_id, subject)
            .map_err(|source| GrantsError::Grant {
                key_id: key_id.to_string(),
                source,
            })?;
        // The first grant set the clock; only now can the certificate of its connection be judged by time.
        if let Some(clock) = self.clock {
            kbs.check_certificate(clock.now()).map_err(http)?;
        }
        Ok(opened)
    }

    /// Leases the head of the store whose key was granted, for `lease_s` seconds.
    ///
    /// # Establishes
    /// The pinned broker takes this boot for the store's one writer, and says where the store's log stands.
    ///
    /// # Errors
    /// [`GrantsError`].
    pub async fn lease(&self, store: &KeyId, lease_s: u64) -> Result<HeldLease, GrantsError> {
        let http = |source| GrantsError::Http {
            key_id: store.to_string(),
            source,
        };
        let lease = |source| GrantsError::Lease {
            key_id: store.to_string(),
            source,
        };
        let (mut kbs, _session) = self.attested(store).await?;
        let nonce = Nonce(*mixed_seed::<32>().map_err(GrantsError::Entropy)?);
        let body = HeldLease::acquire_body(store, lease_s, nonce).map_err(lease)?;
        let path = format!("{HEADS_PATH}{store}");
        let reply = kbs.post("lease", &path, body).await.map_err(http)?;
        HeldLease::open(&reply, store, &nonce, self.wrapping, &self.pinned).map_err(lease)
    }

    /// A connection on which this guest proved itself.
    async fn attested(&self, key_id: &KeyId) -> Result<(KbsConnection, GuestSession), GrantsError> {
        let http = |source| GrantsError::Http {
            key_id: key_id.to_string(),
            source,
        };
        let mut session = GuestSession::for_kind(self.wrapping.public_key(), self.attester.kind()).map_err(|e| {
            GrantsError::Session {
                key_id: key_id.to_string(),
                source: e.into(),
            }
        })?;
        let now = self.clock.map(|clock| clock.now());
        let mut kbs = KbsConnection::open(self.door, self.step_limit, now)
            .await
            .map_err(http)?;
        let challenge = kbs.post("auth", AUTH_PATH, session.auth_body()).await.map_err(http)?;
        let attester = self.attester.clone();
        let attested = spawn_blocking(move || {
            let body = session.attest_body_with_devices(
                &challenge,
                |nonce| attester.devices(nonce),
                |request| attester.evidence(request),
            );
            (session, body)
        });
        let (session, body) = attested.await.map_err(|_| GrantsError::Ended {
            key_id: key_id.to_string(),
        })?;
        let body = body.map_err(|source| GrantsError::Session {
            key_id: key_id.to_string(),
            source,
        })?;
        kbs.post("attest", ATTEST_PATH, body).await.map_err(http)?;
        Ok((kbs, session))
    }

    fn open(
        &mut self,
        session: &GuestSession,
        reply: &[u8],
        sent: Moment,
        key_id: &KeyId,
        subject: &Name,
    ) -> Result<OpenedGrant, GrantError> {
        let elapsed_s = sent.elapsed().as_secs();
        let (sent_at, now) = match self.clock {
            Some(clock) => {
                let now = clock.now();
                (UnixTime(now.0.saturating_sub(elapsed_s)), now)
            }
            // Not believed yet: `open_wrapped` verifies the signature over this very number.
            None => {
                let kbs_time = WrappedDek::parse(reply)?.grant.kbs_time;
                (UnixTime(kbs_time), UnixTime(kbs_time.saturating_add(elapsed_s)))
            }
        };
        let opened = session.open_wrapped(
            reply,
            self.wrapping,
            &self.pinned,
            Expected {
                key_id,
                subject,
                min_tier: self.required_tier,
            },
            sent_at,
            now,
            self.grant_lifetime_s,
        )?;
        if self.clock.is_none() {
            self.clock = Some(GrantClock::new(UnixTime(opened.grant.kbs_time), sent));
        }
        tracing::info!(
            key = %key_id,
            version = opened.grant.key_version,
            tier = opened.grant.tier,
            simulated = opened.grant.simulated,
            "key granted"
        );
        Ok(opened)
    }
}
