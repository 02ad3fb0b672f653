//! Release bundles that admins gave: checked when they come, and anew whenever a key is decided.
//!
//! A key's policy pins release keys, a log and a line; the bundle of that line brings the reference values and the image's
//! version. Nobody can put one that the keys of this tenant would not take, nor an older one.

use hanzo_attestation::UnixTime;
use hanzo_attestation::name::Name;
use hanzo_policy::release::{ReleaseBundle, ReleaseError, VerifiedRelease};
use hanzo_store::Tx;
use hanzo_vault::KeyPolicy;

use crate::KbsError;
use crate::tenant::{self, Document, DocumentError};

/// The release of a key's policy as the store has it: verified under that policy, or why it is not. `None` for a policy
/// that names no line, and where there is none yet.
pub(crate) type OfKey = Option<Result<VerifiedRelease, ReleaseError>>;

/// Reads and verifies the release that `policy` names.
pub(crate) fn of_key(tx: &Tx<'_>, tenant: &Name, policy: &KeyPolicy) -> Result<OfKey, KbsError> {
    let Some(asked) = &policy.appraisal.release else {
        return Ok(None);
    };
    let stored = tenant::newest(tx, tenant, &Document::Release(asked.name.clone()))?;
    Ok(stored.map(|stored| ReleaseBundle::parse(stored.text.as_bytes()).and_then(|bundle| bundle.verify(asked))))
}

/// Checks a bundle that is to be stored: it counts now under the policy of a key of this tenant, and follows on the one
/// that is there, whose head may be signed anew but not be an older one.
pub(crate) fn check(
    tx: &Tx<'_>,
    tenant: &Name,
    line: &Name,
    before: Option<&str>,
    text: &str,
    now: UnixTime,
) -> Result<(), Checked> {
    let bundle = ReleaseBundle::parse(text.as_bytes()).map_err(DocumentError::from)?;
    let mut refused = None;
    let mut release = None;
    for policy in policies(tx, tenant)? {
        let Some(asked) = policy.appraisal.release.as_ref().filter(|asked| asked.name == *line) else {
            continue;
        };
        let verified = bundle.verify(asked).and_then(|v| v.check_time(now).map(|()| v));
        match verified {
            Ok(verified) => release = Some(verified),
            Err(e) => refused = refused.or(Some(e)),
        }
    }
    let Some(release) = release else {
        let unused = DocumentError::UnusedRelease { line: line.clone() };
        return Err(refused.map_or(unused, DocumentError::Release).into());
    };
    let Some(before) = before else { return Ok(()) };
    let before = ReleaseBundle::parse(before.as_bytes()).map_err(DocumentError::from)?;
    release.may_follow(&last_seen(&before)?).map_err(DocumentError::from)?;
    Ok(())
}

fn last_seen(bundle: &ReleaseBundle) -> Result<hanzo_policy::release::LastSeen, DocumentError> {
    let manifest = &bundle.release.manifest;
    Ok(hanzo_policy::release::LastSeen {
        manifest_sha384: manifest.digest()?,
        version: manifest.version,
    })
}

/// The policies of this tenant's keys that name a line of releases, each once.
fn policies(tx: &Tx<'_>, tenant: &Name) -> Result<Vec<KeyPolicy>, KbsError> {
    let sql = "SELECT DISTINCT policy FROM keys WHERE tenant = ?1 AND revoked = 0 AND policy LIKE '%\"release\":{%'";
    tx.query(sql, &[tenant.as_str().into()])?
        .iter()
        .map(|row| {
            let policy = KeyPolicy::parse(row.text(0)?.as_bytes());
            policy.map_err(|_| KbsError::Stored { what: "a key policy" })
        })
        .collect()
}

/// Why a bundle was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Checked {
    #[error(transparent)]
    Document(#[from] DocumentError),
    #[error(transparent)]
    Broker(#[from] KbsError),
}
