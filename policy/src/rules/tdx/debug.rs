//! Bits 0 to 7 of TDATTRIBUTES are the TUD group: with any of them the guest is under debug or profiling and not trusted.

use super::{Case, RuleFailure, below_cpu_tee};

const TD_UNDER_DEBUG: u64 = 0xff;

pub(super) fn check(case: &Case<'_>) -> Option<RuleFailure> {
    let set = case.claims.td_attributes & TD_UNDER_DEBUG;
    (set != 0).then(|| {
        below_cpu_tee(
            "tdx.debug",
            format!(
                "TDATTRIBUTES bits 7:0 (TUD; bit 0 is DEBUG): expected 0, got {set:#04x}: the host can look into this guest"
            ),
            "the operator must create the guest without the debug and profiling attributes",
        )
    })
}
