//! The raw feature flag (opaque field 36). NVIDIA's own tools read its values differently, so it is compared raw.

use super::{Case, RuleFailure, each_device};
use crate::policy::AllowList;

pub(super) fn check(case: &Case<'_>) -> Option<RuleFailure> {
    let AllowList::Listed(flags) = &case.table.feature_flags else {
        return None;
    };
    each_device(
        case.facts.gpus.iter().copied(),
        "gpu.feature_flag",
        "set the GPU up in a listed mode; or add the value to `gpu.feature_flags`",
        |d| {
            let admitted = d.feature_flag.is_some_and(|f| flags.contains(&f));
            let got = d.feature_flag.map_or_else(|| "none".to_owned(), |f| f.to_string());
            (!admitted).then(|| format!("feature flag: expected one of {flags:?}, got {got}"))
        },
    )
}
