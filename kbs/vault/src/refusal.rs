//! Why a key was not released.

use hanzo_attestation::jcs::JcsError;
use hanzo_attestation::name::{KeyId, Name};
use hanzo_kbs_protocol::SessionBindingError;
use hanzo_policy::release::ReleaseError;
use hanzo_rego::RegoError;
use hanzo_verifier::VerifyError;

/// Why a key was not released. The peer gets [`Refusal::code`]; the log gets that and [`Refusal::failed_rules`].
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The evidence, its binding, or the policy.
    #[error(transparent)]
    Evidence(#[from] VerifyError),
    /// Sample evidence for another session.
    #[error(transparent)]
    Session(#[from] SessionBindingError),
    /// The sample TEE, and the key asks for more than nothing.
    #[error("evidence is the sample TEE's, which reaches tier 0, and key {key_id} asks for more")]
    Sample {
        /// The key.
        key_id: KeyId,
    },
    /// A secret that is no data key, asked for with a key that data keys alone are wrapped to.
    #[error(
        "key {key_id} is a resource and no data key of 32 bytes: ask for it with an EC, RSA or ML-KEM-768 tee-pubkey"
    )]
    NotADataKey {
        /// The key.
        key_id: KeyId,
    },
    /// Simulated evidence, and the key was not made for that.
    #[error("evidence is simulated and key {key_id} was made without allow_simulated, which cannot be changed")]
    Simulated {
        /// The key.
        key_id: KeyId,
    },
    /// This wrapping key already got this version.
    #[error(
        "key {key_id} version {version} was already granted to this wrapping key: a guest that lost the reply starts again with a new wrapping key"
    )]
    Repeated {
        /// The key.
        key_id: KeyId,
        /// Its version.
        version: u64,
    },
    /// All uses are gone.
    #[error("key {key_id} version {version}: all {max_uses} uses are gone: put a new version or a policy with more")]
    UsedUp {
        /// The key.
        key_id: KeyId,
        /// Its version.
        version: u64,
        /// The policy's bound.
        max_uses: u64,
    },
    /// Past its end.
    #[error("key {key_id}: not_after {not_after} has passed, now is {now}: put a policy with a later end")]
    KeyExpired {
        /// The key.
        key_id: KeyId,
        /// Its last second.
        not_after: u64,
        /// The broker's clock.
        now: u64,
    },
    /// Before its time.
    #[error("key {key_id}: not_before {not_before} is ahead, now is {now}")]
    KeyNotYet {
        /// The key.
        key_id: KeyId,
        /// Its first second.
        not_before: u64,
        /// The broker's clock.
        now: u64,
    },
    /// The policy is another tenant's.
    #[error("key {key_id}: its policy is of tenant {tenant}: put a policy of the key's own tenant")]
    Tenant {
        /// The key.
        key_id: KeyId,
        /// Whose the policy is.
        tenant: Name,
    },
    /// The image has no version, and the key asks for one.
    #[error(
        "key {key_id}: image version: expected {minimum} or more, got none: image_versions does not name reference {reference}"
    )]
    ImageUnversioned {
        /// The key.
        key_id: KeyId,
        /// The reference that matched.
        reference: String,
        /// The lowest version that gets the key.
        minimum: u64,
    },
    /// The image is older than the policy accepts.
    #[error(
        "key {key_id}: image version: expected {minimum} or more (minimum_image_version), got {got}: update the guest"
    )]
    ImageTooOld {
        /// The key.
        key_id: KeyId,
        /// The policy's floor.
        minimum: u64,
        /// The image's.
        got: u64,
    },
    /// The image is older than one that the key was granted to.
    #[error(
        "key {key_id}: image version: the key was granted to {newest} before, got {got}: an older image was put back"
    )]
    ImageRolledBack {
        /// The key.
        key_id: KeyId,
        /// The newest that got the key.
        newest: u64,
        /// The image's.
        got: u64,
    },
    /// The policy does not name this way of wrapping.
    #[error("key {key_id}: wrap: expected one of {allowed}, got {got}: nothing but what the policy names is used")]
    Wrap {
        /// The key.
        key_id: KeyId,
        /// What the policy names.
        allowed: String,
        /// What the guest's key can be used for.
        got: &'static str,
    },
    /// The release that the policy names does not count now.
    #[error("key {key_id}: {why}")]
    Release {
        /// The key.
        key_id: KeyId,
        /// Why not.
        why: ReleaseError,
    },
    /// The policy's Rego module did not allow it.
    #[error("key {key_id}: {why}")]
    Rego {
        /// The key.
        key_id: KeyId,
        /// How it ended.
        why: RegoError,
    },
    /// The tenant's Rego module did not allow it.
    #[error("key {key_id}: the resource policy of its tenant: {why}")]
    TenantRego {
        /// The key.
        key_id: KeyId,
        /// How it ended.
        why: RegoError,
    },
    /// Withdrawn by its owner.
    #[error("key {key_id} was revoked: put a new version")]
    Revoked {
        /// The key.
        key_id: KeyId,
    },
    /// No such key.
    #[error("there is no key {key_id}")]
    Unknown {
        /// What was asked for.
        key_id: KeyId,
    },
    /// The wrapping key's or the broker's suite is too weak for the tier.
    #[error("tier {tier} requires {what}: start the guest with a wrapping key (or the broker with signing keys) of it")]
    WeakSuite {
        /// The tier reached.
        tier: u8,
        /// The suite that the tier requires.
        what: &'static str,
    },
    /// A document has no canonical form.
    #[error(transparent)]
    Jcs(#[from] JcsError),
}

impl Refusal {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Evidence(e) => e.code(),
            Self::Session(e) => e.code(),
            Self::Sample { .. } => "kbs.sample",
            Self::NotADataKey { .. } => "kbs.key.not_a_data_key",
            Self::Simulated { .. } => "kbs.simulated",
            Self::Repeated { .. } => "kbs.grant.repeated",
            Self::UsedUp { .. } => "kbs.key.used_up",
            Self::KeyExpired { .. } => "kbs.key.expired",
            Self::KeyNotYet { .. } => "kbs.key.not_yet",
            Self::Tenant { .. } => "kbs.key.tenant",
            Self::ImageUnversioned { .. } => "kbs.image.unversioned",
            Self::ImageTooOld { .. } => "kbs.image.too_old",
            Self::ImageRolledBack { .. } => "kbs.image.rolled_back",
            Self::Wrap { .. } => "kbs.wrap.not_allowed",
            Self::Release { why, .. } => why.code(),
            Self::Rego { why, .. } => why.code(),
            Self::TenantRego { .. } => "kbs.tenant_policy",
            Self::Revoked { .. } => "kbs.key.revoked",
            Self::Unknown { .. } => "kbs.key.unknown",
            Self::WeakSuite { .. } => "kbs.wrap.suite",
            Self::Jcs(_) => "kbs.internal",
        }
    }

    /// Whether the evidence was simulated, if it was authentic: the flag follows refused evidence into the log as well.
    pub fn simulated(&self) -> Option<bool> {
        match self {
            Self::Simulated { .. } | Self::Sample { .. } => Some(true),
            Self::Evidence(VerifyError::Refused(refused)) => Some(refused.view().simulated),
            _ => None,
        }
    }

    /// The tier reached, if it was the policy that refused.
    pub fn tier(&self) -> Option<u8> {
        match self {
            Self::Evidence(VerifyError::Refused(refused)) => Some(refused.reached().number()),
            _ => None,
        }
    }

    /// Codes of every rule that failed, for the log.
    pub fn failed_rules(&self) -> Vec<&'static str> {
        match self {
            Self::Evidence(e) if !e.failures().is_empty() => e.failures().iter().map(|f| f.code).collect(),
            Self::TenantRego { why, .. } => vec![self.code(), why.code()],
            other => vec![other.code()],
        }
    }
}
