//! Rules of TPM quotes: tier 1 for a TPM alone; the image's part of tier 2 for a paravisor's vTPM.

mod ak;
mod event_log;
mod hardware;
mod pcrs;

use hanzo_attestation::tpm::TpmClaims;

use super::{Check, RuleFailure, of_primary};
use crate::facts::Facts;
use crate::policy::AppraisalPolicy;
use crate::policy::tpm::TpmPolicy;

/// What a rule looks at.
pub(crate) struct Case<'a> {
    pub(crate) facts: &'a Facts<'a>,
    pub(crate) claims: &'a TpmClaims,
    pub(crate) table: &'a TpmPolicy,
    pub(crate) policy: &'a AppraisalPolicy,
}

type Rule = fn(&Case<'_>) -> Option<RuleFailure>;

/// Every rule, in the order in which failures are reported.
const RULES: &[(&str, Rule)] = &[
    ("somebody who counts vouches for the attestation key", ak::check),
    ("the attestation key may answer", hardware::check),
    ("the event log is there if it is asked for", event_log::check),
    ("the PCRs are a reference value", pcrs::check),
    ("so are those of the SHA-384 bank if it states them", pcrs::check_sha384),
];

/// Every rule that applies to the quote, if there is one and a table to judge it by.
pub(crate) fn checks(facts: &Facts<'_>, policy: &AppraisalPolicy) -> Vec<Check> {
    let (Some(claims), Some(table)) = (facts.tpm, &policy.tpm) else {
        return Vec::new();
    };
    let case = Case {
        facts,
        claims,
        table,
        policy,
    };
    RULES
        .iter()
        .map(|(title, rule)| Check::of(title, case.facts.own_row(), rule(&case)))
        .collect()
}
