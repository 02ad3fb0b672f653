//! GUEST_SVN: the security version that the ID block gives the guest.

use super::{Case, RuleFailure, below_cpu_tee};

pub(super) fn check(case: &Case<'_>) -> Option<RuleFailure> {
    let (least, got) = (case.table.guest_svn_minimum, case.report().guest_svn);
    (got < least).then(|| {
        below_cpu_tee(
            "snp.guest_svn",
            format!("GUEST_SVN: expected at least {least}, got {got}"),
            "the operator must launch an image whose ID block has a newer security version",
        )
    })
}
