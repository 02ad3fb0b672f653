//! The configuration is that of the reference which the image equals.
//!
//! The measurement covers the command line, and the command line names the configuration's digest. A keyset states that
//! digest as well, and it must be the one of the same reference. An RCAR session shows no configuration: there the
//! measurement alone stands for both.

use super::{RuleFailure, of_primary, reference};
use crate::facts::{Facts, Link};
use crate::policy::AppraisalPolicy;

pub(super) fn check(facts: &Facts<'_>, policy: &AppraisalPolicy) -> Option<RuleFailure> {
    let Link::Keyset { config_digest, .. } = &facts.link else {
        return None;
    };
    reference::matching(facts, policy).is_none().then(|| {
        let expected: Vec<_> = reference::measured(facts, policy)
            .iter()
            .map(|r| r.config_digest.to_string())
            .collect();
        of_primary(
            facts,
            "config.not_reference",
            format!(
                "config_digest: expected {}, got {config_digest}",
                if expected.is_empty() {
                    "a reference value with this measurement, of which there is none".to_owned()
                } else {
                    expected.join(" or ")
                }
            ),
            "the guest runs another configuration: read it in the bundle, and add its digest only if you agree with it",
        )
    })
}
