//! What a client holds on to between attestations: a verdict and the keyset it is about.

use std::sync::Arc;

use hanzo_attestation::keyset::Keyset;
use hanzo_attestation::{Digest256, Digest384, Nonce, UnixTime};
use hanzo_pqc::hpke::{KemSuite, PublicKey};
use hanzo_verifier::{AttestationResult, VerifierContext, verify_bundle};

use crate::connection::Unproven;
use crate::error::ClientError;

/// Reads the time. A parameter, so that tests (and an auditor) can stand at any second.
pub type Clock = Arc<dyn Fn() -> UnixTime + Send + Sync>;

/// The machine's clock.
pub fn system_clock() -> Clock {
    Arc::new(|| {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        // Before 1970 nothing is valid: every keyset lies in the future.
        UnixTime(since.map_or(0, |d| d.as_secs()))
    })
}

/// An attested guest: its verdict, its keyset, and the bundle that showed both.
pub struct Pinned {
    result: AttestationResult,
    keyset: Keyset,
    keyset_digest: Digest384,
    channel_key: PublicKey,
    bundle: Vec<u8>,
    challenge: Nonce,
}

impl Pinned {
    /// Draws a challenge, asks for a bundle over `connection`, verifies it, and compares the connection's TLS key with
    /// the keyset's.
    ///
    /// # Establishes
    /// A guest that satisfies the policy made this keyset and answered after the challenge was drawn.
    ///
    /// # Does not establish
    /// That `connection` ends in that guest: [`Unproven::prove`] does.
    pub(crate) async fn attest(
        connection: &mut Unproven,
        context: &VerifierContext,
        clock: &Clock,
    ) -> Result<Self, ClientError> {
        let mut challenge = [0_u8; 32];
        hanzo_pqc::random::fill(&mut challenge).map_err(|_| ClientError::Random)?;
        let challenge = Nonce(challenge);
        let bundle = connection.fetch_bundle(&challenge).await?;
        let pinned = Self::verified(bundle, challenge, context, clock())?;
        connection.check_spki(pinned.spki_sha256())?;
        Ok(pinned)
    }

    /// Verifies a bundle that came over any path at all.
    ///
    /// # Establishes
    /// A guest that satisfies the policy made this keyset and answered after the challenge was drawn.
    pub(crate) fn verified(
        bundle: Vec<u8>,
        challenge: Nonce,
        context: &VerifierContext,
        now: UnixTime,
    ) -> Result<Self, ClientError> {
        let result = verify_bundle(&bundle, &challenge, context, now)?;
        let keyset = result.keyset().cloned().ok_or(ClientError::ChannelKey)?;
        let keyset_digest = keyset.digest().map_err(|_| ClientError::ChannelKey)?;
        if keyset.channel_key.suite != KemSuite::Xwing.name() {
            return Err(ClientError::ChannelKey);
        }
        let channel_key = PublicKey::from_hex(KemSuite::Xwing, &keyset.channel_key.public_key)
            .map_err(|_| ClientError::ChannelKey)?;
        Ok(Self {
            result,
            keyset,
            keyset_digest,
            channel_key,
            bundle,
            challenge,
        })
    }

    /// The verdict.
    pub fn result(&self) -> &AttestationResult {
        &self.result
    }

    /// The verified keyset.
    pub fn keyset(&self) -> &Keyset {
        &self.keyset
    }

    /// SHA-384(JCS(keyset)).
    pub fn keyset_digest(&self) -> &Digest384 {
        &self.keyset_digest
    }

    /// The bundle's exact bytes.
    pub fn bundle(&self) -> &[u8] {
        &self.bundle
    }

    /// The challenge that the bundle answers.
    pub fn challenge(&self) -> &Nonce {
        &self.challenge
    }

    pub(crate) fn spki_sha256(&self) -> &Digest256 {
        &self.keyset.tls_spki_sha256
    }

    pub(crate) fn channel_key(&self) -> &PublicKey {
        &self.channel_key
    }

    /// False once `max_age` or the keyset's life is over, or the clock went back behind the verification.
    pub(crate) fn is_fresh(&self, now: UnixTime) -> bool {
        (self.result.verified_at()..=self.result.valid_until()).contains(&now)
    }
}
