//! A policy put together by hand with a value out of range grants nothing, nor does one whose release was not applied.

use super::{RuleFailure, of_primary};
use crate::facts::Facts;
use crate::policy::AppraisalPolicy;
use crate::release::ReleaseError;

pub(super) fn check(facts: &Facts<'_>, policy: &AppraisalPolicy) -> Option<RuleFailure> {
    if let Some(asked) = &policy.release {
        let e = ReleaseError::Missing {
            expected: asked.name.clone(),
        };
        return Some(of_primary(facts, e.code(), e.to_string(), e.help()));
    }
    policy
        .check()
        .err()
        .map(|e| of_primary(facts, "policy.value", e.to_string(), e.help()))
}
