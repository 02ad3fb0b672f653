//! A consensus key that wants onto a chain: what a validator of a later boot, or a new one, shows to registrars.

use hanzo_attestation::Digest256;
use hanzo_attestation::jcs::{self, JcsError};
use hanzo_ledger::{Canonical, DecodeError, Fixed, List, MlDsaSignature, NewKey};
use serde::{Deserialize, Serialize};

use crate::candidate::EVIDENCE_BYTES_MAX;
use crate::keys::{VALIDATOR_KEYS_BYTES, ValidatorKeys};

/// Longest `key.json` in bytes.
pub const KEY_REQUEST_BYTES_MAX: usize = 256 * 1024;

/// A consensus key of one boot, with what shows that it may vote but for the registrars' words. Written as canonical JSON (RFC 8785):
/// `key.json`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRequest {
    /// The keys of the boot, on the chain that they are for.
    pub keys: ValidatorKeys,
    /// Over [`ValidatorKeys::report_data`]: JCS of the `cpu` member of a bundle.
    pub evidence: Vec<u8>,
    /// Of the consensus key, over [`NewKey::possession_message`].
    pub possession: MlDsaSignature,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    evidence: String,
    keys: String,
    possession: String,
    version: u32,
}

/// Not a key request.
#[derive(Debug, thiserror::Error)]
pub enum KeyRequestError {
    /// The JSON.
    #[error(transparent)]
    Json(#[from] JcsError),
    /// The keys' bytes.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// A field's value.
    #[error("key request: {field}: expected {expected}, got {got}: take the validator's newest key.json")]
    Value {
        /// Which.
        field: &'static str,
        /// What it may be.
        expected: String,
        /// What it is.
        got: String,
    },
}

impl KeyRequestError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Json(_) => "chain.key_request.json",
            Self::Decode(e) => e.code(),
            Self::Value { .. } => "chain.key_request.value",
        }
    }
}

fn bytes_of(field: &'static str, text: &str, max: usize) -> Result<Vec<u8>, KeyRequestError> {
    let lower = text.len() <= max.saturating_mul(2) && !text.bytes().any(|b| b.is_ascii_uppercase());
    let bytes = lower.then(|| hex::decode(text).ok()).flatten();
    bytes.ok_or_else(|| KeyRequestError::Value {
        field,
        expected: format!("at most {max} bytes in lower-case hex"),
        got: format!("{} characters", text.len()),
    })
}

impl KeyRequest {
    /// Reads `key.json` and checks what can be checked without appraising the evidence.
    ///
    /// # Errors
    /// [`KeyRequestError`].
    pub fn parse(json: &[u8]) -> Result<Self, KeyRequestError> {
        let written: Written = jcs::from_slice("key request", json, KEY_REQUEST_BYTES_MAX)?;
        let value = |field, expected: &str, got: String| KeyRequestError::Value {
            field,
            expected: expected.into(),
            got,
        };
        if written.version != 1 {
            return Err(value("version", "1", written.version.to_string()));
        }
        let keys = bytes_of("keys", &written.keys, VALIDATOR_KEYS_BYTES)?;
        let keys: ValidatorKeys = Canonical::from_bytes("keys", &keys, VALIDATOR_KEYS_BYTES)?;
        if keys.incarnation == 0 || keys.network.genesis == Digest256([0; 32]) {
            let got = format!("{} on {}", keys.incarnation, keys.network.genesis);
            return Err(value("keys", "an incarnation from 1 on, on a chain that began", got));
        }
        let possession = bytes_of("possession", &written.possession, 3309)?;
        Ok(Self {
            keys,
            evidence: bytes_of("evidence", &written.evidence, EVIDENCE_BYTES_MAX)?,
            possession: Fixed::new(&possession)
                .ok_or_else(|| value("possession", "3309 bytes", possession.len().to_string()))?,
        })
    }

    /// As it is written.
    ///
    /// # Errors
    /// [`KeyRequestError::Json`]: never for values of this type.
    pub fn to_json(&self) -> Result<Vec<u8>, KeyRequestError> {
        let written = Written {
            evidence: hex::encode(&self.evidence),
            keys: hex::encode(self.keys.to_bytes()),
            possession: hex::encode(&*self.possession),
            version: 1,
        };
        Ok(jcs::to_vec("key request", &written)?)
    }

    /// The key as a transaction brings it, endorsed by nobody yet.
    pub fn new_key(&self, tier: u8, simulated: bool) -> NewKey {
        NewKey {
            incarnation: self.keys.incarnation,
            key: self.keys.consensus.clone(),
            evidence: Digest256::of(&self.evidence),
            tier,
            simulated,
            possession: self.possession.clone(),
            endorsements: List::default(),
        }
    }
}
