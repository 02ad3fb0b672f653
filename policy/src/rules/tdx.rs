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

use super::{Check, RuleFailure, below_cpu_tee};
use crate::facts::Facts;
use crate::policy::AppraisalPolicy;
use crate::policy::tdx::TdxPolicy;
use crate::tier::PrivacyTier;

/// What a rule looks at.
pub(crate) struct Case<'a> {
    pub(crate) facts: &'a Facts<'a>,
    pub(crate) claims: &'a TdxClaims,
    pub(crate) table: &'a TdxPolicy,
}

type Rule = fn(&Case<'_>) -> Option<RuleFailure>;

/// Every rule, in the order in which failures are reported.
const RULES: &[(&str, Rule)] = &[
    ("the platform may answer", hardware::check),
    ("the TCB status is an admitted one", tcb::check_status),
    ("open advisories are admitted by name", tcb::check_advisories),
    ("the TCB evaluation is recent enough", tcb::check_evaluation),
    ("TEE_TCB_SVN is at or above the floor", tcb::check_floor),
    ("Intel signed the TDX module", module::check_signer),
    ("the TDX module has no attributes set", module::check_attributes),
    ("the TDX module is an admitted one", module::check_measurement),
    ("the host may not debug the trust domain", debug::check),
    ("the trust domain may not be migrated", migration::check),
    ("TDATTRIBUTES are as asked for", attributes::check),
    (
        "TDATTRIBUTES have no bits of unknown meaning",
        attributes::check_unknown,
    ),
    ("XFAM has the features that every domain has", xfam::check_required),
    ("XFAM has no features beyond the admitted ones", xfam::check_allowed),
    ("no unknown service domain is bound", service_td::check),
    ("MRCONFIGID is an admitted value", owner::check_config_id),
    ("MROWNER is an admitted value", owner::check_owner),
    ("MROWNERCONFIG is an admitted value", owner::check_owner_config),
    ("the event log is there if it is asked for", event_log::check),
    ("MRTD and the RTMRs are a reference value", measurement::check),
];

/// Every rule that applies to the quote, if there is one and a table to judge it by.
pub(crate) fn checks(facts: &Facts<'_>, policy: &AppraisalPolicy) -> Vec<Check> {
    let (Some(claims), Some(table)) = (facts.tdx, &policy.tdx) else {
        return Vec::new();
    };
    let case = Case { facts, claims, table };
    RULES
        .iter()
        .map(|(title, rule)| Check::of(title, PrivacyTier::CpuTee, rule(&case)))
        .collect()
}
