//! Without a revocation list nobody knows whether the certificates still count.

use hanzo_attestation::Revocation;

use super::{RuleFailure, below_cpu_tee};
use crate::facts::Facts;
use crate::policy::{AppraisalPolicy, RevocationPolicy};

pub(super) fn check(facts: &Facts, policy: &AppraisalPolicy) -> Option<RuleFailure> {
    (facts.revocation == Revocation::NoList && policy.revocation == RevocationPolicy::Required).then(|| {
        below_cpu_tee(
            "revocation.missing",
            "certificate revocation list: expected a fresh one for this product, got none".into(),
            "give the verifier AMD's CRL for the product, or have the guest staple it",
        )
    })
}
