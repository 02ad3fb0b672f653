//! The rules, one a file. Each is a pure function from facts and policy to a failure or none.
//!
//! A rule names the tier it blocks: a failed rule keeps evidence below that tier. Codes are stable. Rules that concern every
//! kind of primary evidence stand here; those of one kind in a folder of their own, and run only if the policy has a table
//! for that kind. Without a table the kind is not admitted, which is a failure by itself.

mod admitted;
mod binding;
mod config;
mod freshness;
pub(crate) mod gpu;
mod policy;
pub(crate) mod reference;
mod revocation;
pub(crate) mod snp;
pub(crate) mod tdx;
pub(crate) mod tpm;

use serde::Serialize;

use crate::facts::Facts;
use crate::policy::AppraisalPolicy;
use crate::tier::PrivacyTier;

pub(crate) use freshness::CODE as FRESHNESS_CODE;

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

/// One rule that was run, whether evidence passed it or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Check {
    /// What the rule asks, as a statement that holds if it passed.
    pub title: &'static str,
    /// The tier that a failure blocks, and all above it.
    pub tier: PrivacyTier,
    /// Empty if the rule passed.
    pub failures: Vec<RuleFailure>,
}

impl Check {
    /// `tier` counts for a rule that passed; a failure names its own.
    pub(crate) fn of(title: &'static str, tier: PrivacyTier, failure: Option<RuleFailure>) -> Self {
        Self {
            title,
            tier: failure.as_ref().map_or(tier, |f| f.tier),
            failures: failure.into_iter().collect(),
        }
    }
}

pub(crate) type Rule = fn(&Facts<'_>, &AppraisalPolicy) -> Option<RuleFailure>;

/// Rules before those of the kinds, in the order in which failures are reported.
pub(crate) const FIRST: &[(&str, Rule)] = &[
    ("the policy itself is well-formed", policy::check),
    ("the keyset is the one that the evidence signed", binding::check),
    ("the evidence answers the caller's challenge", freshness::check),
    ("a fresh revocation list names no certificate", revocation::check),
];

/// Whether the policy has a table for each kind that is there.
pub(crate) const ADMITTED: &[(&str, Rule)] = &[
    ("SEV-SNP evidence is admitted", admitted::snp),
    ("TDX evidence is admitted", admitted::tdx),
    ("TPM quotes are admitted", admitted::tpm),
];

/// Rules after those of the kinds.
pub(crate) const LAST: &[(&str, Rule)] = &[("the configuration is the reference value's", config::check)];

/// A failure of primary evidence: it blocks the row that this evidence is judged for.
fn of_primary(facts: &Facts<'_>, code: &'static str, text: String, help: &'static str) -> RuleFailure {
    RuleFailure {
        tier: facts.own_row(),
        code,
        text,
        help,
    }
}

/// A failure that keeps evidence below tier 2.
fn below_cpu_tee(code: &'static str, text: String, help: &'static str) -> RuleFailure {
    RuleFailure {
        tier: PrivacyTier::CpuTee,
        code,
        text,
        help,
    }
}

#[cfg(test)]
mod tests;
