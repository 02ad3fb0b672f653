//! Without a revocation list nobody knows whether the certificates still count.
//!
//! A TDX quote is authentic only with Intel's lists, so it always has them. A TPM key that the caller pinned has no
//! certificate in between that a list could name.

use hanzo_attestation::Revocation;
use hanzo_attestation::tpm::AkOrigin;

use super::{RuleFailure, of_primary};
use crate::facts::{Facts, Kind};
use crate::policy::{AppraisalPolicy, RevocationPolicy};

pub(super) fn check(facts: &Facts<'_>, policy: &AppraisalPolicy) -> Option<RuleFailure> {
    let pinned = facts.kind == Kind::Tpm && facts.tpm.is_some_and(|t| t.ak_origin == AkOrigin::Pinned);
    let unknown = facts.revocation == Revocation::NoList && !pinned;
    (unknown && policy.revocation == RevocationPolicy::Required).then(|| {
        of_primary(
            facts,
            "revocation.missing",
            "certificate revocation list: expected a fresh one for these certificates, got none".into(),
            "SNP: give the verifier AMD's CRL for the product, or have the guest staple it. TPM: pin the key itself, or \
             write `revocation = \"accept-missing\"`",
        )
    })
}
