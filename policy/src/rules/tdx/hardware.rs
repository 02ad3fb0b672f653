//! The hardware allow-list, by PPID.

use super::{Case, RuleFailure, below_cpu_tee};
use crate::hardware::Ppid;
use crate::policy::AllowList;

pub(super) fn check(case: &Case<'_>) -> Option<RuleFailure> {
    let AllowList::Listed(ids) = &case.table.hardware else {
        return None;
    };
    let platform = Ppid::new(case.claims.ppid);
    (!platform.is_some_and(|id| ids.contains(&id))).then(|| {
        below_cpu_tee(
            "tdx.hardware",
            format!(
                "PPID: expected one of the {} platforms that the policy lists, got {}",
                ids.len(),
                platform.map_or_else(|| "all zeros".to_owned(), |id| id.to_string())
            ),
            "add the platform to `tdx.hardware`, or write `hardware = \"any\"` if every genuine platform will do",
        )
    })
}
