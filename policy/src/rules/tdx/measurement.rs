//! MRTD and RTMR0 to RTMR3: of a guest, those of one reference; of a paravisor, those of one of the paravisors.

use super::{Case, RuleFailure, below_cpu_tee};
use crate::facts::Kind;
use crate::rules::reference::td_registers;

pub(super) fn check(case: &Case<'_>) -> Option<RuleFailure> {
    let got = td_registers(case.claims);
    let [mrtd, rtmr0, rtmr1, rtmr2, rtmr3] = got;
    let registers = || format!("MRTD {mrtd}, RTMR0 {rtmr0}, RTMR1 {rtmr1}, RTMR2 {rtmr2}, RTMR3 {rtmr3}");
    if case.facts.kind == Kind::Paravisor {
        let known = &case.table.paravisors;
        return (!known.iter().any(|p| p.registers() == got)).then(|| {
            below_cpu_tee(
                "tdx.paravisor",
                format!(
                    "registers: expected those of one of {} paravisors, got {}",
                    known.len(),
                    registers()
                ),
                "add the paravisor's registers to `tdx.paravisors` only if its maker published them",
            )
        });
    }
    let known = &case.table.references;
    (!known.iter().any(|r| r.registers() == got)).then(|| {
        let closest: Vec<_> = known
            .iter()
            .filter(|r| r.mrtd == mrtd)
            .map(|r| format!("{} has this MRTD and other RTMRs", r.name))
            .collect();
        let hint = if closest.is_empty() {
            String::new()
        } else {
            format!(" ({})", closest.join(", "))
        };
        below_cpu_tee(
            "tdx.measurement",
            format!(
                "registers: expected those of one of {} reference values, got {}{hint}",
                known.len(),
                registers()
            ),
            "another image, kernel, command line or firmware was launched: add its reference value only if you built it",
        )
    })
}
