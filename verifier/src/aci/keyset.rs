//! The keyset, its digest, and what the hardware signs over it.

use hanzo_attestation::foreign::json_without_duplicates;
use hanzo_attestation::{Digest256, Digest384, jcs};
use hanzo_pqc::sign::WitnessVerifyingKey;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::AciError;

/// Longest keyset.
pub const ACI_KEYSET_BYTES_MAX: usize = 64 << 10;
/// Most keys of one role.
const KEYS_MAX: usize = 64;
/// Longest key identifier.
const KEY_ID_BYTES_MAX: usize = 256;

const WHAT: &str = "keyset";
const ED25519: &str = "ed25519";

/// A keyset, read: its digest, its end, and the keys that may sign receipts. Whatever else is in it is hashed and not looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AciKeyset {
    digest: Digest256,
    not_after: u64,
    receipt_keys: Vec<(String, WitnessVerifyingKey)>,
    hanzo: Option<AciHanzo>,
}

/// A keyset to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AciKeysetDraft {
    /// Keys of end-to-end encryption.
    pub e2ee_public_keys: Vec<AciKey>,
    /// What a guest of this project adds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hanzo: Option<AciHanzo>,
    /// Its last second, Unix time.
    pub not_after: u64,
    /// Keys that sign receipts.
    pub receipt_signing_keys: Vec<AciKey>,
    /// Whose it is, as the deployment names it.
    pub subject: String,
    /// Keys of TLS.
    pub tls_public_keys: Vec<AciTlsKey>,
}

/// What a guest of this project adds to its keyset: which of its own it goes with, and what its grants said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AciHanzo {
    /// SHA-384 of its own keyset's canonical form.
    pub keyset_digest: Digest384,
    /// True if any grant came from simulated evidence. Then every receipt says so too.
    pub simulated: bool,
    /// The tier of its grants.
    pub tier: u8,
}

/// A public key for one purpose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AciKey {
    /// Of what kind: `ed25519`, `x25519-aes-256-gcm-hkdf-sha256` …
    pub algo: String,
    /// How documents name it.
    pub key_id: String,
    /// Lower-case hex.
    pub public_key: String,
}

/// A key of TLS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AciTlsKey {
    /// The one host name at which it serves; `None`: at any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// SHA-256 of its SubjectPublicKeyInfo.
    pub spki_sha256: Digest256,
}

/// What is read of a keyset; other members are hashed alone.
#[derive(Deserialize)]
struct Known {
    not_after: u64,
    #[serde(default)]
    receipt_signing_keys: Vec<AciKey>,
    #[serde(default)]
    hanzo: Option<AciHanzo>,
}

impl AciKeysetDraft {
    /// Its JCS form.
    ///
    /// # Errors
    /// [`AciError::Canonical`].
    pub fn canonical(&self) -> Result<Vec<u8>, AciError> {
        Ok(jcs::to_vec("aci keyset", self)?)
    }
}

impl AciKeyset {
    /// Reads a keyset in any encoding.
    ///
    /// # Establishes
    /// Nothing about whose it is: that its digest is under a guest's evidence is for [`crate::foreign`] to say.
    ///
    /// # Errors
    /// [`AciError::TooLarge`], [`AciError::Shape`], [`AciError::Value`].
    pub fn from_json(bytes: &[u8]) -> Result<Self, AciError> {
        if bytes.len() > ACI_KEYSET_BYTES_MAX {
            return Err(AciError::TooLarge {
                what: WHAT,
                limit: ACI_KEYSET_BYTES_MAX,
                got: bytes.len(),
            });
        }
        let shape = |detail| AciError::Shape { what: WHAT, detail };
        let value: Value = json_without_duplicates(bytes).map_err(shape)?;
        let digest = Digest256::of(&jcs::to_vec("aci keyset", &value)?);
        let known: Known = serde_json::from_value(value).map_err(|e| shape(e.to_string()))?;
        let keys = known.receipt_signing_keys;
        let value = |field, expected| AciError::Value {
            what: WHAT,
            field,
            expected,
        };
        if keys.len() > KEYS_MAX {
            return Err(value("receipt_signing_keys", "at most 64 keys"));
        }
        let mut receipt_keys: Vec<(String, WitnessVerifyingKey)> = Vec::new();
        // A kind that this verifier does not know signs nothing here.
        for key in keys.into_iter().filter(|key| key.algo == ED25519) {
            if key.key_id.is_empty() || key.key_id.len() > KEY_ID_BYTES_MAX {
                return Err(value("receipt_signing_keys.key_id", "1 to 256 bytes"));
            }
            if receipt_keys.iter().any(|(id, _)| *id == key.key_id) {
                return Err(value("receipt_signing_keys.key_id", "each id once"));
            }
            let public = Digest256::from_hex(&key.public_key).and_then(|k| WitnessVerifyingKey::from_bytes(&k.0).ok());
            let public = public.ok_or_else(|| {
                value(
                    "receipt_signing_keys.public_key",
                    "64 lower-case hex digits: a point in its one encoding and not of small order",
                )
            })?;
            receipt_keys.push((key.key_id, public));
        }
        Ok(Self {
            digest,
            not_after: known.not_after,
            receipt_keys,
            hanzo: known.hanzo,
        })
    }

    /// SHA-256 of its JCS form.
    pub fn digest(&self) -> Digest256 {
        self.digest
    }

    /// Its last second, Unix time.
    pub fn not_after(&self) -> u64 {
        self.not_after
    }

    /// What a guest of this project added; `None` in other projects' keysets.
    pub fn hanzo(&self) -> Option<&AciHanzo> {
        self.hanzo.as_ref()
    }

    /// True if it says that its processor is simulated.
    pub fn simulated(&self) -> bool {
        self.hanzo.as_ref().is_some_and(|hanzo| hanzo.simulated)
    }

    pub(super) fn receipt_key(&self, id: &str) -> Option<&WitnessVerifyingKey> {
        self.receipt_keys
            .iter()
            .find(|(known, _)| known == id)
            .map(|(_, key)| key)
    }
}
