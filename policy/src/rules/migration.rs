//! A migration agent sees the guest's memory, and no agent is part of the reference image.

use super::{RuleFailure, below_cpu_tee, guest_policy};
use crate::facts::Facts;
use crate::policy::AppraisalPolicy;

pub(super) fn check(facts: &Facts, _: &AppraisalPolicy) -> Option<RuleFailure> {
    (facts.guest_policy & guest_policy::MIGRATE_MA != 0).then(|| {
        below_cpu_tee(
            "snp.migratable",
            "POLICY bit 18 (MIGRATE_MA): expected 0, got 1: a migration agent may take this guest's memory".into(),
            "the operator must launch the guest without a migration agent",
        )
    })
}
