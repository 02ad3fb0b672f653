//! The least driver version: a RIM says that a driver is NVIDIA's, not that it is recent.

use super::{Case, RuleFailure, each_device};
use crate::policy::number::DottedVersion;

pub(super) fn check(case: &Case<'_>) -> Option<RuleFailure> {
    let least = &case.table.minimum_driver;
    each_device(
        case.facts.gpus.iter().copied(),
        "gpu.driver",
        "the image must have a newer driver",
        |d| {
            let got = d.driver_version.as_deref();
            let new_enough = got.and_then(DottedVersion::parse).is_some_and(|v| v >= *least);
            (!new_enough).then(|| {
                format!(
                    "driver version: expected at least {least}, got {}",
                    got.unwrap_or("none")
                )
            })
        },
    )
}
