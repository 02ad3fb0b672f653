//! The keys that signed the ID block: who says which image this is. All zeros is a guest without one.

use hanzo_attestation::Digest384;

use super::{Case, RuleFailure, below_cpu_tee};

pub(super) fn check_id_key(case: &Case<'_>) -> Option<RuleFailure> {
    let got = Digest384(case.report().id_key_digest);
    (!case.table.id_keys.admits(&got)).then(|| {
        below_cpu_tee(
            "snp.id_key",
            format!("ID_KEY_DIGEST: expected {}, got {got}", case.table.id_keys.describe()),
            "the operator must launch the guest with an ID block of a listed key",
        )
    })
}

pub(super) fn check_author_key(case: &Case<'_>) -> Option<RuleFailure> {
    let report = case.report();
    // Without the flag the field is not the digest of anything.
    let got = Digest384(if report.author_key_enabled {
        report.author_key_digest
    } else {
        [0; 48]
    });
    (!case.table.author_keys.admits(&got)).then(|| {
        below_cpu_tee(
            "snp.author_key",
            format!(
                "AUTHOR_KEY_DIGEST: expected {}, got {got}",
                case.table.author_keys.describe()
            ),
            "the operator must launch the guest with an ID block whose key a listed author signed",
        )
    })
}
