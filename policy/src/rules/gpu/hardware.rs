//! The hardware allow-list, by UEID or by the identity that no firmware update changes.

use super::{Case, RuleFailure, each_device};
use crate::hardware::Ueid;
use crate::policy::AllowList;

pub(super) fn check(case: &Case<'_>) -> Option<RuleFailure> {
    let AllowList::Listed(ids) = &case.table.hardware else {
        return None;
    };
    each_device(
        case.facts.devices(),
        "gpu.hardware",
        "add the device to `gpu.hardware`, or write `hardware = \"any\"` if every genuine device will do",
        |d| {
            let named = |id: &Ueid| *id.as_str() == d.ueid || *id.as_str() == d.device_id;
            (!ids.iter().any(named)).then(|| {
                format!(
                    "UEID or device id: expected one of the {} that the policy lists, got {} ({})",
                    ids.len(),
                    d.ueid,
                    d.device_id
                )
            })
        },
    )
}
