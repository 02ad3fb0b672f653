//! A guest that its host may debug is a guest that its host may read.

use hanzo_attestation::snp::GuestPolicy;

use super::{Case, RuleFailure, below_cpu_tee};

pub(super) fn check(case: &Case<'_>) -> Option<RuleFailure> {
    GuestPolicy(case.report().policy).debug().then(|| {
        below_cpu_tee(
            "snp.debug",
            "POLICY bit 19 (DEBUG): expected 0, got 1: the host can decrypt this guest's memory".into(),
            "the operator must launch the guest without the debug policy bit",
        )
    })
}
