//! The measurements are those of NVIDIA's signed reference values (RIMs) for driver and VBIOS. Nothing else reaches tier 3.
//!
//! No field of a report says that confidential mode is on and its developer variant off, and it is not published which
//! measurement depends on it. The guest's agent asks the driver before it takes a GPU into use, and that agent is measured by
//! tier 2: without it this rule would not be enough.

use hanzo_attestation::nvidia::RimOutcome;

use super::{Case, RuleFailure, each_device};

pub(super) fn check_missing(case: &Case<'_>) -> Option<RuleFailure> {
    each_device(
        case.facts.devices(),
        "gpu.rim.missing",
        "staple the RIM files to the bundle, or give them to the verifier",
        |d| match &d.rim {
            RimOutcome::Missing { ids } => Some(format!("RIM: expected {}, got none", ids.join(" and "))),
            _ => None,
        },
    )
}

pub(super) fn check_mismatch(case: &Case<'_>) -> Option<RuleFailure> {
    each_device(
        case.facts.devices(),
        "gpu.rim.mismatch",
        "driver or firmware is not what NVIDIA released, or confidential mode is off or in its developer variant",
        |d| match &d.rim {
            RimOutcome::Mismatch { indexes, ids } => Some(format!(
                "measurements: expected those of {}, got others at indexes {indexes:?}",
                ids.join(" and ")
            )),
            _ => None,
        },
    )
}
