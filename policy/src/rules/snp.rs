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

use super::{Check, RuleFailure, below_cpu_tee};
use crate::facts::Facts;
use crate::policy::AppraisalPolicy;
use crate::policy::snp::SnpPolicy;
use crate::tier::PrivacyTier;

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
const RULES: &[(&str, Rule)] = &[
    (
        "the processor's root secret is not known to leak (EPYC Milan)",
        milan::check,
    ),
    ("the chip or provider may answer", hardware::check),
    ("firmware is at or above the floor", tcb::check),
    (
        "committed firmware is not ahead of the firmware that runs",
        tcb::check_order,
    ),
    ("the firmware that runs is committed", firmware::check_provisional),
    ("the firmware version is high enough", firmware::check_minimum),
    ("the required mitigations are active", mitigations::check),
    ("reserved bits of POLICY stand as specified", reserved::check),
    ("the host may not debug the guest", debug::check),
    ("no migration agent may move the guest", migration::check),
    ("the guest asks for a high enough ABI", abi::check),
    ("POLICY has the bits that are asked for", guest_policy::check),
    ("POLICY has no bits of unknown meaning", guest_policy::check_unknown),
    ("PLATFORM_INFO has the bits that are asked for", platform_info::check),
    (
        "PLATFORM_INFO has no bits of unknown meaning",
        platform_info::check_unknown,
    ),
    ("the report comes from an admitted privilege level", vmpl::check),
    ("the ID key is an admitted one", keys::check_id_key),
    ("the author key is an admitted one", keys::check_author_key),
    ("HOST_DATA is an admitted value", host_data::check),
    ("the guest's security version is high enough", guest_svn::check),
    ("the launch measurement is a reference value", measurement::check),
];

/// Every rule that applies to the report, if there is one and a table to judge it by.
pub(crate) fn checks(facts: &Facts<'_>, policy: &AppraisalPolicy) -> Vec<Check> {
    let (Some(claims), Some(table)) = (facts.snp, &policy.snp) else {
        return Vec::new();
    };
    let case = Case { facts, claims, table };
    RULES
        .iter()
        .map(|(title, rule)| Check::of(title, PrivacyTier::CpuTee, rule(&case)))
        .collect()
}
