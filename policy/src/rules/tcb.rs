//! TCB floor: reported, committed and launch TCB, component by component.
//!
//! The reported TCB alone is what the key proves, and the host can lower it; the committed one is what the firmware can no
//! longer go back behind; the launch one is what the guest was started under.

use hanzo_attestation::snp::TcbVersion;

use super::{RuleFailure, below_cpu_tee};
use crate::facts::Facts;
use crate::policy::AppraisalPolicy;

pub(super) fn check(facts: &Facts, policy: &AppraisalPolicy) -> Option<RuleFailure> {
    let product = facts.product;
    let Some(floor) = policy.tcb_floor.of(product) else {
        return Some(below_cpu_tee(
            "snp.tcb.no_floor",
            format!("tcb_floor: expected a floor for {product:?}, got none: the policy does not know this product"),
            "add the product's lowest acceptable firmware to `tcb_floor`, from AMD's current bulletins",
        ));
    };
    let below: Vec<_> = [
        ("REPORTED_TCB", &facts.reported_tcb),
        ("COMMITTED_TCB", &facts.committed_tcb),
        ("LAUNCH_TCB", &facts.launch_tcb),
    ]
    .into_iter()
    .flat_map(|(field, got)| lower_components(field, got, &floor))
    .collect();
    (!below.is_empty()).then(|| {
        below_cpu_tee(
            "snp.tcb.below_floor",
            below.join("; "),
            "the operator must update the platform's firmware, commit it, and launch the guest again",
        )
    })
}

fn lower_components(field: &str, got: &TcbVersion, floor: &TcbVersion) -> Vec<String> {
    [
        ("fmc", got.fmc, floor.fmc),
        ("bootloader", Some(got.bootloader), Some(floor.bootloader)),
        ("tee", Some(got.tee), Some(floor.tee)),
        ("snp", Some(got.snp), Some(floor.snp)),
        ("microcode", Some(got.microcode), Some(floor.microcode)),
    ]
    .into_iter()
    .filter_map(|(component, got, floor)| match (got, floor) {
        (Some(got), Some(floor)) if got >= floor => None,
        (None, None) => None,
        (got, floor) => {
            let say = |v: Option<u8>| v.map_or_else(|| "none".to_owned(), |v| v.to_string());
            Some(format!(
                "{field}.{component}: expected at least {}, got {}",
                say(floor),
                say(got)
            ))
        }
    })
    .collect()
}
