//! What a bundle says that answers nobody's challenge.

use hanzo_attestation::keyset::Keyset;
use hanzo_attestation::{Bound, Claims, Digest384, UnixTime};
use hanzo_policy::release::VerifiedRelease;
use hanzo_policy::{Appraisal, PrivacyTier};

use crate::result::Proven;
use crate::view::VerdictView;

/// A bundle was read: freshness `none`. Good for receipts and for auditors; no client and no broker accepts it, because it
/// is not an [`crate::AttestationResult`] and cannot become one.
#[derive(Debug)]
pub struct Reading {
    pub(crate) proven: Proven,
    pub(crate) appraisal: Appraisal,
    pub(crate) undated: bool,
    pub(crate) read_at: UnixTime,
    pub(crate) release: Option<VerifiedRelease>,
}

impl Reading {
    /// The tier that the evidence reaches apart from freshness.
    pub fn tier_if_fresh(&self) -> PrivacyTier {
        self.appraisal.tier_if_fresh()
    }

    /// True if the evidence's root is not a vendor's, or the keyset says so of itself.
    pub fn simulated(&self) -> bool {
        self.appraisal.is_simulated()
    }

    /// True if the keyset is past its end: then nothing but the guest's own word says when it was alive, and today's
    /// revocations were applied.
    pub fn undated(&self) -> bool {
        self.undated
    }

    /// The keyset that the evidence proves.
    pub fn keyset(&self) -> Option<&Keyset> {
        self.proven.keyset.as_deref()
    }

    /// The launch measurement.
    pub fn measurement(&self) -> Digest384 {
        self.proven.measurement()
    }

    /// The claims and what they are bound to.
    pub fn bound(&self) -> &Bound<Claims> {
        &self.proven.bound
    }

    /// The release that the reference values came from, if the policy names a line of releases.
    pub fn release(&self) -> Option<&VerifiedRelease> {
        self.release.as_ref()
    }

    /// The guest's configuration text.
    pub fn config_text(&self) -> Option<&str> {
        self.proven.config.as_deref()
    }

    /// The appraisal; its tier is below 2 because freshness is missing.
    pub fn appraisal(&self) -> &Appraisal {
        &self.appraisal
    }

    /// Everything worth showing.
    pub fn view(&self) -> VerdictView {
        VerdictView::of_reading(self)
    }
}
