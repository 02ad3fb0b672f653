//! Launch measurement: of a guest, one of the references; of a paravisor, one of the paravisors.

use hanzo_attestation::Digest384;

use super::{Case, RuleFailure, below_cpu_tee};
use crate::facts::Kind;

pub(super) fn check(case: &Case<'_>) -> Option<RuleFailure> {
    let got = Digest384(case.report().measurement);
    if case.facts.kind == Kind::Paravisor {
        let known = &case.table.paravisors;
        return (!known.iter().any(|p| p.measurement == got)).then(|| {
            below_cpu_tee(
                "snp.paravisor",
                format!("MEASUREMENT: expected one of {} paravisors, got {got}", known.len()),
                "add the paravisor's measurement to `snp.paravisors` only if its maker published it",
            )
        });
    }
    let known = &case.table.references;
    (!known.iter().any(|r| r.measurement == got)).then(|| {
        below_cpu_tee(
            "snp.measurement",
            format!("MEASUREMENT: expected one of {} reference values, got {got}", known.len()),
            "another image, kernel, command line or firmware was launched: add its reference value only if you built it",
        )
    })
}
