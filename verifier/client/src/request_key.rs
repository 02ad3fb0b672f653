//! The keys of a caller that signs its requests (`enclave/inference/ACCESS.md`): as they are kept, and what they sign.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use hanzo_attestation::jcs;
use hanzo_attestation::name::Name;
use hanzo_pqc::PqcError;
use hanzo_pqc::dsa::{MlDsa65, SigningKey};
use hanzo_verifier::callers::{RequestAlgorithm, RequestError, RequestKeys, RequestLine};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize as _, Zeroizing};

const FILE: &str = "request key file";
const FILE_BYTES_MAX: usize = 4096;

/// Both seeds as they are kept.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    ed25519: String,
    id: Name,
    ml_dsa_65: String,
    #[serde(rename = "type")]
    kind: Kind,
}

#[derive(Serialize, Deserialize)]
enum Kind {
    #[serde(rename = "hanzo.request-key.v1")]
    V1,
}

impl Drop for KeyFile {
    fn drop(&mut self) {
        self.ed25519.zeroize();
        self.ml_dsa_65.zeroize();
    }
}

/// Signs a caller's requests with both keys.
///
/// ```compile_fail,E0277
/// fn wants_clone<T: Clone>() {}
/// wants_clone::<hanzo_client::RequestSigner>();
/// ```
/// ```compile_fail,E0277
/// fn wants_debug<T: std::fmt::Debug>() {}
/// wants_debug::<hanzo_client::RequestSigner>();
/// ```
pub struct RequestSigner {
    id: Name,
    ed25519: Ed25519KeyPair,
    ml_dsa_65: SigningKey<MlDsa65>,
}

impl RequestSigner {
    /// The keys of caller `id` out of two seeds: Ed25519's (RFC 8032) and ML-DSA's xi (FIPS 204), 32 bytes each.
    ///
    /// # Errors
    /// [`RequestError::Key`] if memory runs out.
    pub fn from_seeds(id: Name, ed25519: &[u8; 32], ml_dsa_65: &[u8; 32]) -> Result<Self, RequestError> {
        let wrong = RequestError::Key {
            what: "expected a seed of 32 bytes",
        };
        Ok(Self {
            id,
            ed25519: Ed25519KeyPair::from_seed_unchecked(ed25519).map_err(|_| wrong)?,
            ml_dsa_65: SigningKey::from_seed(ml_dsa_65).map_err(|_| wrong)?,
        })
    }

    /// Draws the keys of caller `id`, and the file that keeps them: canonical JSON, both seeds in lower-case hex.
    ///
    /// # Errors
    /// [`RequestError::Key`] if the random source fails.
    pub fn draw(
        id: Name,
        fill: impl FnOnce(&mut [u8]) -> Result<(), PqcError>,
    ) -> Result<Zeroizing<Vec<u8>>, RequestError> {
        let failed = RequestError::Key {
            what: "the random source failed",
        };
        let mut seeds = Zeroizing::new([0; 64]);
        fill(seeds.as_mut_slice()).map_err(|_| failed)?;
        let (ed25519, ml_dsa_65) = seeds.split_at(32);
        let file = KeyFile {
            ed25519: hex::encode(ed25519),
            id,
            ml_dsa_65: hex::encode(ml_dsa_65),
            kind: Kind::V1,
        };
        jcs::to_vec(FILE, &file).map(Zeroizing::new).map_err(|_| failed)
    }

    /// Reads such a file.
    ///
    /// # Errors
    /// [`RequestError::Key`]; it quotes nothing.
    pub fn from_file(bytes: &[u8]) -> Result<Self, RequestError> {
        let wrong = RequestError::Key {
            what: "expected a file of `hanzo-verify keys request-key`",
        };
        let file: KeyFile = jcs::from_slice(FILE, bytes, FILE_BYTES_MAX).map_err(|_| wrong)?;
        let (mut ed25519, mut ml_dsa_65) = (Zeroizing::new([0; 32]), Zeroizing::new([0; 32]));
        hex::decode_to_slice(&file.ed25519, ed25519.as_mut_slice()).map_err(|_| wrong)?;
        hex::decode_to_slice(&file.ml_dsa_65, ml_dsa_65.as_mut_slice()).map_err(|_| wrong)?;
        Self::from_seeds(file.id.clone(), &ed25519, &ml_dsa_65)
    }

    /// Whose they are.
    pub fn id(&self) -> &Name {
        &self.id
    }

    /// What the table holds.
    pub fn keys(&self) -> RequestKeys {
        RequestKeys {
            ed25519: Some(hex::encode(self.ed25519.public_key())),
            ml_dsa_65: Some(hex::encode(self.ml_dsa_65.verifying_key().as_bytes())),
        }
    }

    /// Values of `signature-input` and `signature` of a request. The nonce is 16 fresh random bytes.
    ///
    /// # Errors
    /// [`RequestError::Key`] if the random generator fails.
    pub fn sign(
        &self,
        line: &RequestLine<'_>,
        created: u64,
        nonce: [u8; 16],
    ) -> Result<(String, String), RequestError> {
        let failed = RequestError::Key {
            what: "the random generator failed",
        };
        let both = [RequestAlgorithm::Ed25519, RequestAlgorithm::MlDsa65];
        line.sign(&self.id, created, nonce, &both, |algorithm, message| match algorithm {
            RequestAlgorithm::Ed25519 => {
                let signature = self.ed25519.try_sign(message).map_err(|_| failed)?;
                Ok(signature.as_ref().to_vec())
            }
            RequestAlgorithm::MlDsa65 => self.ml_dsa_65.sign(message).map_err(|_| failed),
        })
    }
}
