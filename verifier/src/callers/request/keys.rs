//! A caller's keys for its requests.

use hanzo_pqc::dsa::{MlDsa65, VerifyingKey};
use hanzo_pqc::sign::WitnessVerifyingKey;
use serde::{Deserialize, Serialize};

use super::{RequestAlgorithm, RequestError};

/// Public keys of one caller, lower-case hex: at least one. Where there are both, both sign every request.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestKeys {
    /// 32 bytes (RFC 8032), or `null`.
    pub ed25519: Option<String>,
    /// 1,952 bytes (FIPS 204), or `null`.
    pub ml_dsa_65: Option<String>,
}

fn lower_hex(text: &str) -> Option<Vec<u8>> {
    let is_lower = text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    is_lower.then(|| hex::decode(text).ok()).flatten()
}

impl RequestKeys {
    /// Refuses what no request could be signed with.
    ///
    /// # Errors
    /// [`RequestError::Key`].
    pub fn check(&self) -> Result<(), RequestError> {
        let wrong = |what| Err(RequestError::Key { what });
        if self.ed25519.is_none() && self.ml_dsa_65.is_none() {
            return wrong("expected ed25519, ml_dsa_65 or both, got neither");
        }
        if self.ed25519.is_some() && self.classical().is_none() {
            return wrong(
                "ed25519: expected 32 bytes in lower-case hex, a point in its one encoding and not of small order",
            );
        }
        if self.ml_dsa_65.is_some() && self.post_quantum().is_none() {
            return wrong("ml_dsa_65: expected 1952 bytes in lower-case hex");
        }
        Ok(())
    }

    /// An Ed25519 key that signs a foreign format alone: the rules for such keys are those for witnesses'.
    fn classical(&self) -> Option<WitnessVerifyingKey> {
        WitnessVerifyingKey::from_bytes(&lower_hex(self.ed25519.as_deref()?)?).ok()
    }

    fn post_quantum(&self) -> Option<VerifyingKey<MlDsa65>> {
        VerifyingKey::from_bytes(&lower_hex(self.ml_dsa_65.as_deref()?)?).ok()
    }

    pub(super) fn algorithms(&self) -> Vec<RequestAlgorithm> {
        let classical = self.ed25519.is_some().then_some(RequestAlgorithm::Ed25519);
        let post_quantum = self.ml_dsa_65.is_some().then_some(RequestAlgorithm::MlDsa65);
        classical.into_iter().chain(post_quantum).collect()
    }

    pub(super) fn verifies(&self, algorithm: RequestAlgorithm, message: &[u8], signature: &[u8]) -> bool {
        match algorithm {
            RequestAlgorithm::Ed25519 => self
                .classical()
                .is_some_and(|key| key.verify(message, signature).is_ok()),
            RequestAlgorithm::MlDsa65 => self
                .post_quantum()
                .is_some_and(|key| key.verify(message, signature).is_ok()),
        }
    }
}
