//! Why a key was not released.

use hanzo_attestation::jcs::JcsError;
use hanzo_attestation::name::KeyId;
use hanzo_verifier::VerifyError;

/// Why a key was not released. The peer gets [`Refusal::code`]; the log gets that and [`Refusal::failed_rules`].
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The evidence, its binding, or the policy.
    #[error(transparent)]
    Evidence(#[from] VerifyError),
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
            Self::Simulated { .. } => "kbs.simulated",
            Self::Repeated { .. } => "kbs.grant.repeated",
            Self::UsedUp { .. } => "kbs.key.used_up",
            Self::KeyExpired { .. } => "kbs.key.expired",
            Self::Revoked { .. } => "kbs.key.revoked",
            Self::Unknown { .. } => "kbs.key.unknown",
            Self::WeakSuite { .. } => "kbs.wrap.suite",
            Self::Jcs(_) => "kbs.internal",
        }
    }

    /// Whether the evidence was simulated, if it was authentic: the flag follows refused evidence into the log as well.
    pub fn simulated(&self) -> Option<bool> {
        match self {
            Self::Simulated { .. } => Some(true),
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
            other => vec![other.code()],
        }
    }
}
