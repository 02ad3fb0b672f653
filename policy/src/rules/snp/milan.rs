//! EPYC Milan: software alone extracts the seed of the VCEK, so any report can be forged, at any TCB.

use hanzo_attestation::snp::Product;

use super::{Case, RuleFailure, below_cpu_tee};
use crate::policy::snp::MilanPolicy;

pub(super) fn check(case: &Case<'_>) -> Option<RuleFailure> {
    (case.claims.product == Product::Milan && case.table.milan == MilanPolicy::Refuse).then(|| {
        below_cpu_tee(
            "snp.product.milan",
            "product: expected Genoa or Turin, got Milan, whose VCEK root seed can be extracted by software at any TCB \
             (arXiv 2605.12990): its reports can be forged"
                .into(),
            "use a Genoa or Turin machine; the policy key `milan = \"accept\"` takes the risk",
        )
    })
}
