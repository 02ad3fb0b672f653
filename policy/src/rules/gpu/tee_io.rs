//! Tier 4: the processor's own evidence says which devices are bound to the guest (TDISP).
//!
//! Intel's quote body 4 has DEV_INFO, a hash over information on the bound devices. How it follows from a GPU's identity is
//! published nowhere, so the policy must say which GPUs a value stands for. One value stands for one set: the GPUs in the
//! evidence must be exactly that set. AMD's SEV-TIO report is not verified by this version, and PLATFORM_INFO's TIO bit says
//! only that the platform could.

use hanzo_attestation::Digest384;
use hanzo_attestation::nvidia::NvidiaClaims;

use super::RuleFailure;
use crate::facts::{Facts, Kind};
use crate::hardware::Ueid;
use crate::policy::gpu::GpuPolicy;
use crate::tier::PrivacyTier;

pub(super) fn check(facts: &Facts<'_>, table: Option<&GpuPolicy>) -> Option<RuleFailure> {
    if facts.gpus.is_empty() {
        return Some(below(
            "tier.gpu_tee_io.no_evidence",
            "tier 4: expected at least one attested GPU, got none".into(),
            "ask for at most tier 2",
        ));
    }
    if facts.snp.is_some() {
        return Some(below(
            "gpu.tee_io.sev_tio_not_verified",
            "tier 4: SEV-TIO evidence is not verified by this version".into(),
            "ask for at most tier 3 of an SEV-SNP guest",
        ));
    }
    let shown = facts
        .tdx
        .filter(|_| facts.kind == Kind::Guest)
        .and_then(|t| t.td15_extended.as_ref())
        .map(|t| Digest384(t.dev_info))
        .filter(|d| d.0 != [0; 48]);
    let Some(shown) = shown else {
        return Some(below(
            "gpu.tee_io.no_dev_info",
            "tier 4: DEV_INFO (quote body 4): expected a hash over bound devices, got none: nothing but software binds the \
             GPUs to this guest"
                .into(),
            "ask for at most tier 3, or a machine with TDX Connect",
        ));
    };
    let known = table.map(|t| t.tee_io.as_slice()).unwrap_or_default();
    let Some(reference) = known.iter().find(|r| r.dev_info == shown) else {
        return Some(below(
            "gpu.tee_io.dev_info",
            format!(
                "DEV_INFO: expected one of {} values that the policy lists, got {shown}: other devices are bound to this \
                 guest",
                known.len()
            ),
            "list the value in `gpu.tee_io` with the GPUs that it stands for, if you observed it on a machine you trust",
        ));
    };
    let named = |gpu: &NvidiaClaims, id: &Ueid| *id.as_str() == gpu.ueid || *id.as_str() == gpu.device_id;
    let each_is_listed = facts.gpus.iter().all(|g| reference.ueids.iter().any(|id| named(g, id)));
    let each_is_here = reference.ueids.iter().all(|id| facts.gpus.iter().any(|g| named(g, id)));
    (!each_is_listed || !each_is_here).then(|| {
        let got: Vec<_> = facts.gpus.iter().map(|g| g.ueid.as_str()).collect();
        below(
            "gpu.tee_io.dev_info",
            format!(
                "DEV_INFO {shown}: expected the GPUs {:?}, which it stands for, got evidence of {got:?}",
                reference.ueids
            ),
            "the GPUs that answered are not those that are bound to this guest",
        )
    })
}

fn below(code: &'static str, text: String, help: &'static str) -> RuleFailure {
    RuleFailure {
        tier: PrivacyTier::GpuTeeIo,
        code,
        text,
        help,
    }
}
