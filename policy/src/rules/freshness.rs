//! Evidence without the caller's challenge may be a recording.

use super::{RuleFailure, of_primary};
use crate::facts::{Facts, Link};
use crate::policy::AppraisalPolicy;

pub(crate) const CODE: &str = "freshness.none";

pub(super) fn check(facts: &Facts<'_>, _: &AppraisalPolicy) -> Option<RuleFailure> {
    let unchallenged = matches!(
        facts.link,
        Link::Keyset { challenged: false, .. } | Link::Foreign { challenged: false }
    );
    unchallenged.then(|| {
        of_primary(
            facts,
            CODE,
            "freshness: expected the challenge that the caller drew under the statement's nonce, got none".into(),
            "ask the guest with a challenge of your own; a bundle without one is good for reading alone",
        )
    })
}
