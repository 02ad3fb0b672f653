//! A log's name and public keys.

use std::fmt;

use hanzo_attestation::keyset::LogKeys;
use hanzo_attestation::{Digest256, jcs};
use hanzo_pqc::SignatureSuite;
use hanzo_pqc::sign::NoteVerifyingKeys;
use serde::{Deserialize, Deserializer, Serialize, de};

use crate::LogError;

/// A log's name, and its key's: 1 to 128 bytes out of `a-z 0-9 . _ - /`, no part between slashes empty.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Origin(String);

impl Origin {
    /// Checks and takes `text`.
    ///
    /// # Errors
    /// [`LogError::Key`].
    pub fn new(text: &str) -> Result<Self, LogError> {
        let alphabet = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-' | b'/');
        if text.len() > 128 || !text.bytes().all(alphabet) || text.split('/').any(str::is_empty) {
            return Err(LogError::Key {
                what: "origin: expected 1 to 128 characters out of a-z 0-9 . _ - /, no empty part".into(),
            });
        }
        Ok(Self(text.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Origin {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        Self::new(&text).map_err(de::Error::custom)
    }
}

/// A log's public key as documents carry it: canonical JSON `{"ed25519","ml_dsa","origin","suite"}`, keys in lower-case hex.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogKey {
    /// Ed25519 public key.
    pub ed25519: String,
    /// ML-DSA public key.
    pub ml_dsa: String,
    /// The log's name.
    pub origin: Origin,
    /// `ml-dsa-65` or `ml-dsa-87`.
    pub suite: String,
}

/// Longest document that [`LogKey::from_document`] reads.
const DOCUMENT_BYTES_MAX: usize = 64 * 1024;

impl LogKey {
    /// How a key is written.
    pub fn of(origin: Origin, keys: &NoteVerifyingKeys) -> Self {
        Self {
            ed25519: hex::encode(keys.ed25519()),
            ml_dsa: hex::encode(keys.ml_dsa()),
            origin,
            suite: keys.suite().name().to_owned(),
        }
    }

    /// Reads a key from its own document, or from the member `log` of another one (a broker's `identity.json`).
    ///
    /// # Errors
    /// [`LogError::Key`].
    pub fn from_document(bytes: &[u8]) -> Result<Self, LogError> {
        let fail = |e: &dyn fmt::Display| LogError::Key { what: e.to_string() };
        let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        let document: serde_json::Value =
            jcs::from_slice("key document", bytes, DOCUMENT_BYTES_MAX).map_err(|e| fail(&e))?;
        let key = match document.get("log") {
            Some(member) => member.clone(),
            None => document,
        };
        serde_json::from_value(key).map_err(|_| {
            fail(&"expected {\"ed25519\",\"ml_dsa\",\"origin\",\"suite\"}, or a document (identity.json) with it as member log")
        })
    }

    /// The key that a keyset names.
    ///
    /// # Errors
    /// [`LogError::Key`] for a name that no log has.
    pub fn of_keyset(log: &LogKeys) -> Result<Self, LogError> {
        Ok(Self {
            ed25519: log.ed25519.clone(),
            ml_dsa: log.ml_dsa.clone(),
            origin: Origin::new(&log.origin)?,
            suite: log.suite.clone(),
        })
    }

    /// As a keyset names it.
    pub fn to_keyset(&self) -> LogKeys {
        LogKeys {
            ed25519: self.ed25519.clone(),
            ml_dsa: self.ml_dsa.clone(),
            origin: self.origin.as_str().to_owned(),
            suite: self.suite.clone(),
        }
    }

    /// Ready to verify.
    ///
    /// # Errors
    /// [`LogError::Key`].
    pub fn verifier(&self) -> Result<LogVerifier, LogError> {
        let fail = |what: String| LogError::Key { what };
        let suite = SignatureSuite::from_name(&self.suite)
            .ok_or_else(|| fail("suite: expected ml-dsa-65 or ml-dsa-87".into()))?;
        let keys = NoteVerifyingKeys::from_hex(suite, &self.ml_dsa, &self.ed25519).map_err(|e| fail(e.to_string()))?;
        Ok(LogVerifier::new(self.origin.clone(), keys))
    }
}

/// A log's name and keys with the key ids under which they sign.
#[derive(Debug, Clone)]
pub struct LogVerifier {
    pub(crate) origin: Origin,
    pub(crate) keys: NoteVerifyingKeys,
    pub(crate) ed25519_id: [u8; 4],
    pub(crate) ml_dsa_id: [u8; 4],
}

impl LogVerifier {
    /// Computes the key ids: `SHA-256(origin || 0x0A || type || public key)[..4]`, type 0x01 for Ed25519 and
    /// `0xFF || "hanzo/log-head/v1 " || suite || 0x0A` for ML-DSA.
    pub fn new(origin: Origin, keys: NoteVerifyingKeys) -> Self {
        let id = |kind: &[u8], key: &[u8]| key_id(origin.as_str(), kind, key);
        let own = [b"\xffhanzo/log-head/v1 ", keys.suite().name().as_bytes(), b"\n"].concat();
        Self {
            ed25519_id: id(&[1], keys.ed25519()),
            ml_dsa_id: id(&own, keys.ml_dsa()),
            origin,
            keys,
        }
    }

    /// The key as documents carry it.
    pub fn key(&self) -> LogKey {
        LogKey::of(self.origin.clone(), &self.keys)
    }

    /// The log's name.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }
}

/// C2SP signed-note: `SHA-256(name || 0x0A || kind || public key)[..4]`; `kind` of an Ed25519 key is the byte 0x01.
pub fn key_id(name: &str, kind: &[u8], public_key: &[u8]) -> [u8; 4] {
    let Digest256([a, b, c, d, ..]) = Digest256::of(&[name.as_bytes(), b"\n", kind, public_key].concat());
    [a, b, c, d]
}
