//! The protected header. Struct order is wire order.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hanzo_attestation::foreign::json_without_duplicates;
use serde::{Deserialize, Serialize};

use super::{ENC, JweError};

/// Members of a header in the order that stock clients expect.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Header {
    pub(super) alg: String,
    enc: String,
    /// KEM ciphertext, base64url.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) ek: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) epk: Option<Epk>,
}

/// An ephemeral key.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Epk {
    pub(super) crv: String,
    pub(super) kty: String,
    pub(super) x: String,
    pub(super) y: String,
}

impl Header {
    pub(super) fn new(alg: &str) -> Self {
        Self {
            alg: alg.to_owned(),
            enc: ENC.to_owned(),
            ek: None,
            epk: None,
        }
    }

    pub(super) fn encode(&self) -> Result<String, JweError> {
        let json = serde_json::to_vec(self).map_err(|_| JweError::Backend { what: "JSON" })?;
        Ok(URL_SAFE_NO_PAD.encode(json))
    }

    pub(super) fn decode(protected: &str) -> Result<Self, JweError> {
        let malformed = JweError::Malformed {
            what: "protected header",
        };
        let json = URL_SAFE_NO_PAD.decode(protected).map_err(|_| malformed.clone())?;
        let value = json_without_duplicates(&json).map_err(|_| malformed.clone())?;
        serde_json::from_value(value).map_err(|_| malformed)
    }

    /// Checks that this header is for `alg` and has the members of it alone.
    pub(super) fn check(&self, alg: &str) -> Result<(), JweError> {
        if self.alg != alg || self.enc != ENC {
            return Err(JweError::Algorithm);
        }
        let (ek, epk) = (alg == super::ALG_MLKEM768, alg == super::ALG_ECDH);
        if self.ek.is_some() != ek || self.epk.is_some() != epk {
            return Err(JweError::Malformed {
                what: "protected header: members of another algorithm",
            });
        }
        Ok(())
    }
}
