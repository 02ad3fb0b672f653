//! HOST_DATA: what the host wrote at launch.

use hanzo_attestation::Digest256;

use super::{Case, RuleFailure, below_cpu_tee};

pub(super) fn check(case: &Case<'_>) -> Option<RuleFailure> {
    let got = Digest256(case.report().host_data);
    (!case.table.host_data.admits(&got)).then(|| {
        below_cpu_tee(
            "snp.host_data",
            format!("HOST_DATA: expected {}, got {got}", case.table.host_data.describe()),
            "the operator must launch the guest with a listed HOST_DATA; or list this one",
        )
    })
}
