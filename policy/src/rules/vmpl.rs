//! A report from a lower privilege level speaks for less of the guest.

use super::{RuleFailure, below_cpu_tee};
use crate::facts::Facts;
use crate::policy::AppraisalPolicy;

pub(super) fn check(facts: &Facts, policy: &AppraisalPolicy) -> Option<RuleFailure> {
    let got = facts.vmpl;
    (!policy.vmpl.contains(&got)).then(|| {
        below_cpu_tee(
            "snp.vmpl",
            format!("VMPL: expected one of {:?}, got {got}", policy.vmpl),
            "ask a guest whose attesting kernel runs at the level that the policy names",
        )
    })
}
