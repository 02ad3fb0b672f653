//! The policy that counts at one moment: the caller's own, or the one that a release fills in.

use std::borrow::Cow;

use hanzo_attestation::name::Name;
use hanzo_attestation::{Collateral, UnixTime};
use hanzo_policy::AppraisalPolicy;
use hanzo_policy::release::{ReleaseBundle, ReleaseError, VerifiedRelease};

/// A policy whose references are there, with the release that they came from.
pub(crate) struct InForce<'a> {
    pub(crate) policy: Cow<'a, AppraisalPolicy>,
    pub(crate) release: Option<VerifiedRelease>,
}

impl<'a> InForce<'a> {
    /// Verifies the release at hand if the policy names a line of releases; judged anew for every verdict, so that nothing
    /// outlives its end.
    pub(crate) fn at(
        policy: &'a AppraisalPolicy,
        collateral: &Collateral,
        now: UnixTime,
    ) -> Result<Self, ReleaseError> {
        let Some(asked) = &policy.release else {
            return Ok(Self {
                policy: Cow::Borrowed(policy),
                release: None,
            });
        };
        let bytes = collateral.release.as_deref().ok_or_else(|| ReleaseError::Missing {
            expected: asked.name.clone(),
        })?;
        let release = ReleaseBundle::parse(bytes)?.verify(asked)?;
        Ok(Self {
            policy: Cow::Owned(release.apply(policy, now)?),
            release: Some(release),
        })
    }

    /// A guest may do nothing that no image of its release may.
    pub(crate) fn check_capabilities(&self, capabilities: &[Name]) -> Result<(), ReleaseError> {
        self.release
            .as_ref()
            .map_or(Ok(()), |release| release.check_capabilities(capabilities))
    }
}
