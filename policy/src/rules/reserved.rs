//! POLICY bit 17 is reserved and one; anything else is a layout that these rules do not know.

use super::{RuleFailure, below_cpu_tee, guest_policy};
use crate::facts::Facts;
use crate::policy::AppraisalPolicy;

pub(super) fn check(facts: &Facts, _: &AppraisalPolicy) -> Option<RuleFailure> {
    (facts.guest_policy & guest_policy::RESERVED_ONE == 0).then(|| {
        below_cpu_tee(
            "snp.policy.reserved",
            format!(
                "POLICY bit 17 (reserved): expected 1, got 0 in {:#018x}",
                facts.guest_policy
            ),
            "a guest policy that firmware would not accept: the report is not from a launch that AMD 56860 describes",
        )
    })
}
