//! From an attestation key to what stands behind it.

use super::AkOrigin;
use super::certificate::Certificate;
use super::error::TpmError;
use super::key::Key;
use crate::digest::Digest256;
use crate::evidence::{Anchors, UnixTime};

/// Most certificates below the root.
pub(super) const CHAIN_MAX: usize = 6;

/// What stands behind `key`: a pin, or a chain to a pinned root, or nothing. A chain that does not hold is an error, never
/// nothing.
pub(super) fn origin(key: &Key, chain: &[Certificate], anchors: &Anchors, now: UnixTime) -> Result<AkOrigin, TpmError> {
    if anchors.tpm_aks().contains(&key.digest()?) {
        return Ok(AkOrigin::Pinned);
    }
    let Some(leaf) = chain.first() else {
        return Ok(AkOrigin::Unknown);
    };
    if leaf.key() != key {
        return Err(TpmError::ChainKey);
    }
    if let Some(detail) = leaf.fault_as_leaf() {
        return Err(TpmError::Chain { place: 0, detail });
    }
    for (place, certificate) in chain.iter().enumerate() {
        check_validity(certificate, place, now)?;
        if let Some(issuer) = chain.get(place.saturating_add(1)) {
            check_issued(certificate, issuer, place)?;
        }
    }
    find_root(chain, anchors, now)
}

/// The pinned root whose key signed the last certificate.
fn find_root(chain: &[Certificate], anchors: &Anchors, now: UnixTime) -> Result<AkOrigin, TpmError> {
    let place = chain.len().saturating_sub(1);
    let last = chain.last().ok_or(TpmError::Root)?;
    let mut refused = TpmError::Root;
    for der in anchors.tpm_roots() {
        let root = Certificate::parse(der).map_err(|detail| TpmError::Anchor { detail })?;
        if !last.names_as_issuer(&root) {
            continue;
        }
        match check_issued(last, &root, place) {
            Ok(()) => {
                check_validity(&root, chain.len(), now)?;
                return Ok(AkOrigin::Chained {
                    root: Digest256::of(der),
                });
            }
            Err(e) => refused = e,
        }
    }
    Err(refused)
}

/// Name, right to issue and signature, all three.
fn check_issued(certificate: &Certificate, issuer: &Certificate, place: usize) -> Result<(), TpmError> {
    let wrong = |detail| Err(TpmError::Chain { place, detail });
    if !certificate.names_as_issuer(issuer) {
        return wrong("its issuer is not the subject of the certificate above it");
    }
    if !issuer.may_issue(place) {
        return wrong("the certificate above it may not issue it: no authority, or its path length is exceeded");
    }
    if !certificate.is_signed_by(issuer) {
        return wrong("its signature does not verify under the key of the certificate above it");
    }
    Ok(())
}

fn check_validity(certificate: &Certificate, place: usize, now: UnixTime) -> Result<(), TpmError> {
    let (not_before, not_after) = certificate.validity();
    let now = now.0;
    if now < not_before {
        return Err(TpmError::NotYetValid { place, not_before, now });
    }
    if now > not_after {
        return Err(TpmError::Expired { place, not_after, now });
    }
    Ok(())
}
