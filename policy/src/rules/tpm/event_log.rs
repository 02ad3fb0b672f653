//! The event log, where the policy wants to see it. One that came along was already replayed to the registers.

use super::{Case, RuleFailure, of_primary};
use crate::policy::Presence;

pub(super) fn check(case: &Case<'_>) -> Option<RuleFailure> {
    (case.table.event_log == Presence::Required && !case.facts.tpm_log).then(|| {
        of_primary(
            case.facts,
            "tpm.event_log",
            "event log (TCG): expected one that replays to the quoted registers, got none".into(),
            "the guest must send its log; or write `event_log = \"accept-missing\"` if the registers alone will do",
        )
    })
}
