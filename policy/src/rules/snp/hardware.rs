//! The hardware allow-list: a VCEK names its chip, a VLEK only its provider. A masked CHIP_ID is never on a list.

use hanzo_attestation::snp::SigningKey;

use super::{Case, RuleFailure, below_cpu_tee};
use crate::hardware::ChipId;
use crate::policy::AllowList;

pub(super) fn check(case: &Case<'_>) -> Option<RuleFailure> {
    match case.claims.signing_key {
        SigningKey::Vcek => check_chip(case),
        SigningKey::Vlek => check_provider(case),
    }
}

fn check_chip(case: &Case<'_>) -> Option<RuleFailure> {
    let AllowList::Listed(ids) = &case.table.hardware else {
        return None;
    };
    let chip = ChipId::new(case.report().chip_id);
    (!chip.is_some_and(|id| ids.contains(&id))).then(|| {
        below_cpu_tee(
            "snp.hardware",
            format!(
                "CHIP_ID: expected one of the {} chips that the policy lists, got {}",
                ids.len(),
                chip.map_or_else(|| "a masked id (all zeros)".to_owned(), |id| id.to_string())
            ),
            "add the chip to `snp.hardware`, or write `hardware = \"any\"` if every genuine chip will do",
        )
    })
}

fn check_provider(case: &Case<'_>) -> Option<RuleFailure> {
    let provider = case.claims.provider.as_ref();
    let admitted = match (&case.table.vlek_providers, provider) {
        (AllowList::Any, _) => true,
        (AllowList::Listed(names), Some(name)) => names.contains(name),
        (AllowList::Listed(_), None) => false,
    };
    (!admitted).then(|| {
        below_cpu_tee(
            "snp.vlek.provider",
            format!(
                "cspID: a provider's VLEK signed, which names no chip: expected {}, got {}",
                case.table.vlek_providers.describe(),
                provider.map_or("none", String::as_str)
            ),
            "add the provider to `snp.vlek_providers` if you trust each of its machines",
        )
    })
}
