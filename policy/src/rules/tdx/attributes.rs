//! Bits of TDATTRIBUTES that the policy names, and bits that nobody here knows.

use super::{Case, RuleFailure, below_cpu_tee};

pub(super) fn check(case: &Case<'_>) -> Option<RuleFailure> {
    let wrong = case.table.attributes.wrong(case.claims.td_attributes);
    (!wrong.is_empty()).then(|| {
        below_cpu_tee(
            "tdx.attributes.bits",
            format!("TDATTRIBUTES {}", wrong.join("; ")),
            "the operator must create the guest with the attributes that `tdx.attributes` asks for",
        )
    })
}

pub(super) fn check_unknown(case: &Case<'_>) -> Option<RuleFailure> {
    let unknown = case.table.attributes.unknown(case.claims.td_attributes);
    (unknown != 0).then(|| {
        below_cpu_tee(
            "tdx.attributes.unknown_bits",
            format!("TDATTRIBUTES bits without a name in this version: expected 0, got {unknown:#018x}"),
            "use a newer verifier, or write `unknown = \"accept\"` in `tdx.attributes` if you know what they mean",
        )
    })
}
