//! Evidence of a kind that the policy has no table for: nobody said what is good enough.

use super::{RuleFailure, of_primary};
use crate::facts::Facts;
use crate::policy::AppraisalPolicy;

pub(super) fn snp(facts: &Facts<'_>, policy: &AppraisalPolicy) -> Option<RuleFailure> {
    (facts.snp.is_some() && policy.snp.is_none()).then(|| {
        of_primary(
            facts,
            "snp.not_admitted",
            "policy: expected a table [snp] for SEV-SNP evidence, got none".into(),
            "write the table [snp] if such guests may answer (policy/SPEC.md)",
        )
    })
}

pub(super) fn tdx(facts: &Facts<'_>, policy: &AppraisalPolicy) -> Option<RuleFailure> {
    (facts.tdx.is_some() && policy.tdx.is_none()).then(|| {
        of_primary(
            facts,
            "tdx.not_admitted",
            "policy: expected a table [tdx] for TDX evidence, got none".into(),
            "write the table [tdx] if such guests may answer (policy/SPEC.md)",
        )
    })
}

pub(super) fn tpm(facts: &Facts<'_>, policy: &AppraisalPolicy) -> Option<RuleFailure> {
    (facts.tpm.is_some() && policy.tpm.is_none()).then(|| {
        of_primary(
            facts,
            "tpm.not_admitted",
            "policy: expected a table [tpm] for the TPM quote, got none".into(),
            "write the table [tpm] if such guests may answer (policy/SPEC.md)",
        )
    })
}
