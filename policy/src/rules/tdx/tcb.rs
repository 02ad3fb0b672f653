//! The platform's TCB as Intel's collateral judges it, and floors of the policy's own.

use super::{Case, RuleFailure, below_cpu_tee};
use crate::policy::number::Svn;
use crate::policy::tdx::AcceptedStatus;

pub(super) fn check_status(case: &Case<'_>) -> Option<RuleFailure> {
    let got = case.claims.tcb_status;
    let accepted = &case.table.tcb_statuses;
    (!AcceptedStatus::of(got).is_some_and(|s| accepted.contains(&s))).then(|| {
        below_cpu_tee(
            "tdx.tcb.status",
            format!("tcbStatus: expected one of {accepted:?}, got {got:?}"),
            "the operator must update the platform (Revoked: replace it); or add the status to `tdx.tcb_statuses`",
        )
    })
}

pub(super) fn check_advisories(case: &Case<'_>) -> Option<RuleFailure> {
    let listed = &case.table.advisories;
    let open: Vec<_> = case
        .claims
        .advisories
        .iter()
        .filter(|a| !listed.contains(a))
        .map(String::as_str)
        .collect();
    (!open.is_empty()).then(|| {
        below_cpu_tee(
            "tdx.tcb.advisory",
            format!(
                "advisoryIDs: expected none but the {} that the policy lists, got {}",
                listed.len(),
                open.join(", ")
            ),
            "read the advisories at Intel; list them in `tdx.advisories` if they do not concern your guest",
        )
    })
}

pub(super) fn check_evaluation(case: &Case<'_>) -> Option<RuleFailure> {
    let (least, got) = (
        case.table.minimum_tcb_evaluation_data_number,
        case.claims.tcb_evaluation_data_number,
    );
    (got < least).then(|| {
        below_cpu_tee(
            "tdx.tcb.evaluation_data_number",
            format!("tcbEvaluationDataNumber: expected at least {least}, got {got}: the collateral is too old"),
            "fetch newer collateral (TCB info with `update=early`)",
        )
    })
}

pub(super) fn check_floor(case: &Case<'_>) -> Option<RuleFailure> {
    let Svn(floor) = case.table.tee_tcb_svn_floor;
    let second = case.claims.td15.as_ref().map(|td15| td15.tee_tcb_svn2);
    let below: Vec<_> = [("TEE_TCB_SVN", Some(case.claims.tee_tcb_svn)), ("TEE_TCB_SVN2", second)]
        .into_iter()
        .filter_map(|(field, svn)| Some((field, svn?)))
        .flat_map(|(field, svn)| {
            svn.into_iter()
                .zip(floor)
                .enumerate()
                .filter(|(_, (got, least))| got < least)
                .map(move |(i, (got, least))| format!("{field}[{i}]: expected at least {least}, got {got}"))
        })
        .collect();
    (!below.is_empty()).then(|| {
        below_cpu_tee(
            "tdx.tcb.below_floor",
            below.join("; "),
            "the operator must update the TDX module and SEAM loader, and launch the guest again",
        )
    })
}
