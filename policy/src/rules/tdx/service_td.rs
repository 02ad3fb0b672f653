//! A service TD bound to the guest can act on it. Quotes of TD 1.0 have no place to say so, and no service TDs either. TD
//! 1.5 states one hash; its extended body those at creation and now as well.

use hanzo_attestation::Digest384;

use super::{Case, RuleFailure, below_cpu_tee};

pub(super) fn check(case: &Case<'_>) -> Option<RuleFailure> {
    let claims = case.claims;
    let listed = &case.table.service_tds;
    let stated = claims.td15.as_ref().map(|t| ("MRSERVICETD", t.mr_service_td));
    let extended = claims.td15_extended.as_ref();
    let at_creation = extended.map(|t| ("INIT_SERVTD_HASH", t.init_service_td_hash));
    let now = extended.map(|t| ("CUR_SERVTD_HASH", t.cur_service_td_hash));
    let bound: Vec<_> = [stated, at_creation, now]
        .into_iter()
        .flatten()
        .map(|(field, hash)| (field, Digest384(hash)))
        .filter(|(_, hash)| hash.0 != [0; 48] && !listed.contains(hash))
        .map(|(field, hash)| {
            format!(
                "{field}: expected zero or one of {} values that the policy lists, got {hash}",
                listed.len()
            )
        })
        .collect();
    (!bound.is_empty()).then(|| {
        below_cpu_tee(
            "tdx.service_td",
            bound.join("; "),
            "the operator must create the guest without service TD; or list this one",
        )
    })
}
