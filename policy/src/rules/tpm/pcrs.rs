//! The quoted registers are those of one reference: each that the reference names, with its value.

use super::{Case, RuleFailure, of_primary};
use crate::rules::reference;

pub(super) fn check(case: &Case<'_>) -> Option<RuleFailure> {
    let known = &case.table.references;
    reference::measured(case.facts, case.policy).is_empty().then(|| {
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
