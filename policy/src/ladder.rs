//! The ladder: the tier is the highest row whose every condition holds (DESIGN section 3).
//!
//! Rows are judged each by its own evidence: tier 1 asks for a TPM quote, which SNP and TDX evidence is not, so a guest that
//! fails a rule of tier 2 falls to tier 0 and never to tier 1; and a TPM alone never reaches tier 2. A paravisor's guest has
//! both and is judged by tier 2: nobody but its processor vouches for its vTPM. Tiers 3 and 4 include tier 2.

use crate::appraisal::{NO_CPU_EVIDENCE, NO_TPM_EVIDENCE, Rung};
use crate::facts::{Facts, Kind};
use crate::policy::AppraisalPolicy;
use crate::rules::{ADMITTED, Check, FIRST, LAST, Rule, RuleFailure, gpu, snp, tdx, tpm};
use crate::tier::PrivacyTier;

/// Runs every rule of every tier.
pub(crate) fn checks(facts: &Facts<'_>, policy: &AppraisalPolicy) -> Vec<Check> {
    let common = |rules: &[(&'static str, Rule)]| -> Vec<Check> {
        let row = facts.own_row();
        rules
            .iter()
            .map(|(title, rule)| Check::of(title, row, rule(facts, policy)))
            .collect()
    };
    let row = no_evidence(facts.kind);
    let mut out = vec![Check::of("there is evidence for this row", row.tier, Some(row))];
    out.extend(common(FIRST));
    // Kinds that are not there are admitted or not: it says nothing.
    out.extend(common(ADMITTED).into_iter().filter(|check| !check.failures.is_empty()));
    out.extend(snp::checks(facts, policy));
    out.extend(tdx::checks(facts, policy));
    out.extend(tpm::checks(facts, policy));
    out.extend(common(LAST));
    out.extend(gpu::checks(facts, policy));
    out
}

/// The row between 0 and 3 that this kind of evidence says nothing about.
fn no_evidence(kind: Kind) -> RuleFailure {
    match kind {
        Kind::Guest | Kind::Paravisor => RuleFailure {
            tier: PrivacyTier::AtRest,
            code: NO_TPM_EVIDENCE,
            text: "tier 1: expected a TPM 2.0 quote or a hardware token, got a confidential guest's evidence".into(),
            help: "nothing to do: SEV-SNP and TDX evidence is judged by tier 2",
        },
        Kind::Tpm => RuleFailure {
            tier: PrivacyTier::CpuTee,
            code: NO_CPU_EVIDENCE,
            text: "tier 2: expected SEV-SNP or TDX evidence, got a TPM quote alone, which proves nothing against whoever runs \
                   the machine"
                .into(),
            help: "ask for tier 1, or a guest on a SEV-SNP or TDX machine",
        },
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
