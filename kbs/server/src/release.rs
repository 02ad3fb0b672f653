//! Carries a decision out: what our own guests get, and what CoCo's get.

use hanzo_kbs_protocol::TeeKey;
use hanzo_pqc::Dek;
use hanzo_pqc::sign::SigningKeys;
use hanzo_vault::{Recipient, ReleaseGrant, Unsigned, release_jwe, sign_each, wrap};

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

/// A reply that is carried out up to the broker's signature.
pub(crate) enum Reply {
    /// For our own guests.
    Unsigned(Unsigned),
    /// For CoCo's, which know no signature of ours.
    Body(Vec<u8>),
}

/// The reply; `None` if the secret is no data key and was asked for with a key that only those are wrapped to.
pub(crate) fn carry_out(
    decision: ReleaseGrant,
    secret: &[u8],
    to: &TeeKey,
    signer: &SigningKeys,
) -> Result<Option<Reply>, Denied> {
    match to {
        TeeKey::Hpke(_) => {
            let Ok(dek) = Dek::from_slice(secret) else {
                return Ok(None);
            };
            Ok(Some(Reply::Unsigned(wrap(decision, &dek, signer)?)))
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
            Ok(Some(Reply::Body(key.encrypt(secret).map_err(KbsError::from)?)))
        }
    }
}

/// The bodies of replies, in their order. Those that need one get a signature: together, where one may cover several.
pub(crate) fn sign(replies: Vec<Reply>, signer: &SigningKeys) -> Result<Vec<Vec<u8>>, Denied> {
    let mut unsigned = Vec::new();
    let bodies: Vec<_> = replies
        .into_iter()
        .map(|reply| match reply {
            Reply::Body(body) => Some(body),
            Reply::Unsigned(wrapped) => {
                unsigned.push(wrapped);
                None
            }
        })
        .collect();
    let mut signed = sign_each(unsigned, signer)?.into_iter();
    let bodies = bodies.into_iter().map(|body| match (body, &mut signed) {
        (Some(body), _) => Ok(body),
        (None, signed) => {
            let wrapped = signed.next().ok_or(KbsError::Stored { what: "a signature" })?;
            Ok(wrapped.canonical().map_err(KbsError::from)?)
        }
    });
    bodies.collect()
}
