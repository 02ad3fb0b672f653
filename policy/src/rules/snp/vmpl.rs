//! A report from a lower privilege level speaks for less of the guest. A paravisor that is not at level 0 is not the one
//! that holds the guest's vTPM.

use super::{Case, RuleFailure, below_cpu_tee};
use crate::facts::Kind;

pub(super) fn check(case: &Case<'_>) -> Option<RuleFailure> {
    let got = case.report().vmpl;
    let admitted = &case.table.vmpl;
    let below_paravisor = case.facts.kind == Kind::Paravisor && got != 0;
    (below_paravisor || !admitted.contains(&got)).then(|| {
        let expected = if below_paravisor {
            "0 of a paravisor".to_owned()
        } else {
            format!("one of {admitted:?}")
        };
        below_cpu_tee(
            "snp.vmpl",
            format!("VMPL: expected {expected}, got {got}"),
            "ask a guest whose attesting kernel runs at the level that the policy names",
        )
    })
}
