//! The keyset that is appraised must be the one that the evidence signed, by the statement of DESIGN section 4; RCAR
//! evidence proves a session key and no keyset.

use hanzo_attestation::Digest384;

use super::{RuleFailure, of_primary};
use crate::facts::{Facts, Link};
use crate::policy::AppraisalPolicy;

pub(super) fn check(facts: &Facts<'_>, _: &AppraisalPolicy) -> Option<RuleFailure> {
    let Link::Mismatch { bound, shown } = &facts.link else {
        return None;
    };
    let say = |d: &Option<Digest384>| d.map_or_else(|| "no keyset".to_owned(), |d| d.to_string());
    Some(of_primary(
        facts,
        "binding.keyset",
        format!(
            "keyset_digest: expected the keyset that the evidence signed, {}, got {}",
            say(bound),
            say(shown)
        ),
        "appraise the keyset of the bundle that the evidence came in",
    ))
}
