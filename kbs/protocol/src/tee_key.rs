//! The key that a session asks secrets to be wrapped to.

use hanzo_attestation::Digest384;
use hanzo_attestation::jcs;
use hanzo_pqc::hpke::PublicKey;
use serde_json::Value;

use crate::jwe::JweKey;
use crate::wrap_key::{ALG_MLKEM1024_P384, ALG_XWING};
use crate::{WireError, WrapKey};

/// A checked `tee-pubkey`: our own HPKE keys, or the kinds that CoCo's guests make.
#[derive(Debug)]
pub enum TeeKey {
    /// Answered with a [`crate::WrappedDek`].
    Hpke(WrapKey),
    /// Answered with a JWE.
    Jwe {
        /// What to encrypt to.
        key: JweKey,
        /// SHA-384 of the object's canonical form.
        recipient: Digest384,
    },
}

impl TeeKey {
    /// Reads a `tee-pubkey` object.
    ///
    /// # Errors
    /// [`WireError::WrapKey`] for keys with our own `alg`, [`WireError::Jwk`] for all others.
    pub fn parse(object: &Value) -> Result<Self, WireError> {
        let alg = object.get("alg").and_then(Value::as_str);
        if matches!(alg, Some(ALG_XWING | ALG_MLKEM1024_P384)) {
            return WrapKey::parse(object).map(Self::Hpke);
        }
        let key = JweKey::parse(object)?;
        let canonical = jcs::to_vec("tee-pubkey", object).map_err(|_| WireError::Jwk {
            what: "it has no canonical form",
        })?;
        Ok(Self::Jwe {
            key,
            recipient: Digest384::of(&canonical),
        })
    }

    /// The grant's `recipient`: SHA-384 of an HPKE key's bytes, or of the canonical form of a JWK.
    pub fn recipient(&self) -> Digest384 {
        match self {
            Self::Hpke(key) => key.recipient(),
            Self::Jwe { recipient, .. } => *recipient,
        }
    }

    /// The HPKE key, if it is one of ours.
    pub fn hpke(&self) -> Option<&PublicKey> {
        match self {
            Self::Hpke(key) => Some(key.public_key()),
            Self::Jwe { .. } => None,
        }
    }

    /// `alg` of the key.
    pub fn algorithm(&self) -> &'static str {
        match self {
            Self::Hpke(key) => match key.public_key().suite() {
                hanzo_pqc::KemSuite::Xwing => ALG_XWING,
                hanzo_pqc::KemSuite::MlKem1024P384 => ALG_MLKEM1024_P384,
            },
            Self::Jwe { key, .. } => key.algorithm(),
        }
    }
}
