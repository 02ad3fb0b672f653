//! Rules of GPUs and switches: tier 3, and tier 4 for their binding to the processor.
//!
//! A genuine device that fails a rule does not lower tier 2: the guest's memory is what it was. It keeps the guest below
//! tier 3, however many others pass.

mod architecture;
mod binding;
mod count;
mod driver;
mod feature_flag;
mod fwid;
mod hardware;
mod multi;
mod ocsp;
mod rim;
mod tee_io;
mod topology;

use hanzo_attestation::nvidia::NvidiaClaims;

use super::RuleFailure;
use crate::facts::Facts;
use crate::policy::AppraisalPolicy;
use crate::policy::gpu::GpuPolicy;
use crate::tier::PrivacyTier;

/// What a rule looks at.
pub(crate) struct Case<'a> {
    pub(crate) facts: &'a Facts<'a>,
    pub(crate) table: &'a GpuPolicy,
}

type Rule = fn(&Case<'_>) -> Option<RuleFailure>;

/// Every rule of tier 3, in the order in which failures are reported.
const RULES: &[Rule] = &[
    binding::check,
    count::check_gpus,
    count::check_switches,
    architecture::check,
    hardware::check,
    rim::check_missing,
    rim::check_mismatch,
    ocsp::check_missing,
    ocsp::check_on_hold,
    fwid::check,
    feature_flag::check,
    driver::check,
    multi::check,
    topology::check,
];

/// Failures of tiers 3 and 4.
pub(crate) fn failures(facts: &Facts<'_>, policy: &AppraisalPolicy) -> Vec<RuleFailure> {
    let mut out = Vec::new();
    if facts.gpus.is_empty() {
        out.push(below_gpu_cc(
            "tier.gpu_cc.no_evidence",
            "tier 3: expected at least one attested GPU, got none".into(),
            "ask a guest with GPUs in confidential mode, or ask for tier 2",
        ));
    }
    match &policy.gpu {
        None if facts.devices().next().is_some() => out.push(below_gpu_cc(
            "gpu.not_admitted",
            "policy: expected a table [gpu] for device evidence, got none".into(),
            "write the table [gpu] if guests with devices may answer (policy/SPEC.md)",
        )),
        Some(table) if facts.devices().next().is_some() => {
            let case = Case { facts, table };
            out.extend(RULES.iter().filter_map(|rule| rule(&case)));
        }
        _ => {}
    }
    out.extend(tee_io::check(facts, policy.gpu.as_ref()));
    out
}

/// A failure that keeps evidence below tier 3.
fn below_gpu_cc(code: &'static str, text: String, help: &'static str) -> RuleFailure {
    RuleFailure {
        tier: PrivacyTier::GpuCc,
        code,
        text,
        help,
    }
}

/// One failure for all devices that do not pass, each named.
fn each_device<'a>(
    devices: impl Iterator<Item = &'a NvidiaClaims>,
    code: &'static str,
    help: &'static str,
    wrong: impl Fn(&NvidiaClaims) -> Option<String>,
) -> Option<RuleFailure> {
    let texts: Vec<_> = devices
        .filter_map(|d| wrong(d).map(|text| format!("{}: {text}", called(d))))
        .collect();
    (!texts.is_empty()).then(|| below_gpu_cc(code, texts.join("; "), help))
}

fn called(device: &NvidiaClaims) -> String {
    let what = if device.arch.is_gpu() { "GPU" } else { "switch" };
    format!("{what} {}", device.ueid)
}
