//! Whose manifests of models count.

use serde::{Deserialize, Serialize};

use super::ConfigError;
use crate::name::Name;

/// Most keys of a set.
const KEYS_MAX: usize = 8;
const ML_DSA_65_BYTES: usize = 1952;
const ED25519_BYTES: usize = 32;

/// The keys of those who sign manifests of models, and how many of them must agree (`enclave/model/SPEC.md`).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSigners {
    /// How many of them: 2 to as many as there are.
    pub threshold: u8,
    /// The keys: 2 to 8.
    pub keys: Vec<ModelSigner>,
}

/// One holder's public keys: ML-DSA-65 and Ed25519, of which both must verify. As `hanzo-image release keygen` writes them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSigner {
    /// For people: whose it is.
    pub name: Name,
    /// Ed25519 public key, lower-case hex.
    pub ed25519: String,
    /// ML-DSA-65 public key, lower-case hex.
    pub ml_dsa: String,
}

/// Checks number, threshold and the form of each key; that they are keys shows when they verify something.
pub(super) fn check(signers: &ModelSigners) -> Result<(), ConfigError> {
    let wrong = |field, expected, got: String| Err(ConfigError::Value { field, expected, got });
    if !(2..=KEYS_MAX).contains(&signers.keys.len()) {
        return wrong("model_signers.keys", "2 to 8 keys", signers.keys.len().to_string());
    }
    if signers.threshold < 2 || usize::from(signers.threshold) > signers.keys.len() {
        return wrong(
            "model_signers.threshold",
            "2 to as many as there are keys",
            signers.threshold.to_string(),
        );
    }
    let is_hex = |text: &str, bytes: usize| {
        text.len() == 2 * bytes && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    for key in &signers.keys {
        if !is_hex(&key.ml_dsa, ML_DSA_65_BYTES) || !is_hex(&key.ed25519, ED25519_BYTES) {
            return wrong(
                "model_signers.keys",
                "lower-case hex of an ML-DSA-65 and an Ed25519 key",
                format!("another text for {}", key.name),
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signers(count: usize, threshold: u8) -> ModelSigners {
        let key = |at| ModelSigner {
            name: Name::new(&format!("holder-{at}")).unwrap(),
            ed25519: "ab".repeat(ED25519_BYTES),
            ml_dsa: "cd".repeat(ML_DSA_65_BYTES),
        };
        ModelSigners {
            threshold,
            keys: (0..count).map(key).collect(),
        }
    }

    #[test]
    fn sets_of_two_to_eight_keys_and_a_threshold_within_are_taken() {
        assert_eq!(check(&signers(2, 2)), Ok(()));
        assert_eq!(check(&signers(8, 3)), Ok(()));
        for (count, threshold) in [(1, 1), (9, 2), (2, 1), (2, 3)] {
            assert_eq!(
                check(&signers(count, threshold)).unwrap_err().code(),
                "config.value",
                "{threshold} of {count}"
            );
        }
        for (ml_dsa, ed25519) in [("cd", "ab"), ("CD", "ab"), ("cd", "zz")] {
            let mut bad = signers(2, 2);
            bad.keys[1].ml_dsa = ml_dsa.repeat(ML_DSA_65_BYTES);
            bad.keys[1].ed25519 = ed25519.repeat(ED25519_BYTES);
            let is_bad = check(&bad).is_err();
            assert_eq!(is_bad, (ml_dsa, ed25519) != ("cd", "ab"));
        }
    }
}
