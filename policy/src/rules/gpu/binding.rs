//! Each device answered this guest's nonce, or the evidence would not be bound. Beyond that, what the processor signed must
//! cover the whole device list, so that nobody adds, drops or swaps a device.

use super::{Case, RuleFailure, below_gpu_cc};

pub(super) fn check(case: &Case<'_>) -> Option<RuleFailure> {
    (!case.facts.list_is_signed).then(|| {
        below_gpu_cc(
            "gpu.binding.nonce_only",
            "device list: expected its digest under what the processor signed, got devices that share the nonce alone"
                .into(),
            "ask the guest with this project's statement, or send the devices as the session's additional evidence",
        )
    })
}
