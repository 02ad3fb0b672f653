//! Carries a decision out: what our own guests get, and what CoCo's get.

use hanzo_kbs_protocol::TeeKey;
use hanzo_pqc::Dek;
use hanzo_pqc::sign::SigningKeys;
use hanzo_vault::{Recipient, ReleaseGrant, release, release_jwe};

use crate::KbsError;
use crate::broker::Denied;

/// The session's key in the words of release policies.
pub(crate) fn recipient(key: &TeeKey) -> Recipient<'_> {
    match key {
        TeeKey::Hpke(key) => Recipient::Hpke(key),
        TeeKey::Jwe { key, recipient } if key.is_post_quantum() => Recipient::Akp(*recipient),
        TeeKey::Jwe { recipient, .. } => Recipient::Classical(*recipient),
    }
}

/// The reply's body; `None` if the secret is no data key and was asked for with a key that only those are wrapped to.
pub(crate) fn carry_out(
    decision: ReleaseGrant,
    secret: &[u8],
    to: &TeeKey,
    signer: &SigningKeys,
) -> Result<Option<Vec<u8>>, Denied> {
    match to {
        TeeKey::Hpke(_) => {
            let Ok(dek) = Dek::from_slice(secret) else {
                return Ok(None);
            };
            let wrapped = release(decision, &dek, signer)?;
            Ok(Some(wrapped.canonical().map_err(KbsError::from)?))
        }
        TeeKey::Jwe { key, recipient } => {
            let grant = release_jwe(decision)?;
            // The decision was for this key and no other.
            if grant.recipient != *recipient {
                return Err(KbsError::Stored {
                    what: "a grant's recipient",
                }
                .into());
            }
            Ok(Some(key.encrypt(secret).map_err(KbsError::from)?))
        }
    }
}
