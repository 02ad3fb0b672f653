//! More than one GPU: what they say to each other must be encrypted too.
//!
//! On Hopper that is protected PCIe, which the report states. Blackwell can encrypt NVLink, and no claim of its report that
//! is publicly described says whether it does: until one is, several of them need protected PCIe like Hopper.

use hanzo_attestation::nvidia::NvidiaArch;

use super::{Case, RuleFailure, below_gpu_cc, called};

pub(super) fn check(case: &Case<'_>) -> Option<RuleFailure> {
    let gpus = &case.facts.gpus;
    let open: Vec<_> = gpus.iter().filter(|g| g.protected_pcie != Some(true)).collect();
    if gpus.len() < 2 || open.is_empty() {
        return None;
    }
    let names: Vec<_> = open.iter().map(|g| called(g)).collect();
    let (count, names) = (gpus.len(), names.join(", "));
    Some(if open.iter().all(|g| g.arch == NvidiaArch::Blackwell) {
        below_gpu_cc(
            "gpu.multi.nvlink_unproven",
            format!(
                "{count} GPUs: expected proof of protected PCIe or encrypted NVLink, got none from {names}: no claim of \
                 this evidence shows whether NVLink is encrypted"
            ),
            "use one GPU a guest until NVIDIA describes such a claim; this evidence is capped at tier 2",
        )
    } else {
        below_gpu_cc(
            "gpu.multi.not_protected",
            format!(
                "{count} GPUs: expected protected PCIe (opaque field 21) on each, got it off or unstated on {names}: NVLink \
                 traffic between them is in clear"
            ),
            "the operator must switch protected PCIe on and give the guest all GPUs and switches of the machine; this \
             evidence is capped at tier 2",
        )
    })
}
