//! POLICY names the least ABI of the firmware that the guest runs under.

use super::{Case, RuleFailure, below_cpu_tee};
use crate::policy::bits::abi_of;

pub(super) fn check(case: &Case<'_>) -> Option<RuleFailure> {
    let (major, minor) = abi_of(case.report().policy);
    let least = case.table.minimum_abi;
    ((major, minor) < (least.major, least.minor)).then(|| {
        below_cpu_tee(
            "snp.policy.abi",
            format!(
                "POLICY bits 15:0 (ABI_MAJOR, ABI_MINOR): expected at least {}.{}, got {major}.{minor}",
                least.major, least.minor
            ),
            "the operator must launch the guest with a policy that asks for this firmware ABI",
        )
    })
}
