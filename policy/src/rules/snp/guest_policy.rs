//! Bits of POLICY that the policy names, and bits that nobody here knows.

use super::{Case, RuleFailure, below_cpu_tee};

pub(super) fn check(case: &Case<'_>) -> Option<RuleFailure> {
    let wrong = case.table.guest_policy.wrong(case.report().policy);
    (!wrong.is_empty()).then(|| {
        below_cpu_tee(
            "snp.policy.bits",
            format!("POLICY {}", wrong.join("; ")),
            "the operator must launch the guest with the policy bits that `snp.guest_policy` asks for",
        )
    })
}

pub(super) fn check_unknown(case: &Case<'_>) -> Option<RuleFailure> {
    let unknown = case.table.guest_policy.unknown(case.report().policy);
    (unknown != 0).then(|| {
        below_cpu_tee(
            "snp.policy.unknown_bits",
            format!("POLICY bits without a name in this version: expected 0, got {unknown:#018x}"),
            "use a newer verifier, or write `unknown = \"accept\"` in `snp.guest_policy` if you know what they mean",
        )
    })
}
