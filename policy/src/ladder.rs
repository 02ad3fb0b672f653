//! The ladder: the tier is the highest row whose every condition holds (DESIGN section 3).
//!
//! Rows are judged each by its own evidence: tier 1 asks for a TPM quote or a hardware token, which SNP evidence is not,
//! so an SNP guest that fails a rule of tier 2 falls to tier 0 and never to tier 1. Tiers 3 and 4 include tier 2.

use crate::appraisal::Rung;
use crate::facts::Facts;
use crate::policy::AppraisalPolicy;
use crate::rules::{CPU_TEE, RuleFailure};
use crate::tier::PrivacyTier;

/// Runs every rule of every tier.
pub(crate) fn failures(facts: &Facts, policy: &AppraisalPolicy) -> Vec<RuleFailure> {
    let mut out = vec![RuleFailure {
        tier: PrivacyTier::AtRest,
        code: "tier.at_rest.no_evidence",
        text: "tier 1: expected a TPM 2.0 quote or a hardware token, got SEV-SNP evidence".into(),
        help: "nothing to do: SEV-SNP evidence is judged by tier 2",
    }];
    out.extend(CPU_TEE.iter().filter_map(|rule| rule(facts, policy)));
    out.extend([PrivacyTier::GpuCc, PrivacyTier::GpuTeeIo].map(not_verified));
    out
}

fn not_verified(tier: PrivacyTier) -> RuleFailure {
    let (code, text) = match tier {
        PrivacyTier::GpuTeeIo => (
            "tier.gpu_tee_io.not_verified",
            "tier 4: TDISP evidence is not verified by this version",
        ),
        _ => (
            "tier.gpu_cc.not_verified",
            "tier 3: GPU evidence is not verified by this version",
        ),
    };
    RuleFailure {
        tier,
        code,
        text: text.into(),
        help: "ask for at most tier 2 of this version",
    }
}

/// Derives each row from the failures.
pub(crate) fn rungs(failures: &[&RuleFailure]) -> Vec<Rung> {
    let blocked = |t: PrivacyTier| failures.iter().any(|f| f.tier == t);
    PrivacyTier::ALL
        .into_iter()
        .map(|tier| Rung {
            tier,
            holds: match tier {
                PrivacyTier::Open => true,
                PrivacyTier::AtRest | PrivacyTier::CpuTee => !blocked(tier),
                PrivacyTier::GpuCc => !blocked(PrivacyTier::CpuTee) && !blocked(tier),
                PrivacyTier::GpuTeeIo => {
                    !blocked(PrivacyTier::CpuTee) && !blocked(PrivacyTier::GpuCc) && !blocked(tier)
                }
            },
            failed: failures.iter().filter(|f| f.tier == tier).map(|f| f.code).collect(),
        })
        .collect()
}

/// The highest row that holds.
pub(crate) fn highest(rungs: &[Rung]) -> PrivacyTier {
    rungs
        .iter()
        .filter(|r| r.holds)
        .map(|r| r.tier)
        .max()
        .unwrap_or(PrivacyTier::Open)
}
