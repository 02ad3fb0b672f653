//! The allow-list of attestation keys, for TPMs alone. Under a paravisor the hardware is the processor.

use super::{Case, RuleFailure, of_primary};
use crate::facts::Kind;

pub(super) fn check(case: &Case<'_>) -> Option<RuleFailure> {
    let ak = case.claims.ak;
    (case.facts.kind == Kind::Tpm && !case.table.hardware.admits(&ak)).then(|| {
        of_primary(
            case.facts,
            "tpm.hardware",
            format!("AK: expected {}, got {ak}", case.table.hardware.describe()),
            "add the key to `tpm.hardware`, or write `hardware = \"any\"` if every key that the anchors vouch for will do",
        )
    })
}
