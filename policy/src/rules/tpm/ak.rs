//! What stands behind the attestation key. Anybody can run a software TPM, so a key that nothing vouches for is worth
//! nothing: of a TPM alone the caller must have pinned the key or its root; of a paravisor's vTPM the processor's evidence
//! must name it.

use hanzo_attestation::tpm::AkOrigin;

use super::{Case, RuleFailure, of_primary};
use crate::facts::Kind;

pub(super) fn check(case: &Case<'_>) -> Option<RuleFailure> {
    let origin = &case.claims.ak_origin;
    let ak = case.claims.ak;
    if case.facts.kind == Kind::Paravisor {
        return (*origin != AkOrigin::CpuEvidence).then(|| {
            of_primary(
                case.facts,
                "tpm.ak.not_in_cpu_evidence",
                format!("AK: expected the key that the paravisor's report names, got {ak}"),
                "the quote is of another vTPM than the one that the processor vouches for",
            )
        });
    }
    let vouched_for = matches!(origin, AkOrigin::Chained { .. } | AkOrigin::Pinned);
    (!vouched_for).then(|| {
        of_primary(
            case.facts,
            "tpm.ak.unknown",
            format!(
                "AK: expected a key that is pinned or chains to a pinned root, got {ak}, which anybody can have made"
            ),
            "pin the machine's AK, or the root of its certificates, after checking it in person",
        )
    })
}
