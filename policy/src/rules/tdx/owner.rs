//! MRCONFIGID, MROWNER and MROWNERCONFIG: what the host wrote at creation.

use hanzo_attestation::Digest384;

use super::{Case, RuleFailure, below_cpu_tee};
use crate::policy::AllowList;

pub(super) fn check_config_id(case: &Case<'_>) -> Option<RuleFailure> {
    let table = case.table;
    field(
        "tdx.mr_config_id",
        "MRCONFIGID",
        &table.mr_config_id,
        case.claims.mr_config_id,
    )
}

pub(super) fn check_owner(case: &Case<'_>) -> Option<RuleFailure> {
    field("tdx.mr_owner", "MROWNER", &case.table.mr_owner, case.claims.mr_owner)
}

pub(super) fn check_owner_config(case: &Case<'_>) -> Option<RuleFailure> {
    let table = case.table;
    field(
        "tdx.mr_owner_config",
        "MROWNERCONFIG",
        &table.mr_owner_config,
        case.claims.mr_owner_config,
    )
}

fn field(code: &'static str, name: &str, list: &AllowList<Digest384>, got: [u8; 48]) -> Option<RuleFailure> {
    let got = Digest384(got);
    (!list.admits(&got)).then(|| {
        below_cpu_tee(
            code,
            format!("{name}: expected {}, got {got}", list.describe()),
            "the operator must create the guest with a listed value; or list this one",
        )
    })
}
