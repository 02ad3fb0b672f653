//! The firmware id of the certificate, repeated in the report. Switches state none.

use hanzo_attestation::nvidia::Fwid;

use super::{Case, RuleFailure, each_device};
use crate::policy::Presence;

pub(super) fn check(case: &Case<'_>) -> Option<RuleFailure> {
    if case.table.fwid == Presence::AcceptMissing {
        return None;
    }
    each_device(
        case.facts.gpus.iter().copied(),
        "gpu.fwid",
        "use a driver that states it (550 or newer); or write `fwid = \"accept-missing\"`",
        |d| (d.fwid == Fwid::Absent).then(|| "FWID: expected the certificate's in the report, got none".to_owned()),
    )
}
