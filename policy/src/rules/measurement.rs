//! Launch measurement and configuration are those of one reference value.
//!
//! The measurement covers the command line, and the command line names the configuration's digest. A keyset states that
//! digest as well, and it must be the one of the same reference. An RCAR session shows no configuration: there the
//! measurement alone stands for both.

use super::{RuleFailure, below_cpu_tee};
use crate::facts::{Facts, Link};
use crate::policy::{AppraisalPolicy, Reference};

/// The reference value that measurement and, where it is shown, configuration equal.
pub(crate) fn matching<'a>(facts: &Facts, policy: &'a AppraisalPolicy) -> Option<&'a Reference> {
    measured(facts, policy).find(|r| match &facts.link {
        Link::Keyset { config_digest, .. } => r.config_digest == *config_digest,
        Link::Rcar | Link::Foreign { .. } => true,
        Link::Mismatch { .. } => false,
    })
}

fn measured<'a>(facts: &Facts, policy: &'a AppraisalPolicy) -> impl Iterator<Item = &'a Reference> {
    let measurement = facts.measurement;
    policy.references.iter().filter(move |r| r.measurement == measurement)
}

pub(super) fn check(facts: &Facts, policy: &AppraisalPolicy) -> Option<RuleFailure> {
    measured(facts, policy).next().is_none().then(|| {
        below_cpu_tee(
            "snp.measurement",
            format!(
                "MEASUREMENT: expected one of {} reference values, got {}",
                policy.references.len(),
                facts.measurement
            ),
            "another image, kernel, command line or firmware was launched: add its reference value only if you built it",
        )
    })
}

pub(super) fn check_config(facts: &Facts, policy: &AppraisalPolicy) -> Option<RuleFailure> {
    let Link::Keyset { config_digest, .. } = &facts.link else {
        return None;
    };
    matching(facts, policy).is_none().then(|| {
        let expected: Vec<_> = measured(facts, policy).map(|r| r.config_digest.to_string()).collect();
        below_cpu_tee(
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
