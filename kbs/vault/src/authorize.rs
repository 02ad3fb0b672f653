//! The decision.

use std::borrow::Cow;

use hanzo_attestation::Digest384;
use hanzo_attestation::binding::RcarRuntime;
use hanzo_attestation::name::KeyId;
use hanzo_attestation::{Anchors, Collateral, Nonce, UnixTime};
use hanzo_kbs_protocol::{GRANT_PURPOSE, Grant, SessionEvidence, WrapKey};
use hanzo_policy::release::{ReleaseError, VerifiedRelease};
use hanzo_policy::{AppraisalPolicy, PrivacyTier};
use hanzo_pqc::hpke::{KemSuite, PublicKey};
use hanzo_verifier::{AttestationResult, verify_rcar_with};

use crate::claims::{Proof, Readers};
use crate::rules::{self, ImageVersion, Question};
use crate::{Budget, KeyPolicy, Refusal, StoredPolicy, TenantPolicy, Wrap};

/// What the guest asks for and proves it with.
#[derive(Debug)]
pub struct Ask<'a> {
    /// The key.
    pub key_id: &'a KeyId,
    /// The session's challenge.
    pub nonce: Nonce,
    /// What the evidence commits to: the challenge's text and the wrapping key's object.
    pub runtime: RcarRuntime<'a>,
    /// Who it goes to, read from that object.
    pub recipient: Recipient<'a>,
    /// The evidence as it came. The caller lets the sample TEE's in only where a configuration says so.
    pub evidence: &'a SessionEvidence,
    /// What this very evidence was found to be for this very session, in the second of the decision and with its roots and
    /// collateral; the caller answers for all of that. The key's own policy judges it anew. `None`: it is verified here.
    pub verified: Option<&'a AttestationResult>,
}

/// The guest's key, by what can be made of it.
#[derive(Debug, Clone, Copy)]
pub enum Recipient<'a> {
    /// An HPKE key of this project's guests.
    Hpke(&'a WrapKey),
    /// SHA-384 of the canonical key object of an ML-KEM JWE key.
    Akp(Digest384),
    /// SHA-384 of the canonical key object of an EC or RSA key.
    Classical(Digest384),
}

impl Recipient<'_> {
    /// How a secret travels to this key.
    pub fn wrap(&self) -> Wrap {
        match self {
            Self::Hpke(_) => Wrap::Hpke,
            Self::Akp(_) => Wrap::Akp,
            Self::Classical(_) => Wrap::Classical,
        }
    }

    /// The key's name in grants and counts.
    pub fn digest(&self) -> Digest384 {
        match self {
            Self::Hpke(key) => key.recipient(),
            Self::Akp(digest) | Self::Classical(digest) => *digest,
        }
    }

    pub(crate) fn suite(&self) -> Option<KemSuite> {
        match self {
            Self::Hpke(key) => Some(key.public_key().suite()),
            Self::Akp(_) | Self::Classical(_) => None,
        }
    }
}

/// The newest version of the key as the store has it.
#[derive(Debug)]
pub struct Stored<'a> {
    /// Its version, from 1.
    pub version: u64,
    /// Its release policy.
    pub policy: &'a StoredPolicy,
    /// True once its owner withdrew it.
    pub revoked: bool,
    /// The Rego module that its tenant put over all its keys, if it put one.
    pub tenant: Option<&'a TenantPolicy>,
    /// The newest release of the line that its policy names, verified under that policy, or why it was not; `None` for a
    /// policy that names none, and where nobody has given the broker one.
    pub release: Option<Result<&'a VerifiedRelease, &'a ReleaseError>>,
}

/// What was granted before: read in the transaction that will record this decision, or [`Budget::check`] is asked again there.
#[derive(Debug, Clone, Copy)]
pub struct Uses {
    /// Grants of this version so far.
    pub count: u64,
    /// True if this wrapping key is among them.
    pub includes_recipient: bool,
    /// The newest image version that any version of the key was granted to.
    pub newest_image: Option<u64>,
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
///     hanzo_vault::ReleaseGrant { grant, to, image: None, budget: unimplemented!() }
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
    to: To,
    image: Option<ImageVersion>,
    budget: Budget,
}

#[derive(Debug)]
pub(crate) enum To {
    Hpke(PublicKey),
    Jwe(Wrap),
}

impl ReleaseGrant {
    /// What was decided.
    pub fn grant(&self) -> &Grant {
        &self.grant
    }

    /// How the secret travels.
    pub fn wrap(&self) -> Wrap {
        match &self.to {
            To::Hpke(_) => Wrap::Hpke,
            To::Jwe(wrap) => *wrap,
        }
    }

    /// The version of the image that gets the key. The caller records it with the grant: no older image gets the key again.
    pub fn image(&self) -> Option<ImageVersion> {
        self.image
    }

    /// The rules that earlier grants decide, for the transaction that records this one.
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    pub(crate) fn into_parts(self) -> (Grant, To) {
        (self.grant, self.to)
    }
}

/// Decides whether this guest gets this key, now.
///
/// # Establishes
/// The evidence is authentic, answers this session's challenge, commits to this wrapping key and reaches the key's
/// policy with the collateral and clock of this moment; its image is none that is older than one that got the key before;
/// the policy names this way of wrapping, and its Rego module and the tenant's, where there is one, each allow the release as well; the key is alive
/// and in its time, has uses left, and was not granted to this wrapping key before.
///
/// # Errors
/// [`Refusal`], the first of the rules that says no.
pub fn authorize(ask: Ask<'_>, key: &Stored<'_>, uses: Uses, moment: &Moment<'_>) -> Result<ReleaseGrant, Refusal> {
    let policy: &KeyPolicy = key.policy;
    if key.revoked {
        return Err(Refusal::Revoked {
            key_id: ask.key_id.clone(),
        });
    }
    let appraisal = in_force(key, ask.key_id, moment.now)?;
    let proof = prove(&ask, Readers(policy, key.tenant), &appraisal, moment)?;
    let reference = proof.reference.as_deref();
    let image = rules::image_of(policy, reference, key.release.and_then(Result::ok));
    let budget = Budget::new((ask.key_id, key.version), policy, image, reference);
    let question = Question {
        key_id: ask.key_id,
        policy,
        budget: &budget,
        wrap: ask.recipient.wrap(),
        suite: ask.recipient.suite(),
        uses,
        proof: &proof,
        tenant: key.tenant,
        now: moment.now,
    };
    for rule in rules::ALL {
        rule(&question)?;
    }
    let grant = Grant {
        key_id: ask.key_id.clone(),
        key_version: key.version,
        kbs_time: moment.now.0,
        nonce: ask.nonce,
        not_after: policy.grant_not_after(moment.now),
        policy_digest: key.policy.digest(),
        purpose: GRANT_PURPOSE.to_owned(),
        recipient: ask.recipient.digest(),
        simulated: proof.simulated,
        subject: policy.subject.clone(),
        tier: proof.tier,
    };
    Ok(ReleaseGrant {
        grant,
        to: match ask.recipient {
            Recipient::Hpke(key) => To::Hpke(key.public_key().clone()),
            Recipient::Akp(_) | Recipient::Classical(_) => To::Jwe(ask.recipient.wrap()),
        },
        image,
        budget,
    })
}

/// The key's appraisal policy, with the references of its release if it names a line of releases: alive, and under a head
/// that is young enough, at this moment.
fn in_force<'a>(key: &Stored<'a>, key_id: &KeyId, now: UnixTime) -> Result<Cow<'a, AppraisalPolicy>, Refusal> {
    let policy: &'a KeyPolicy = key.policy;
    let Some(asked) = &policy.appraisal.release else {
        return Ok(Cow::Borrowed(&policy.appraisal));
    };
    let missing = ReleaseError::Missing {
        expected: asked.name.clone(),
    };
    match key.release.unwrap_or(Err(&missing)) {
        Ok(release) => release.apply(&policy.appraisal, now).map(Cow::Owned),
        Err(e) => Err(e.clone()),
    }
    .map_err(|why| Refusal::Release {
        key_id: key_id.clone(),
        why,
    })
}

fn prove(
    ask: &Ask<'_>,
    readers: Readers<'_>,
    appraisal: &AppraisalPolicy,
    moment: &Moment<'_>,
) -> Result<Proof, Refusal> {
    match ask.evidence {
        SessionEvidence::Signed { raw, .. } => {
            let result = match ask.verified {
                Some(before) if before.verified_at() == moment.now => before.reappraise(appraisal, moment.now)?,
                _ => {
                    let with = (moment.anchors, moment.collateral, appraisal);
                    verify_rcar_with(raw.as_ref().clone(), &ask.runtime, with, moment.now)?
                }
            };
            Ok(Proof::of_result(&result, readers))
        }
        // It proves nothing: simulated, and of the tier that asks for nothing.
        SessionEvidence::Sample(sample) => {
            sample.check(&ask.runtime)?;
            match appraisal.minimum_tier {
                PrivacyTier::Open => Ok(Proof::of_sample()),
                _ => Err(Refusal::Sample {
                    key_id: ask.key_id.clone(),
                }),
            }
        }
    }
}
