//! The event log, where the policy wants to see it. One that came along was already replayed to the registers.

use super::{Case, RuleFailure, below_cpu_tee};
use crate::policy::Presence;

pub(super) fn check(case: &Case<'_>) -> Option<RuleFailure> {
    (case.table.event_log == Presence::Required && !case.facts.td_log).then(|| {
        below_cpu_tee(
            "tdx.event_log",
            "event log (CCEL): expected one that replays to RTMR0 to RTMR3, got none".into(),
            "the guest must send its CCEL log; or write `event_log = \"accept-missing\"` if the registers alone will do",
        )
    })
}
