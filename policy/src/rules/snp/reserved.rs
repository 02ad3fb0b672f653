//! POLICY bit 17 is reserved and one; anything else is a layout that these rules do not know.

use hanzo_attestation::snp::GuestPolicy;

use super::{Case, RuleFailure, below_cpu_tee};

pub(super) fn check(case: &Case<'_>) -> Option<RuleFailure> {
    let policy = case.report().policy;
    (!GuestPolicy(policy).reserved_one()).then(|| {
        below_cpu_tee(
            "snp.policy.reserved",
            format!("POLICY bit 17 (reserved): expected 1, got 0 in {policy:#018x}"),
            "a guest policy that firmware would not accept: the report is not from a launch that AMD 56860 describes",
        )
    })
}
