//! Rules of SEV-SNP evidence: tier 2, for a guest's own report and for its paravisor's.

mod abi;
mod debug;
mod firmware;
mod guest_policy;
mod guest_svn;
mod hardware;
mod host_data;
mod keys;
mod measurement;
mod migration;
mod milan;
mod mitigations;
mod platform_info;
mod reserved;
mod tcb;
mod vmpl;

use hanzo_attestation::snp::SnpReport;

use super::{RuleFailure, below_cpu_tee};
use crate::facts::Facts;
use crate::policy::AppraisalPolicy;
use crate::policy::snp::SnpPolicy;

/// What a rule looks at.
pub(crate) struct Case<'a> {
    pub(crate) facts: &'a Facts<'a>,
    pub(crate) claims: &'a hanzo_attestation::snp::SnpClaims,
    pub(crate) table: &'a SnpPolicy,
}

impl Case<'_> {
    fn report(&self) -> &SnpReport {
        &self.claims.report
    }
}

type Rule = fn(&Case<'_>) -> Option<RuleFailure>;

/// Every rule, in the order in which failures are reported.
const RULES: &[Rule] = &[
    milan::check,
    hardware::check,
    tcb::check,
    tcb::check_order,
    firmware::check_provisional,
    firmware::check_minimum,
    mitigations::check,
    reserved::check,
    debug::check,
    migration::check,
    abi::check,
    guest_policy::check,
    guest_policy::check_unknown,
    platform_info::check,
    platform_info::check_unknown,
    vmpl::check,
    keys::check_id_key,
    keys::check_author_key,
    host_data::check,
    guest_svn::check,
    measurement::check,
];

/// Failures of the report, if there is one and a table to judge it by.
pub(crate) fn failures(facts: &Facts<'_>, policy: &AppraisalPolicy) -> Vec<RuleFailure> {
    let (Some(claims), Some(table)) = (facts.snp, &policy.snp) else {
        return Vec::new();
    };
    let case = Case { facts, claims, table };
    RULES.iter().filter_map(|rule| rule(&case)).collect()
}
