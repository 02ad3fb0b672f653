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

use super::{Check, RuleFailure};
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
const RULES: &[(&str, Rule)] = &[
    ("the processor signed the device list", binding::check),
    ("every GPU of the machine is there", count::check_gpus),
    ("every switch of the machine is there", count::check_switches),
    ("each device is of an admitted family", architecture::check),
    ("each device may answer", hardware::check),
    ("each device has signed reference measurements", rim::check_missing),
    ("each device's measurements equal them", rim::check_mismatch),
    ("each device's certificates have an OCSP answer", ocsp::check_missing),
    ("no certificate is on hold", ocsp::check_on_hold),
    ("each report states the certificate's firmware id", fwid::check),
    ("each feature flag is an admitted one", feature_flag::check),
    ("each driver is recent enough", driver::check),
    ("several GPUs talk over protected links", multi::check),
    (
        "GPUs and switches are connected to each other and to nothing else",
        topology::check,
    ),
];

/// Every rule of tiers 3 and 4 that applies.
pub(crate) fn checks(facts: &Facts<'_>, policy: &AppraisalPolicy) -> Vec<Check> {
    let no_gpu = facts.gpus.is_empty().then(|| {
        below_gpu_cc(
            "tier.gpu_cc.no_evidence",
            "tier 3: expected at least one attested GPU, got none".into(),
            "ask a guest with GPUs in confidential mode, or ask for tier 2",
        )
    });
    let mut out = vec![Check::of(
        "there is at least one attested GPU",
        PrivacyTier::GpuCc,
        no_gpu,
    )];
    match &policy.gpu {
        None if facts.devices().next().is_some() => {
            let failure = below_gpu_cc(
                "gpu.not_admitted",
                "policy: expected a table [gpu] for device evidence, got none".into(),
                "write the table [gpu] if guests with devices may answer (policy/SPEC.md)",
            );
            out.push(Check::of(
                "device evidence is admitted",
                PrivacyTier::GpuCc,
                Some(failure),
            ));
        }
        Some(table) if facts.devices().next().is_some() => {
            let case = Case { facts, table };
            let run = RULES
                .iter()
                .map(|(title, rule)| Check::of(title, PrivacyTier::GpuCc, rule(&case)));
            out.extend(run);
        }
        _ => {}
    }
    let tee_io = tee_io::check(facts, policy.gpu.as_ref());
    out.push(Check::of(
        "the processor's own evidence names every GPU that is bound to it",
        PrivacyTier::GpuTeeIo,
        tee_io,
    ));
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
