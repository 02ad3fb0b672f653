//! TCB floor: reported, committed and launch TCB, component by component.
//!
//! The reported TCB alone is what the key proves, and the host can lower it; the committed one is what the firmware can no
//! longer go back behind; the launch one is what the guest was started under.

use hanzo_attestation::snp::TcbVersion;

use super::{Case, RuleFailure, below_cpu_tee};

pub(super) fn check(case: &Case<'_>) -> Option<RuleFailure> {
    let product = case.claims.product;
    let Some(floor) = case.table.tcb_floor.of(product) else {
        return Some(below_cpu_tee(
            "snp.tcb.no_floor",
            format!("tcb_floor: expected a floor for {product:?}, got none: the policy does not know this product"),
            "add the product's lowest acceptable firmware to `snp.tcb_floor`, from AMD's current bulletins",
        ));
    };
    let report = case.report();
    let below: Vec<_> = [
        ("REPORTED_TCB", &report.reported_tcb),
        ("COMMITTED_TCB", &report.committed_tcb),
        ("LAUNCH_TCB", &report.launch_tcb),
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

/// What was committed was running: no component of COMMITTED_TCB is above CURRENT_TCB.
pub(super) fn check_order(case: &Case<'_>) -> Option<RuleFailure> {
    let report = case.report();
    let above = lower_components("CURRENT_TCB", &report.current_tcb, &report.committed_tcb);
    (!above.is_empty()).then(|| {
        below_cpu_tee(
            "snp.tcb.order",
            format!("CURRENT_TCB against COMMITTED_TCB: {}", above.join("; ")),
            "firmware does not report less than it committed: the platform is in a state that AMD 56860 does not describe",
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
