//! The guest's wrapping key as RCAR carries it.
//!
//! # Layout
//! `{"alg":"hanzo-hpke-x-wing"|"hanzo-hpke-mlkem1024-p384","kty":"AKP","pub":"<base64url without padding>"}`, exactly
//! these members. `pub` is the HPKE public key: 1216 or 1665 bytes.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hanzo_attestation::Digest384;
use hanzo_pqc::hpke::{KemSuite, PublicKey};
use kbs_types::TeePubKey;
use serde_json::Value;

use crate::WireError;

pub(crate) const ALG_XWING: &str = "hanzo-hpke-x-wing";
pub(crate) const ALG_MLKEM1024_P384: &str = "hanzo-hpke-mlkem1024-p384";

/// A checked wrapping key.
#[derive(Debug)]
pub struct WrapKey(PublicKey);

impl WrapKey {
    /// Takes a key of this program's own making.
    pub fn new(key: PublicKey) -> Self {
        Self(key)
    }

    /// Reads a `tee-pubkey` object.
    ///
    /// # Errors
    /// [`WireError::WrapKey`].
    pub fn parse(object: &Value) -> Result<Self, WireError> {
        let wrong = |what| WireError::WrapKey { what };
        let members = object.as_object().ok_or(wrong("not an object"))?;
        let key: TeePubKey =
            serde_json::from_value(object.clone()).map_err(|_| wrong("not a key object of RCAR 0.4.0"))?;
        let (alg, public_key) = match key {
            TeePubKey::RSA { .. } | TeePubKey::EC { .. } => return Err(wrong("kty is not AKP")),
            TeePubKey::AKP { alg, public_key } => (alg, public_key),
        };
        if members.len() != 3 {
            return Err(wrong("other members than alg, kty and pub"));
        }
        let suite = match alg.as_str() {
            ALG_XWING => KemSuite::Xwing,
            ALG_MLKEM1024_P384 => KemSuite::MlKem1024P384,
            _ => return Err(wrong("another alg")),
        };
        let bytes = URL_SAFE_NO_PAD
            .decode(&public_key)
            .map_err(|_| wrong("pub is not base64url without padding"))?;
        PublicKey::from_bytes(suite, &bytes)
            .map(Self)
            .map_err(|_| wrong("pub is not a valid key of this alg"))
    }

    /// The object that [`WrapKey::parse`] reads.
    pub fn to_value(&self) -> Value {
        serde_json::json!({
            "alg": match self.0.suite() {
                KemSuite::Xwing => ALG_XWING,
                KemSuite::MlKem1024P384 => ALG_MLKEM1024_P384,
            },
            "kty": "AKP",
            "pub": URL_SAFE_NO_PAD.encode(self.0.as_bytes()),
        })
    }

    /// The key.
    pub fn public_key(&self) -> &PublicKey {
        &self.0
    }

    /// The grant's `recipient`.
    pub fn recipient(&self) -> Digest384 {
        recipient(&self.0)
    }
}

/// SHA-384 of the wrapping key's bytes: a grant's `recipient`.
pub fn recipient(key: &PublicKey) -> Digest384 {
    Digest384::of(key.as_bytes())
}
