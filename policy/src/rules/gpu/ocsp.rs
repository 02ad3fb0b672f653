//! What NVIDIA's OCSP answers say of the certificates. Revoked ones never come this far.

use hanzo_attestation::nvidia::OcspOutcome;

use super::{Case, RuleFailure, each_device};
use crate::policy::{Admission, Presence};

pub(super) fn check_missing(case: &Case<'_>) -> Option<RuleFailure> {
    if case.table.ocsp == Presence::AcceptMissing {
        return None;
    }
    each_device(
        case.facts.devices(),
        "gpu.ocsp.missing",
        "staple NVIDIA's OCSP answers to the bundle; or write `ocsp = \"accept-missing\"`",
        |d| {
            (d.ocsp == OcspOutcome::NoAnswer)
                .then(|| "OCSP: expected a good answer for each certificate, got none for at least one".to_owned())
        },
    )
}

pub(super) fn check_on_hold(case: &Case<'_>) -> Option<RuleFailure> {
    if case.table.on_hold == Admission::Accept {
        return None;
    }
    each_device(
        case.facts.devices(),
        "gpu.ocsp.on_hold",
        "ask NVIDIA why; or write `on_hold = \"accept\"` to take the risk",
        |d| {
            (d.ocsp == OcspOutcome::OnHold)
                .then(|| "OCSP: expected good, got revoked with the reason certificateHold".to_owned())
        },
    )
}
