//! XFAM: which processor state the guest may use.

use super::{Case, RuleFailure, below_cpu_tee};

/// x87 and SSE: a guest cannot be created without them.
const FP_AND_SSE: u64 = 3;

pub(super) fn check_required(case: &Case<'_>) -> Option<RuleFailure> {
    let got = case.claims.xfam;
    (got & FP_AND_SSE != FP_AND_SSE).then(|| {
        below_cpu_tee(
            "tdx.xfam.required",
            format!("XFAM bits 0 (FP) and 1 (SSE): expected 1, got {got:#018x}"),
            "a value that no TDX module would accept: the quote is not of a launch that Intel describes",
        )
    })
}

pub(super) fn check_allowed(case: &Case<'_>) -> Option<RuleFailure> {
    let (allowed, got) = (case.table.xfam_allowed.0, case.claims.xfam);
    (got & !allowed != 0).then(|| {
        below_cpu_tee(
            "tdx.xfam.not_allowed",
            format!("XFAM: expected no bits outside {allowed:#018x}, got {got:#018x}"),
            "the operator must create the guest with less processor state; or widen `tdx.xfam_allowed`",
        )
    })
}
