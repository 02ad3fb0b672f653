//! Device families that the policy accepts.

use super::{Case, RuleFailure, each_device};
use crate::policy::gpu::Architecture;

pub(super) fn check(case: &Case<'_>) -> Option<RuleFailure> {
    let accepted = &case.table.architectures;
    each_device(
        case.facts.devices(),
        "gpu.architecture",
        "add the family to `gpu.architectures` if its confidential mode is good enough",
        |d| {
            let got = Architecture::from(d.arch);
            (!accepted.contains(&got)).then(|| format!("expected one of {accepted:?}, got {got:?}"))
        },
    )
}
