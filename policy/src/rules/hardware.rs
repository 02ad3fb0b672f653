//! The hardware allow-list. A masked CHIP_ID and a VLEK name no chip, so they are never on a list.

use hanzo_attestation::snp::SigningKey;

use super::{RuleFailure, below_cpu_tee};
use crate::facts::Facts;
use crate::hardware::HardwareList;
use crate::policy::AppraisalPolicy;

pub(super) fn check(facts: &Facts, policy: &AppraisalPolicy) -> Option<RuleFailure> {
    let HardwareList::Listed(ids) = &policy.hardware else {
        return None;
    };
    let failure = |got: String| {
        Some(below_cpu_tee(
            "snp.hardware",
            format!(
                "CHIP_ID: expected one of the {} chips that the policy lists, got {got}",
                ids.len()
            ),
            "add the chip to `hardware`, or write `hardware = \"any\"` if every genuine chip will do",
        ))
    };
    match (facts.signing_key, facts.chip) {
        (SigningKey::Vlek, _) => failure("a report signed by a provider's VLEK, which names no chip".into()),
        (SigningKey::Vcek, None) => failure("a masked id (all zeros)".into()),
        (SigningKey::Vcek, Some(id)) if !ids.contains(&id) => failure(id.to_string()),
        (SigningKey::Vcek, Some(_)) => None,
    }
}
