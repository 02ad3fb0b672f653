//! Mitigation vectors (report version 5): bits that must be set at launch and now.

use super::{Case, RuleFailure, below_cpu_tee};

pub(super) fn check(case: &Case<'_>) -> Option<RuleFailure> {
    let asked = &case.table.mitigations;
    let report = case.report();
    let missing: Vec<_> = [
        ("LAUNCH_MIT_VECTOR", report.launch_mitigations),
        ("CURRENT_MIT_VECTOR", report.current_mitigations),
    ]
    .into_iter()
    .filter_map(|(field, vector)| {
        let bits: Vec<_> = asked
            .iter()
            .filter(|bit| vector.unwrap_or(0).checked_shr(u32::from(**bit)).unwrap_or(0) & 1 == 0)
            .collect();
        let got = vector.map_or_else(|| "none (report before version 5)".to_owned(), |v| format!("{v:#018x}"));
        (!bits.is_empty()).then(|| format!("{field}: expected bits {bits:?}, got {got}"))
    })
    .collect();
    (!missing.is_empty()).then(|| {
        below_cpu_tee(
            "snp.mitigations",
            missing.join("; "),
            "the operator must apply the mitigations and launch the guest again",
        )
    })
}
