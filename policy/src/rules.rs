//! The rules, one a file. Each is a pure function from facts and policy to a failure or none.
//!
//! A rule names the tier it blocks: a failed rule keeps evidence below that tier. Codes are stable.

mod binding;
mod debug;
mod freshness;
mod hardware;
mod measurement;
mod migration;
mod milan;
mod policy;
mod reserved;
mod revocation;
mod tcb;
mod vmpl;

use serde::Serialize;

use crate::facts::Facts;
use crate::policy::AppraisalPolicy;
use crate::tier::PrivacyTier;

pub(crate) use freshness::CODE as FRESHNESS_CODE;
pub(crate) use measurement::matching as matching_reference;

/// One rule that evidence did not pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RuleFailure {
    /// The tier that this failure blocks, and all above it.
    pub tier: PrivacyTier,
    /// Stable dotted code, e.g. `snp.tcb.below_floor`.
    pub code: &'static str,
    /// The specification's field, what was expected and what the evidence says.
    pub text: String,
    /// What a person can do about it.
    pub help: &'static str,
}

pub(crate) type Rule = fn(&Facts, &AppraisalPolicy) -> Option<RuleFailure>;

/// Every rule of tier 2, in the order in which failures are reported.
pub(crate) const CPU_TEE: &[Rule] = &[
    policy::check,
    binding::check,
    freshness::check,
    revocation::check,
    milan::check,
    hardware::check,
    tcb::check,
    reserved::check,
    debug::check,
    migration::check,
    vmpl::check,
    measurement::check,
    measurement::check_config,
];

/// A failure that keeps evidence below tier 2.
fn below_cpu_tee(code: &'static str, text: String, help: &'static str) -> RuleFailure {
    RuleFailure {
        tier: PrivacyTier::CpuTee,
        code,
        text,
        help,
    }
}

/// Bits of POLICY, the guest policy of a report (AMD 56860, table "Guest Policy").
mod guest_policy {
    /// Reserved, must be one.
    pub(super) const RESERVED_ONE: u64 = 1 << 17;
    /// A migration agent may move the guest.
    pub(super) const MIGRATE_MA: u64 = 1 << 18;
    /// The host may decrypt guest memory through the debug interface.
    pub(super) const DEBUG: u64 = 1 << 19;
}

#[cfg(test)]
mod tests;
