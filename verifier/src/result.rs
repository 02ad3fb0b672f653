//! The verdict: what was proven, and which tier it reached.

use std::sync::Arc;

use hanzo_attestation::bundle::Bundle;
use hanzo_attestation::keyset::Keyset;
use hanzo_attestation::snp::{Product, SigningKey};
use hanzo_attestation::{Binding, Bound, Claims, Collateral, Digest384, UnixTime};
use hanzo_policy::release::VerifiedRelease;
use hanzo_policy::{Appraisal, AppraisalPolicy, ChipId, PrivacyTier, RuleFailure};

use crate::error::VerifyError;
use crate::in_force::InForce;
use crate::verify::decide;
use crate::view::VerdictView;

/// Authentic, bound claims with the documents that they prove.
#[derive(Debug)]
pub(crate) struct Proven {
    pub(crate) bound: Bound<Claims>,
    pub(crate) keyset: Option<Arc<Keyset>>,
    pub(crate) config: Option<String>,
}

impl Proven {
    pub(crate) fn of_bundle(bound: Bound<Claims>, bundle: Bundle) -> Self {
        Self {
            bound,
            keyset: Some(Arc::new(bundle.keyset)),
            config: Some(bundle.config),
        }
    }

    pub(crate) fn of_session(bound: Bound<Claims>) -> Self {
        Self {
            bound,
            keyset: None,
            config: None,
        }
    }

    pub(crate) fn measurement(&self) -> Digest384 {
        self.bound.claims().measurement()
    }

    pub(crate) fn product(&self) -> Option<Product> {
        self.bound.claims().snp().map(|snp| snp.product)
    }

    /// The provider that a VLEK belongs to.
    pub(crate) fn provider(&self) -> Option<&str> {
        self.bound.claims().snp()?.provider.as_deref()
    }

    /// A VLEK names no chip, and neither does a masked id.
    pub(crate) fn chip_id(&self) -> Option<ChipId> {
        let snp = self.bound.claims().snp()?;
        match snp.signing_key {
            SigningKey::Vcek => ChipId::new(snp.report.chip_id),
            SigningKey::Vlek => None,
        }
    }
}

/// A guest was verified: its evidence is authentic, belongs to the caller's challenge, and reaches the policy's minimum.
///
/// # Establishes
/// A genuine processor, or a simulator if [`AttestationResult::simulated`], signed this keyset (or this broker session's
/// key) after the caller drew the challenge; the guest reaches [`AttestationResult::tier`] at
/// [`AttestationResult::verified_at`].
///
/// # Does not establish
/// Anything after [`AttestationResult::valid_until`], or who is at the other end of a connection.
///
/// Only `verify_bundle`, `verify_rcar` and [`AttestationResult::reappraise`] make one:
/// ```compile_fail,E0451
/// use hanzo_verifier::AttestationResult;
/// fn forge(proven: AttestationResult) -> AttestationResult {
///     AttestationResult { valid_until: hanzo_attestation::UnixTime(u64::MAX), ..proven }
/// }
/// ```
/// and a reading never becomes one:
/// ```compile_fail,E0277
/// use hanzo_verifier::{AttestationResult, Reading};
/// fn trust(reading: Reading) -> AttestationResult {
///     reading.into()
/// }
/// ```
#[derive(Debug, Clone)]
pub struct AttestationResult {
    pub(crate) proven: Arc<Proven>,
    pub(crate) appraisal: Appraisal,
    pub(crate) release: Option<VerifiedRelease>,
    pub(crate) verified_at: UnixTime,
    pub(crate) valid_until: UnixTime,
}

impl AttestationResult {
    /// The tier reached; at least the policy's minimum.
    pub fn tier(&self) -> PrivacyTier {
        self.appraisal.tier()
    }

    /// True if the evidence's root is not a vendor's, or the keyset says so of itself. Nothing clears it.
    pub fn simulated(&self) -> bool {
        self.appraisal.is_simulated()
    }

    /// The processor's product line; `None` unless AMD's.
    pub fn product(&self) -> Option<Product> {
        self.proven.product()
    }

    /// What was started, as one digest: see `Claims::measurement`.
    pub fn measurement(&self) -> Digest384 {
        self.proven.measurement()
    }

    /// The chip, 128 lower-case hex digits; `None` if it is masked or signed by a provider's VLEK.
    pub fn chip_id_hex(&self) -> Option<String> {
        self.proven.chip_id().map(|id| id.to_string())
    }

    /// The keyset that the evidence proves; `None` for a broker's session.
    pub fn keyset(&self) -> Option<&Keyset> {
        self.proven.keyset.as_deref()
    }

    /// SHA-384(JCS(keyset)); `None` for a broker's session.
    pub fn keyset_digest(&self) -> Option<Digest384> {
        match self.proven.bound.binding() {
            Binding::Keyset { keyset_digest, .. } => Some(*keyset_digest),
            Binding::Rcar { .. } | Binding::Foreign { .. } => None,
        }
    }

    /// The guest's configuration text, whose digest the keyset states; `None` for a broker's session.
    pub fn config_text(&self) -> Option<&str> {
        self.proven.config.as_deref()
    }

    /// The policy's name for the image and configuration. `None` only below tier 2.
    pub fn reference_name(&self) -> Option<&str> {
        self.appraisal.reference().map(|n| n.as_str())
    }

    /// The verifier's clock when it decided.
    pub fn verified_at(&self) -> UnixTime {
        self.verified_at
    }

    /// Last second at which this result counts: the policy's `max_age_s` later, or the keyset's end if that is sooner.
    pub fn valid_until(&self) -> UnixTime {
        self.valid_until
    }

    /// The rules that keep the guest below the tiers above.
    pub fn failures_above(&self) -> impl Iterator<Item = &RuleFailure> {
        self.appraisal.failures_above()
    }

    /// The appraisal with its ladder and all failed rules.
    pub fn appraisal(&self) -> &Appraisal {
        &self.appraisal
    }

    /// The claims and what they are bound to.
    pub fn bound(&self) -> &Bound<Claims> {
        &self.proven.bound
    }

    /// The release that the reference values came from, if the policy names a line of releases.
    pub fn release(&self) -> Option<&VerifiedRelease> {
        self.release.as_ref()
    }

    /// Judges the same claims by another policy at a later time: a broker decides at the moment of release. The new result
    /// ends no later than this one. A policy that names a line of releases must have one applied to it before.
    ///
    /// # Errors
    /// [`VerifyError::Release`] without a release that the policy asks for; [`VerifyError::Stale`] after [`AttestationResult::valid_until`]; [`VerifyError::Refused`] with all failed rules.
    pub fn reappraise(&self, policy: &AppraisalPolicy, now: UnixTime) -> Result<Self, VerifyError> {
        if now > self.valid_until || now < self.verified_at {
            return Err(VerifyError::Stale {
                valid_until: self.valid_until.0,
                now: now.0,
            });
        }
        let in_force = InForce::at(policy, &Collateral::default(), now)?;
        let mut result = decide(Arc::clone(&self.proven), &in_force, self.verified_at)?;
        result.valid_until = result.valid_until.min(self.valid_until);
        if now > result.valid_until {
            return Err(VerifyError::Stale {
                valid_until: result.valid_until.0,
                now: now.0,
            });
        }
        Ok(result)
    }

    /// Everything worth showing, for JSON and for people.
    pub fn view(&self) -> VerdictView {
        VerdictView::of_result(self)
    }
}
