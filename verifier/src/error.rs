//! Why evidence was not accepted, grouped by whose fault.

use hanzo_attestation::evidence::Class;
use hanzo_attestation::foreign::ForeignError;
use hanzo_attestation::jcs::JcsError;
use hanzo_attestation::ratls::RatlsError;
use hanzo_attestation::{AttestationError, BindingError};
use hanzo_policy::release::ReleaseError;
use hanzo_policy::{PrivacyTier, RuleFailure};

use crate::help;
use crate::view::VerdictView;

/// Why there is no [`crate::AttestationResult`].
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The bundle is not of the format.
    #[error(transparent)]
    Bundle(#[from] JcsError),
    /// A document in another project's format could not be taken apart.
    #[error(transparent)]
    Foreign(#[from] ForeignError),
    /// The evidence is malformed or not authentic.
    #[error(transparent)]
    Evidence(#[from] AttestationError),
    /// The evidence does not belong to this challenge, keyset or session.
    #[error(transparent)]
    Binding(#[from] BindingError),
    /// A certificate that carries no evidence in the format known, or evidence of another key.
    #[error(transparent)]
    Ratls(#[from] RatlsError),
    /// The bundle answers no challenge at all.
    #[error("freshness: expected the challenge that was drawn, got a bundle that answers none")]
    Unchallenged,
    /// An earlier result is asked about a time after its end.
    #[error("attestation result: valid until {valid_until}, now is {now}")]
    Stale {
        /// Its last second.
        valid_until: u64,
        /// The verifier's clock.
        now: u64,
    },
    /// The policy names a line of releases, and the release that was given does not count.
    #[error(transparent)]
    Release(#[from] ReleaseError),
    /// Authentic, bound, and not good enough.
    #[error("{0}")]
    Refused(Box<Refusal>),
}

/// What the policy refused, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub(crate) required: PrivacyTier,
    pub(crate) reached: PrivacyTier,
    pub(crate) failures: Vec<RuleFailure>,
    pub(crate) view: VerdictView,
}

impl Refusal {
    /// The policy's minimum.
    pub fn required(&self) -> PrivacyTier {
        self.required
    }

    /// What the evidence reached.
    pub fn reached(&self) -> PrivacyTier {
        self.reached
    }

    /// Every failed rule between the two.
    pub fn failures(&self) -> &[RuleFailure] {
        &self.failures
    }

    /// What the evidence says, for showing.
    pub fn view(&self) -> &VerdictView {
        &self.view
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "refused by policy: expected at least tier {}, got tier {}",
            self.required, self.reached
        )?;
        for failure in &self.failures {
            write!(f, "; {}: {}", failure.code, failure.text)?;
        }
        Ok(())
    }
}

impl VerifyError {
    /// Stable dotted code. Of a refusal: the code of the first rule that failed; [`VerifyError::failures`] has all.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Bundle(JcsError::TooLarge { .. }) => "bundle.too_large",
            Self::Bundle(JcsError::Shape { .. }) => "bundle.malformed",
            Self::Bundle(JcsError::NotCanonical { .. }) => "bundle.not_canonical",
            Self::Foreign(e) => e.code(),
            Self::Evidence(e) => e.code(),
            Self::Binding(e) => e.code(),
            Self::Ratls(e) => e.code(),
            Self::Unchallenged => "freshness.none",
            Self::Stale { .. } => "freshness.stale",
            Self::Release(e) => e.code(),
            Self::Refused(refusal) => refusal.failures.first().map_or("policy.refused", |f| f.code),
        }
    }

    /// Whose fault.
    pub fn class(&self) -> Class {
        match self {
            Self::Bundle(_) => Class::Malformed,
            Self::Foreign(e) => e.class(),
            Self::Evidence(e) => e.class(),
            Self::Binding(e) => e.class(),
            Self::Ratls(e) => e.class(),
            Self::Unchallenged | Self::Stale { .. } => Class::Unbound,
            Self::Release(e) => e.class(),
            Self::Refused(_) => Class::Refused,
        }
    }

    /// Exit code of `hanzo-verify` (DESIGN section 8): 10 malformed, 20 not authentic, 30 stale or unbound, 40 refused.
    pub fn exit_code(&self) -> u8 {
        match self.class() {
            Class::Malformed => 10,
            Class::NotAuthentic => 20,
            Class::Unbound => 30,
            Class::Refused => 40,
        }
    }

    /// Every rule that failed; empty unless policy refused.
    pub fn failures(&self) -> &[RuleFailure] {
        match self {
            Self::Refused(refusal) => &refusal.failures,
            _ => &[],
        }
    }

    /// What a person can do about it.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Refused(refusal) => refusal
                .failures
                .first()
                .map_or("ask for a lower tier, or for another guest", |f| f.help),
            Self::Release(e) => e.help(),
            _ => help::of(self.code(), self.class()),
        }
    }
}
