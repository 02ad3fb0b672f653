//! A policy put together by hand with a value out of range grants nothing.

use super::{RuleFailure, below_cpu_tee};
use crate::facts::Facts;
use crate::policy::AppraisalPolicy;

pub(super) fn check(_: &Facts, policy: &AppraisalPolicy) -> Option<RuleFailure> {
    policy
        .check()
        .err()
        .map(|e| below_cpu_tee("policy.value", e.to_string(), e.help()))
}
