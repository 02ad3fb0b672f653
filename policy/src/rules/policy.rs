//! A policy put together by hand with a value out of range grants nothing.

use super::{RuleFailure, of_primary};
use crate::facts::Facts;
use crate::policy::AppraisalPolicy;

pub(super) fn check(facts: &Facts<'_>, policy: &AppraisalPolicy) -> Option<RuleFailure> {
    policy
        .check()
        .err()
        .map(|e| of_primary(facts, "policy.value", e.to_string(), e.help()))
}
