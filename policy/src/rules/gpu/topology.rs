//! Switches and GPUs name each other: each GPU exactly the attested switches, each switch exactly the attested GPUs. One GPU
//! without switches has no topology.

use hanzo_attestation::nvidia::Topology;

use super::{Case, RuleFailure, below_gpu_cc};

pub(super) fn check(case: &Case<'_>) -> Option<RuleFailure> {
    let (gpus, switches) = (case.facts.gpus.len(), case.facts.switches.len());
    if gpus < 2 && switches == 0 {
        return None;
    }
    let devices: Vec<_> = case.facts.devices().collect();
    let mut wrong: Vec<_> = Topology::of(&devices).problems.into_iter().map(|p| p.text).collect();
    if switches == 0 {
        wrong.push(format!("{gpus} GPUs: expected the switches between them, got none"));
    }
    (!wrong.is_empty()).then(|| {
        below_gpu_cc(
            "gpu.topology",
            format!("expected GPUs and switches that name each other and nothing else, got: {}", wrong.join("; ")),
            "every switch that a GPU is connected to, and every GPU that a switch is connected to, must be in the evidence",
        )
    })
}
