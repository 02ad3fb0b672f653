//! A migration agent sees the guest's memory, and no agent is part of the reference image.

use hanzo_attestation::snp::GuestPolicy;

use super::{Case, RuleFailure, below_cpu_tee};

pub(super) fn check(case: &Case<'_>) -> Option<RuleFailure> {
    GuestPolicy(case.report().policy).migrate_ma().then(|| {
        below_cpu_tee(
            "snp.migratable",
            "POLICY bit 18 (MIGRATE_MA): expected 0, got 1: a migration agent may take this guest's memory".into(),
            "the operator must launch the guest without a migration agent",
        )
    })
}
