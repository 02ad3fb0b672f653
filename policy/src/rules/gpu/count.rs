//! Completeness: as many GPUs and switches as the policy says there are.

use super::{Case, RuleFailure, below_gpu_cc};

pub(super) fn check_gpus(case: &Case<'_>) -> Option<RuleFailure> {
    let (expected, got) = (case.table.gpus, case.facts.gpus.len());
    (!expected.admits(got)).then(|| {
        below_gpu_cc(
            "gpu.count",
            format!("GPUs: expected {expected}, got {got}"),
            "every GPU that the guest can see must be in its evidence; or change `gpu.gpus`",
        )
    })
}

pub(super) fn check_switches(case: &Case<'_>) -> Option<RuleFailure> {
    let (expected, got) = (case.table.switches, case.facts.switches.len());
    (!expected.admits(got)).then(|| {
        below_gpu_cc(
            "gpu.switch_count",
            format!("switches: expected {expected}, got {got}"),
            "every switch that the guest can see must be in its evidence; or change `gpu.switches`",
        )
    })
}
