//! Rules of TDX evidence: tier 2, for a guest's own quote and for its paravisor's.

mod attributes;
mod debug;
mod event_log;
mod hardware;
mod measurement;
mod migration;
mod module;
mod owner;
mod service_td;
mod tcb;
mod xfam;

use hanzo_attestation::tdx::TdxClaims;

use super::{RuleFailure, below_cpu_tee};
use crate::facts::Facts;
use crate::policy::AppraisalPolicy;
use crate::policy::tdx::TdxPolicy;

/// What a rule looks at.
pub(crate) struct Case<'a> {
    pub(crate) facts: &'a Facts<'a>,
    pub(crate) claims: &'a TdxClaims,
    pub(crate) table: &'a TdxPolicy,
}

type Rule = fn(&Case<'_>) -> Option<RuleFailure>;

/// Every rule, in the order in which failures are reported.
const RULES: &[Rule] = &[
    hardware::check,
    tcb::check_status,
    tcb::check_advisories,
    tcb::check_evaluation,
    tcb::check_floor,
    module::check_signer,
    module::check_attributes,
    module::check_measurement,
    debug::check,
    migration::check,
    attributes::check,
    attributes::check_unknown,
    xfam::check_required,
    xfam::check_allowed,
    service_td::check,
    owner::check_config_id,
    owner::check_owner,
    owner::check_owner_config,
    event_log::check,
    measurement::check,
];

/// Failures of the quote, if there is one and a table to judge it by.
pub(crate) fn failures(facts: &Facts<'_>, policy: &AppraisalPolicy) -> Vec<RuleFailure> {
    let (Some(claims), Some(table)) = (facts.tdx, &policy.tdx) else {
        return Vec::new();
    };
    let case = Case { facts, claims, table };
    RULES.iter().filter_map(|rule| rule(&case)).collect()
}
