//! The quoted registers are those of one reference: each that the reference names, with its value.
//!
//! The SHA-256 bank says which image it is. Where the references of that image state registers of the SHA-384 bank too, the
//! quote must select these as well: whoever could make two images with one SHA-256 value would need both with one SHA-384.

use super::{Case, RuleFailure, of_primary};
use crate::policy::tpm::TpmReference;
use crate::rules::reference;

pub(super) fn check(case: &Case<'_>) -> Option<RuleFailure> {
    let known = &case.table.references;
    (!known.iter().any(|r| reference::has_sha256(case.claims, r))).then(|| {
        let nearest = known
            .iter()
            .map(|r| {
                let wrong: Vec<_> = r
                    .pcrs
                    .0
                    .iter()
                    .filter(|(index, value)| case.claims.pcrs.get(index) != Some(&value.0))
                    .map(|(index, _)| match case.claims.pcrs.contains_key(index) {
                        true => format!("PCR{index}"),
                        false => format!("PCR{index} (not quoted)"),
                    })
                    .collect();
                (wrong.len(), format!("{}: {}", r.name, wrong.join(", ")))
            })
            .min()
            .map_or_else(String::new, |(_, text)| format!("; nearest differs in {text}"));
        of_primary(
            case.facts,
            "tpm.pcrs",
            format!(
                "PCRs: expected those of one of {} reference values, got others{nearest}",
                known.len()
            ),
            "another image, kernel, command line or firmware was started: add its reference value only if you built it",
        )
    })
}

/// The other bank of the references that the SHA-256 bank matches.
pub(super) fn check_sha384(case: &Case<'_>) -> Option<RuleFailure> {
    let table = &case.table.references;
    let matched: Vec<_> = table.iter().filter(|r| reference::has_sha256(case.claims, r)).collect();
    if matched.is_empty() || !reference::measured(case.facts, case.policy).is_empty() {
        return None;
    }
    let quoted = &case.claims.pcrs_sha384;
    let named = |reference: &TpmReference, is_wrong: fn(Option<&[u8; 48]>, &[u8; 48]) -> bool| {
        let wrong = reference.pcrs_sha384.0.iter();
        let wrong = wrong.filter(|(index, value)| is_wrong(quoted.get(index), &value.0));
        let names: Vec<_> = wrong.map(|(index, _)| format!("PCR{index}")).collect();
        (!names.is_empty()).then(|| format!("{}: {}", reference.name, names.join(", ")))
    };
    let differing: Vec<_> = matched
        .iter()
        .filter_map(|r| named(r, |got, value| got.is_some_and(|got| got != value)))
        .collect();
    if !differing.is_empty() {
        return Some(of_primary(
            case.facts,
            "tpm.pcrs.sha384",
            format!(
                "PCRs (SHA-384): expected those of the reference that the SHA-256 bank equals, got others in {}",
                differing.join("; ")
            ),
            "the banks tell of different images: do not trust this machine before somebody has found out why",
        ));
    }
    let missing: Vec<_> = matched
        .iter()
        .filter_map(|r| named(r, |got, _| got.is_none()))
        .collect();
    Some(of_primary(
        case.facts,
        "tpm.pcrs.sha384.not_quoted",
        format!(
            "PCRs (SHA-384): expected a quote that selects them too, got none of {}",
            missing.join("; ")
        ),
        "the guest must quote both banks: does its TPM keep a SHA-384 bank, and does its event log tell it?",
    ))
}
