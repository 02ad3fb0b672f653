//! Bits of PLATFORM_INFO that the policy names, and bits that nobody here knows.

use super::{Case, RuleFailure, below_cpu_tee};

pub(super) fn check(case: &Case<'_>) -> Option<RuleFailure> {
    let wrong = case.table.platform_info.wrong(case.report().platform_info);
    (!wrong.is_empty()).then(|| {
        below_cpu_tee(
            "snp.platform.bits",
            format!("PLATFORM_INFO {}", wrong.join("; ")),
            "the operator must set the platform up as `snp.platform_info` asks (BIOS settings)",
        )
    })
}

pub(super) fn check_unknown(case: &Case<'_>) -> Option<RuleFailure> {
    let unknown = case.table.platform_info.unknown(case.report().platform_info);
    (unknown != 0).then(|| {
        below_cpu_tee(
            "snp.platform.unknown_bits",
            format!("PLATFORM_INFO bits without a name in this version: expected 0, got {unknown:#018x}"),
            "use a newer verifier, or write `unknown = \"accept\"` in `snp.platform_info` if you know what they mean",
        )
    })
}
