//! The decision.

use hanzo_attestation::binding::RcarRuntime;
use hanzo_attestation::name::KeyId;
use hanzo_attestation::{Anchors, Collateral, Nonce, RawEvidence, UnixTime};
use hanzo_kbs_protocol::{GRANT_PURPOSE, Grant, WrapKey};
use hanzo_pqc::hpke::{KemSuite, PublicKey};
use hanzo_pqc::suites_for_tier;
use hanzo_verifier::{VerifierContext, verify_rcar};

use crate::{KeyPolicy, Refusal};

/// What the guest asks for and proves it with.
#[derive(Debug)]
pub struct Ask<'a> {
    /// The key.
    pub key_id: &'a KeyId,
    /// The session's challenge.
    pub nonce: Nonce,
    /// What the evidence commits to: the challenge's text and the wrapping key's object.
    pub runtime: RcarRuntime<'a>,
    /// The wrapping key, read from that object.
    pub wrap_key: &'a WrapKey,
    /// The evidence as it came.
    pub evidence: RawEvidence,
}

/// The newest version of the key as the store has it.
#[derive(Debug)]
pub struct Stored<'a> {
    /// Its version, from 1.
    pub version: u64,
    /// Its release policy.
    pub policy: &'a KeyPolicy,
    /// True once its owner withdrew it.
    pub revoked: bool,
}

/// What was granted before, read in the transaction that will record this decision.
#[derive(Debug, Clone, Copy)]
pub struct Uses {
    /// Grants of this version so far.
    pub count: u64,
    /// True if this wrapping key is among them.
    pub includes_recipient: bool,
}

/// The moment of the decision.
#[derive(Debug)]
pub struct Moment<'a> {
    /// Roots that count.
    pub anchors: &'a Anchors,
    /// Revocation lists at hand.
    pub collateral: &'a Collateral,
    /// The broker's clock.
    pub now: UnixTime,
}

/// The decision to release one version of a key to one guest. Only [`authorize`] makes one, and it is used once:
/// ```compile_fail,E0451
/// use hanzo_kbs_protocol::Grant;
/// use hanzo_pqc::hpke::PublicKey;
/// fn forge(grant: Grant, to: PublicKey) -> hanzo_vault::ReleaseGrant {
///     hanzo_vault::ReleaseGrant { grant, to }
/// }
/// ```
/// ```compile_fail,E0599
/// fn twice(grant: hanzo_vault::ReleaseGrant) -> hanzo_vault::ReleaseGrant {
///     grant.clone()
/// }
/// ```
#[derive(Debug)]
pub struct ReleaseGrant {
    grant: Grant,
    to: PublicKey,
}

impl ReleaseGrant {
    /// What was decided.
    pub fn grant(&self) -> &Grant {
        &self.grant
    }

    pub(crate) fn into_parts(self) -> (Grant, PublicKey) {
        (self.grant, self.to)
    }
}

/// Decides whether this guest gets this key, now.
///
/// # Establishes
/// The evidence is authentic, answers this session's challenge, commits to this wrapping key and reaches the key's
/// policy with the collateral and clock of this moment; the key is alive, has uses left, and was not granted to this
/// wrapping key before.
///
/// # Errors
/// [`Refusal`].
pub fn authorize(ask: Ask<'_>, key: &Stored<'_>, uses: Uses, moment: &Moment<'_>) -> Result<ReleaseGrant, Refusal> {
    let policy = key.policy;
    let key_id = || ask.key_id.clone();
    if key.revoked {
        return Err(Refusal::Revoked { key_id: key_id() });
    }
    let context = VerifierContext {
        anchors: moment.anchors.clone(),
        collateral: moment.collateral.clone(),
        policy: policy.appraisal.clone(),
    };
    let result = verify_rcar(ask.evidence, &ask.runtime, &context, moment.now)?;
    if result.simulated() && !policy.allow_simulated {
        return Err(Refusal::Simulated { key_id: key_id() });
    }
    if moment.now.0 > policy.not_after {
        return Err(Refusal::KeyExpired {
            key_id: key_id(),
            not_after: policy.not_after,
            now: moment.now.0,
        });
    }
    let version = key.version;
    if uses.includes_recipient {
        return Err(Refusal::Repeated {
            key_id: key_id(),
            version,
        });
    }
    if uses.count >= policy.max_uses {
        return Err(Refusal::UsedUp {
            key_id: key_id(),
            version,
            max_uses: policy.max_uses,
        });
    }
    let tier = result.tier().number();
    let to = ask.wrap_key.public_key();
    let required = suites_for_tier(tier).0;
    if to.suite() != required && to.suite() != KemSuite::MlKem1024P384 {
        return Err(Refusal::WeakSuite {
            tier,
            what: required.name(),
        });
    }
    let grant = Grant {
        key_id: key_id(),
        key_version: version,
        kbs_time: moment.now.0,
        nonce: ask.nonce,
        not_after: policy.grant_not_after(moment.now),
        policy_digest: policy.digest()?,
        purpose: GRANT_PURPOSE.to_owned(),
        recipient: ask.wrap_key.recipient(),
        simulated: result.simulated(),
        subject: policy.subject.clone(),
        tier,
    };
    Ok(ReleaseGrant { grant, to: to.clone() })
}
