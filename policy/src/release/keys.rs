//! Release keys: who may say which images are good, and how many of them must agree.

use std::collections::BTreeSet;

use hanzo_attestation::Digest256;
use hanzo_attestation::name::Name;
use hanzo_pqc::sign::{Signature, VerifyingKeys};
use hanzo_pqc::{Domain, SignatureSuite};
use serde::{Deserialize, Serialize};

use super::bundle::ReleaseSignature;
use super::error::ReleaseError;
use crate::policy::all_differ;

/// Fewest keys that must agree.
pub const THRESHOLD_MIN: u8 = 2;
/// Most keys of one set.
pub const KEYS_MAX: usize = 16;

/// The public keys of one holder: ML-DSA-65 and Ed25519, of which both must verify.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseKey {
    /// Ed25519 public key, lower-case hex.
    pub ed25519: String,
    /// ML-DSA-65 public key, lower-case hex.
    pub ml_dsa: String,
    /// For people: whose it is. Each name once in a set.
    pub name: Name,
}

impl ReleaseKey {
    /// How a key is written; `None` unless it is of suite ML-DSA-65 with Ed25519.
    pub fn of(name: Name, keys: &VerifyingKeys) -> Option<Self> {
        (keys.suite() == SignatureSuite::MlDsa65Ed25519).then(|| Self {
            ed25519: keys.ed25519_hex(),
            ml_dsa: keys.ml_dsa_hex(),
            name,
        })
    }

    /// Ready to verify.
    ///
    /// # Errors
    /// [`ReleaseError::Key`].
    pub fn verifying(&self) -> Result<VerifyingKeys, ReleaseError> {
        VerifyingKeys::from_hex(SignatureSuite::MlDsa65Ed25519, &self.ml_dsa, &self.ed25519).map_err(|source| {
            ReleaseError::Key {
                name: self.name.clone(),
                source,
            }
        })
    }

    /// The key's id in signatures: SHA-256 over both public keys in lower-case hex, Ed25519 first. Its name is no part of it.
    pub fn id(&self) -> Digest256 {
        Digest256::of([self.ed25519.as_bytes(), self.ml_dsa.as_bytes()].concat().as_slice())
    }
}

/// A set of keys, and how many of them must sign.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseKeys {
    /// The keys.
    pub keys: Vec<ReleaseKey>,
    /// How many of them: 2 to as many as there are.
    pub threshold: u8,
}

impl ReleaseKeys {
    /// Checks number, threshold, and that the keys are those of different holders: neither a name nor a half twice.
    ///
    /// # Errors
    /// [`ReleaseError::Value`], [`ReleaseError::Key`].
    pub fn check(&self) -> Result<(), ReleaseError> {
        check_keys(&self.keys, self.threshold)
    }

    /// The names of those of this set who signed `message` under `domain`, in the set's order. Every signature of theirs must
    /// verify; those of other keys are passed over and do not count. `version` is for messages alone.
    ///
    /// # Errors
    /// [`ReleaseError::Quorum`], [`ReleaseError::Repeated`], [`ReleaseError::Signature`].
    pub fn quorum(
        &self,
        domain: Domain,
        version: u64,
        message: &[u8],
        signatures: &[ReleaseSignature],
    ) -> Result<Vec<Name>, ReleaseError> {
        let pinned: Vec<_> = self.keys.iter().map(|key| (key.id(), key)).collect();
        let mut seen = BTreeSet::new();
        let mut signed = BTreeSet::new();
        for signature in signatures {
            let known = pinned.iter().find(|(id, _)| *id == signature.key);
            if !seen.insert(signature.key) {
                return Err(ReleaseError::Repeated {
                    version,
                    key: known.map_or_else(|| signature.key.to_string(), |(_, k)| k.name.to_string()),
                });
            }
            let Some((_, key)) = known else { continue };
            let failed = |source| ReleaseError::Signature {
                version,
                key: key.name.clone(),
                source,
            };
            let both = Signature::from_hex(&signature.ml_dsa, &signature.ed25519).map_err(failed)?;
            key.verifying()?.verify(domain, message, &both).map_err(failed)?;
            signed.insert(&key.name);
        }
        if signed.len() < usize::from(self.threshold) {
            return Err(ReleaseError::Quorum {
                version,
                required: self.threshold,
                got: signed.len(),
                foreign: seen.len() - signed.len(),
            });
        }
        let in_order = self.keys.iter().map(|k| &k.name).filter(|name| signed.contains(name));
        Ok(in_order.cloned().collect())
    }
}

pub(crate) fn check_keys(keys: &[ReleaseKey], threshold: u8) -> Result<(), ReleaseError> {
    let wrong = |field, expected, got| Err(ReleaseError::Value { field, expected, got });
    if keys.len() > KEYS_MAX || keys.len() < usize::from(THRESHOLD_MIN) {
        return wrong("keys", "2 to 16 keys", keys.len().to_string());
    }
    if threshold < THRESHOLD_MIN || usize::from(threshold) > keys.len() {
        return wrong(
            "threshold",
            "2 to as many as there are keys",
            format!("{threshold} of {}", keys.len()),
        );
    }
    if !all_differ(keys.iter().map(|k| &k.name).collect()) {
        return wrong("keys", "each name once", "a repeated name".into());
    }
    // A holder who registered one half under two names would count twice where that half is broken.
    if !all_differ(keys.iter().map(|k| &k.ed25519).collect()) || !all_differ(keys.iter().map(|k| &k.ml_dsa).collect()) {
        return wrong("keys", "each public key once", "a repeated one".into());
    }
    keys.iter().try_for_each(|key| key.verifying().map(drop))
}
