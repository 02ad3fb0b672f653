//! Appraisal: all rules, all failures, one tier.

use hanzo_attestation::keyset::Keyset;
use hanzo_attestation::name::Name;
use hanzo_attestation::{Bound, Claims};
use serde::Serialize;

use crate::facts::Facts;
use crate::ladder;
use crate::policy::AppraisalPolicy;
use crate::rules::{Check, FRESHNESS_CODE, RuleFailure, reference};
use crate::tier::PrivacyTier;

/// The evidence is a processor's, so tier 1 is not its row.
pub(crate) const NO_TPM_EVIDENCE: &str = "tier.at_rest.no_evidence";
/// The evidence is a TPM's, so tier 2 is not its row.
pub(crate) const NO_CPU_EVIDENCE: &str = "tier.cpu_tee.no_evidence";

/// What authentic, bound claims are worth under one policy. Only [`appraise`] makes one:
/// ```compile_fail,E0451
/// use hanzo_policy::{Appraisal, PrivacyTier};
/// fn forge(appraisal: Appraisal) -> Appraisal {
///     Appraisal { tier: PrivacyTier::GpuTeeIo, ..appraisal }
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appraisal {
    tier: PrivacyTier,
    tier_if_fresh: PrivacyTier,
    required: PrivacyTier,
    simulated: bool,
    checks: Vec<Check>,
    failures: Vec<RuleFailure>,
    ladder: Vec<Rung>,
    reference: Option<Name>,
    paravisor: Option<Name>,
    cpu_gpu_binding: CpuGpuBinding,
}

/// What binds the GPUs to the processor's evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CpuGpuBinding {
    /// There is no GPU.
    None,
    /// They answered the same nonce; nothing says that the list is complete.
    Nonce,
    /// What the processor signed covers the whole device list, by its digest.
    Hash,
    /// The processor's own evidence names the bound devices: tier 4.
    Tdisp,
}

impl CpuGpuBinding {
    /// `none`, `nonce`, `hash` or `tdisp`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Nonce => "nonce",
            Self::Hash => "hash",
            Self::Tdisp => "tdisp",
        }
    }
}

/// One row of the ladder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Rung {
    /// The row.
    pub tier: PrivacyTier,
    /// True if each of its conditions holds.
    pub holds: bool,
    /// Codes of the rules that failed.
    pub failed: Vec<&'static str>,
}

/// Runs every rule of `policy` over `bound`. `keyset` is the keyset that the evidence signed; `None` for RCAR sessions.
///
/// # Establishes
/// The tier that these claims reach under this policy; nothing that the claims lack or the policy does not name raises it.
///
/// # Does not establish
/// That the policy's minimum is reached: see [`Appraisal::is_accepted`]. That the result is still true later.
pub fn appraise(bound: &Bound<Claims>, keyset: Option<&Keyset>, policy: &AppraisalPolicy) -> Appraisal {
    // The flag follows the root of the evidence, and a guest that says itself that its grants are simulated is believed.
    let simulated = bound.is_simulated() || keyset.is_some_and(|k| k.simulated);
    of_facts(&Facts::of(bound, keyset), simulated, policy)
}

pub(crate) fn of_facts(facts: &Facts<'_>, simulated: bool, policy: &AppraisalPolicy) -> Appraisal {
    let checks = ladder::checks(facts, policy);
    let failures: Vec<_> = checks.iter().flat_map(|c| c.failures.iter().cloned()).collect();
    let ladder = ladder::rungs(&failures.iter().collect::<Vec<_>>());
    let apart_from_freshness: Vec<_> = failures.iter().filter(|f| f.code != FRESHNESS_CODE).collect();
    let tier = ladder::highest(&ladder);
    Appraisal {
        tier,
        tier_if_fresh: ladder::highest(&ladder::rungs(&apart_from_freshness)),
        required: policy.minimum_tier,
        simulated,
        reference: reference::matching(facts, policy).map(|r| r.name.clone()),
        paravisor: reference::paravisor(facts, policy).cloned(),
        cpu_gpu_binding: match (facts.gpus.is_empty(), facts.list_is_signed) {
            (true, _) => CpuGpuBinding::None,
            (false, _) if tier == PrivacyTier::GpuTeeIo => CpuGpuBinding::Tdisp,
            (false, true) => CpuGpuBinding::Hash,
            (false, false) => CpuGpuBinding::Nonce,
        },
        ladder,
        checks,
        failures,
    }
}

impl Appraisal {
    /// The tier reached.
    pub fn tier(&self) -> PrivacyTier {
        self.tier
    }

    /// The tier that these claims would reach had they answered a challenge: for reading old bundles, never for deciding.
    pub fn tier_if_fresh(&self) -> PrivacyTier {
        self.tier_if_fresh
    }

    /// The policy's minimum.
    pub fn required(&self) -> PrivacyTier {
        self.required
    }

    /// True if the tier reached is at least the policy's minimum.
    pub fn is_accepted(&self) -> bool {
        self.tier >= self.required
    }

    /// True if the evidence's root is not a vendor's, or the keyset says so of itself.
    pub fn is_simulated(&self) -> bool {
        self.simulated
    }

    /// Every rule that was run, passed or failed, in the order in which failures are reported.
    pub fn checks(&self) -> &[Check] {
        &self.checks
    }

    /// Every rule that failed, with the tier it blocks.
    pub fn failures(&self) -> &[RuleFailure] {
        &self.failures
    }

    /// The failures that block a tier above the one reached.
    pub fn failures_above(&self) -> impl Iterator<Item = &RuleFailure> {
        self.failures.iter().filter(|f| f.tier > self.tier)
    }

    /// The failures that keep the evidence below `tier`. Tier 1 has evidence of its own, so its rules are named only when
    /// tier 1 is asked for, and of evidence that could reach it nobody is told that it is not a processor's.
    pub fn failures_for(&self, tier: PrivacyTier) -> impl Iterator<Item = &RuleFailure> {
        let of_tpm = !self.failures.iter().any(|f| f.code == NO_TPM_EVIDENCE);
        self.failures.iter().filter(move |f| match tier {
            PrivacyTier::Open => false,
            PrivacyTier::AtRest => f.tier <= PrivacyTier::CpuTee && !(of_tpm && f.code == NO_CPU_EVIDENCE),
            _ => f.tier != PrivacyTier::AtRest && f.tier <= tier,
        })
    }

    /// The five rows, lowest first.
    pub fn ladder(&self) -> &[Rung] {
        &self.ladder
    }

    /// The reference value that the evidence equals.
    pub fn reference(&self) -> Option<&Name> {
        self.reference.as_ref()
    }

    /// The paravisor that the policy names and the evidence shows; `None` for a guest without one.
    pub fn paravisor(&self) -> Option<&Name> {
        self.paravisor.as_ref()
    }

    /// What binds the GPUs to the processor's evidence.
    pub fn cpu_gpu_binding(&self) -> CpuGpuBinding {
        self.cpu_gpu_binding
    }
}
