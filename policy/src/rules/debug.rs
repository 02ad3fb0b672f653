//! A guest that its host may debug is a guest that its host may read.

use super::{RuleFailure, below_cpu_tee, guest_policy};
use crate::facts::Facts;
use crate::policy::AppraisalPolicy;

pub(super) fn check(facts: &Facts, _: &AppraisalPolicy) -> Option<RuleFailure> {
    (facts.guest_policy & guest_policy::DEBUG != 0).then(|| {
        below_cpu_tee(
            "snp.debug",
            "POLICY bit 19 (DEBUG): expected 0, got 1: the host can decrypt this guest's memory".into(),
            "the operator must launch the guest without the debug policy bit",
        )
    })
}
