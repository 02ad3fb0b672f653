//! The TDX module: signed by Intel, without attributes of its own, and, where the policy lists modules, one of them.

use hanzo_attestation::Digest384;

use super::{Case, RuleFailure, below_cpu_tee};

pub(super) fn check_signer(case: &Case<'_>) -> Option<RuleFailure> {
    let got = case.claims.mr_signer_seam;
    (got != [0; 48]).then(|| {
        below_cpu_tee(
            "tdx.mr_signer_seam",
            format!("MRSIGNERSEAM: expected zero (Intel), got {}", Digest384(got)),
            "the platform must run Intel's own TDX module",
        )
    })
}

pub(super) fn check_attributes(case: &Case<'_>) -> Option<RuleFailure> {
    let got = case.claims.seam_attributes;
    (got != 0).then(|| {
        below_cpu_tee(
            "tdx.seam_attributes",
            format!("SEAMATTRIBUTES: expected 0, got {got:#018x}: a debug module, or one that nobody here knows"),
            "the platform must run Intel's production TDX module",
        )
    })
}

pub(super) fn check_measurement(case: &Case<'_>) -> Option<RuleFailure> {
    let got = Digest384(case.claims.mr_seam);
    (!case.table.mr_seam.admits(&got)).then(|| {
        below_cpu_tee(
            "tdx.mr_seam",
            format!("MRSEAM: expected {}, got {got}", case.table.mr_seam.describe()),
            "the operator must load a listed TDX module; or list this one",
        )
    })
}
