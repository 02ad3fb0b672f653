//! SNP firmware: which version runs, and whether it can still be taken back.

use hanzo_attestation::snp::FirmwareVersion;

use super::{Case, RuleFailure, below_cpu_tee};
use crate::policy::Admission;

pub(super) fn check_provisional(case: &Case<'_>) -> Option<RuleFailure> {
    let report = case.report();
    let same = report.current_firmware == report.committed_firmware && report.current_tcb == report.committed_tcb;
    (!same && case.table.provisional_firmware == Admission::Refuse).then(|| {
        below_cpu_tee(
            "snp.firmware.provisional",
            format!(
                "CURRENT and COMMITTED firmware: expected the same, got {} (TCB {}) and {} (TCB {})",
                say(report.current_firmware),
                report.current_tcb,
                say(report.committed_firmware),
                report.committed_tcb
            ),
            "the operator must commit the firmware (SNP_COMMIT): until then it can be taken back to an older one",
        )
    })
}

pub(super) fn check_minimum(case: &Case<'_>) -> Option<RuleFailure> {
    let floor = case.table.minimum_firmware;
    let least = (floor.major, floor.minor, floor.build);
    let below: Vec<_> = [
        ("CURRENT", case.report().current_firmware),
        ("COMMITTED", case.report().committed_firmware),
    ]
    .into_iter()
    .filter(|(_, got)| (got.major, got.minor, got.build) < least)
    .map(|(field, got)| {
        format!(
            "{field}_MAJOR.MINOR.BUILD: expected at least {}.{}.{}, got {}",
            floor.major,
            floor.minor,
            floor.build,
            say(got)
        )
    })
    .collect();
    (!below.is_empty()).then(|| {
        below_cpu_tee(
            "snp.firmware.below_minimum",
            below.join("; "),
            "the operator must update the platform's SNP firmware and commit it",
        )
    })
}

fn say(version: FirmwareVersion) -> String {
    format!("{}.{}.{}", version.major, version.minor, version.build)
}
