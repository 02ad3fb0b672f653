//! EPYC Milan: software alone extracts the seed of the VCEK, so any report can be forged, at any TCB.

use hanzo_attestation::snp::Product;

use super::{RuleFailure, below_cpu_tee};
use crate::facts::Facts;
use crate::policy::{AppraisalPolicy, MilanPolicy};

pub(super) fn check(facts: &Facts, policy: &AppraisalPolicy) -> Option<RuleFailure> {
    (facts.product == Product::Milan && policy.milan == MilanPolicy::Refuse).then(|| {
        below_cpu_tee(
            "snp.product.milan",
            "product: expected Genoa or Turin, got Milan, whose VCEK root seed can be extracted by software at any TCB \
             (arXiv 2605.12990): its reports can be forged"
                .into(),
            "use a Genoa or Turin machine; the policy key `milan = \"accept\"` takes the risk",
        )
    })
}
