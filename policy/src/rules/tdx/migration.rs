//! A migration TD sees the guest's memory, and none is part of the reference image.

use super::{Case, RuleFailure, below_cpu_tee};

const MIGRATABLE: u64 = 1 << 29;

pub(super) fn check(case: &Case<'_>) -> Option<RuleFailure> {
    (case.claims.td_attributes & MIGRATABLE != 0).then(|| {
        below_cpu_tee(
            "tdx.migratable",
            "TDATTRIBUTES bit 29 (MIGRATABLE): expected 0, got 1: a migration TD may take this guest's memory".into(),
            "the operator must create the guest without the migratable attribute",
        )
    })
}
