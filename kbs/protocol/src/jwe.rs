//! Secrets for CoCo's own guests: flattened JWE (RFC 7516), as Trustee answers to a resource request.
//!
//! # Layout
//! `{"protected","encrypted_key","iv","ciphertext","tag"}`, each base64url without padding. The protected header is compact
//! JSON with its members in exactly this order, because stock clients write it anew to get the additional data:
//!
//! | `alg` | further members | key encryption |
//! |---|---|---|
//! | `ECDH-ES+A256KW` | `epk` {`crv`,`kty`,`x`,`y`} | ECDH on P-256 or P-521, Concat KDF (RFC 7518 section 4.6), AES-256-KW |
//! | `RSA-OAEP-256` | none | OAEP with SHA-256 and MGF1 with SHA-256 |
//! | `ML-KEM-768+A192KW` | `ek`: the KEM ciphertext | ML-KEM-768, KMAC256, AES-192-KW (draft-ietf-jose-pqc-kem-05) |
//!
//! `enc` stands after `alg` and is `A256GCM`; its additional data are the ASCII bytes of `protected`; `iv` is 12 bytes, `tag` 16.
//!
//! # Does not establish
//! Who made it: a JWE is not signed, and whoever knows the public key can make one. Our own guests take
//! [`crate::WrappedDek`] instead.

pub mod aes_kw;
mod akp;
mod ec;
mod error;
mod header;
pub mod kdf;
mod rsa;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hanzo_attestation::foreign::json_without_duplicates;
use hanzo_pqc::aead::{self, NONCE_LEN, TAG_LEN};
use hanzo_pqc::random;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::WireError;
use akp::{AkpKey, AkpPrivateKey};
use ec::{EcKey, EcPrivateKey};
use rsa::{RsaKey, RsaPrivateKey};

pub use akp::ALG_MLKEM768;
pub use ec::{ALG_ECDH, Curve};
pub use error::JweError;
pub use rsa::ALG_OAEP;

/// Longest secret in bytes.
pub const SECRET_BYTES_MAX: usize = 64 * 1024;
const JWE_BYTES_MAX: usize = 96 * 1024;
const ENC: &str = "A256GCM";

/// Content encryption key: made for one JWE.
type Cek = Zeroizing<[u8; 32]>;

/// The public key that secrets are encrypted to, checked.
#[derive(Debug)]
pub enum JweKey {
    /// ECDH on a NIST curve.
    Ec(EcKey),
    /// RSA, at least 2048 bits.
    Rsa(RsaKey),
    /// ML-KEM-768.
    Akp(AkpKey),
}

impl JweKey {
    /// Reads a `tee-pubkey` object of kind EC, RSA, or AKP with [`ALG_MLKEM768`].
    ///
    /// # Errors
    /// [`WireError::Jwk`]: another algorithm, encoding or length, or a point that is not on its curve.
    pub fn parse(object: &Value) -> Result<Self, WireError> {
        match object.get("kty").and_then(Value::as_str) {
            Some("EC") => EcKey::parse(object).map(Self::Ec),
            Some("RSA") => RsaKey::parse(object).map(Self::Rsa),
            Some("AKP") => AkpKey::parse(object).map(Self::Akp),
            _ => Err(WireError::Jwk {
                what: "kty is none of EC, RSA and AKP",
            }),
        }
    }

    /// True if no quantum computer is known to open what is encrypted to this key.
    pub fn is_post_quantum(&self) -> bool {
        matches!(self, Self::Akp(_))
    }

    /// Its `alg`.
    pub fn algorithm(&self) -> &'static str {
        match self {
            Self::Ec(_) => ALG_ECDH,
            Self::Rsa(_) => ALG_OAEP,
            Self::Akp(_) => ALG_MLKEM768,
        }
    }

    /// Encrypts a secret of 1 to [`SECRET_BYTES_MAX`] bytes. The reply's body.
    ///
    /// # Errors
    /// [`JweError`].
    pub fn encrypt(&self, secret: &[u8]) -> Result<Vec<u8>, JweError> {
        if !(1..=SECRET_BYTES_MAX).contains(&secret.len()) {
            return Err(JweError::Secret { got: secret.len() });
        }
        let mut cek = Cek::new([0; 32]);
        random::fill(cek.as_mut_slice())?;
        let (header, encrypted_key) = match self {
            Self::Ec(key) => key.wrap(&cek)?,
            Self::Rsa(key) => key.wrap(&cek)?,
            Self::Akp(key) => key.wrap(&cek)?,
        };
        let protected = header.encode()?;
        let mut iv = [0; NONCE_LEN];
        random::fill(&mut iv)?;
        // Room for the tag, so that the plaintext is not left behind by a growing vector.
        let mut data = Vec::with_capacity(secret.len() + TAG_LEN);
        data.extend_from_slice(secret);
        aead::seal_in_place(&cek, &iv, protected.as_bytes(), &mut data)?;
        let tag = data.split_off(secret.len());
        let jwe = Flattened {
            protected,
            encrypted_key: encode(&encrypted_key),
            iv: encode(&iv),
            ciphertext: encode(&data),
            tag: encode(&tag),
        };
        serde_json::to_vec(&jwe).map_err(|_| JweError::Backend { what: "JSON" })
    }
}

/// The private half: for clients and tests. The broker has none.
pub enum JwePrivateKey {
    /// ECDH on a NIST curve.
    Ec(EcPrivateKey),
    /// RSA.
    Rsa(RsaPrivateKey),
    /// ML-KEM-768.
    Akp(AkpPrivateKey),
}

impl JwePrivateKey {
    /// Makes a key on `curve`.
    ///
    /// # Errors
    /// [`JweError::Backend`].
    pub fn generate_ec(curve: Curve) -> Result<Self, JweError> {
        EcPrivateKey::generate(curve).map(Self::Ec)
    }

    /// Makes an RSA key of 2048 bits.
    ///
    /// # Errors
    /// [`JweError::Backend`].
    pub fn generate_rsa() -> Result<Self, JweError> {
        RsaPrivateKey::generate().map(Self::Rsa)
    }

    /// Makes an ML-KEM-768 key.
    ///
    /// # Errors
    /// [`JweError::Crypto`].
    pub fn generate_akp() -> Result<Self, JweError> {
        AkpPrivateKey::generate().map(Self::Akp)
    }

    /// The `tee-pubkey` object.
    ///
    /// # Errors
    /// [`JweError::Backend`].
    pub fn public_value(&self) -> Result<Value, JweError> {
        match self {
            Self::Ec(key) => key.public_value(),
            Self::Rsa(key) => key.public_value(),
            Self::Akp(key) => Ok(key.public_value()),
        }
    }

    /// Decrypts a reply.
    ///
    /// # Errors
    /// [`JweError`]: not of this form, for another algorithm, or for another key.
    pub fn decrypt(&self, reply: &[u8]) -> Result<Zeroizing<Vec<u8>>, JweError> {
        if reply.len() > JWE_BYTES_MAX {
            return Err(JweError::Malformed { what: "too long" });
        }
        let malformed = |what| move |_| JweError::Malformed { what };
        let value = json_without_duplicates(reply).map_err(|_| JweError::Malformed { what: "not JSON" })?;
        let jwe: Flattened = serde_json::from_value(value).map_err(malformed("not a flattened JWE"))?;
        let header = header::Header::decode(&jwe.protected)?;
        let encrypted_key = decode(&jwe.encrypted_key)?;
        let iv: [u8; NONCE_LEN] = decode(&jwe.iv)?.try_into().map_err(|_| JweError::Malformed {
            what: "iv: not 12 bytes",
        })?;
        let tag = decode(&jwe.tag)?;
        if tag.len() != TAG_LEN {
            return Err(JweError::Malformed {
                what: "tag: not 16 bytes",
            });
        }
        let cek = match self {
            Self::Ec(key) => key.unwrap(&header, &encrypted_key)?,
            Self::Rsa(key) => key.unwrap(&header, &encrypted_key)?,
            Self::Akp(key) => key.unwrap(&header, &encrypted_key)?,
        };
        let mut data = Zeroizing::new(decode(&jwe.ciphertext)?);
        data.extend_from_slice(&tag);
        aead::open_in_place(&cek, &iv, jwe.protected.as_bytes(), &mut data)?;
        Ok(data)
    }
}

/// In the order that stock servers write them.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Flattened {
    protected: String,
    encrypted_key: String,
    iv: String,
    ciphertext: String,
    tag: String,
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn decode(text: &str) -> Result<Vec<u8>, JweError> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| JweError::Malformed {
        what: "not base64url without padding",
    })
}

/// A member of a JWK in base64url.
fn member(object: &Value, name: &str) -> Option<Vec<u8>> {
    let text = object.get(name)?.as_str()?;
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// Members that mean something to nobody here are refused: the evidence commits to them all the same.
fn check_members(object: &Value, alg: &str, count: usize) -> Result<(), WireError> {
    if object.as_object().map(serde_json::Map::len) != Some(count) {
        return Err(WireError::Jwk {
            what: "other members than this kind of key has",
        });
    }
    match object.get("alg").and_then(Value::as_str) {
        Some(got) if got == alg => Ok(()),
        _ => Err(WireError::Jwk { what: "another alg" }),
    }
}

fn cek_of(bytes: &[u8]) -> Result<Cek, JweError> {
    let cek: [u8; 32] = bytes.try_into().map_err(|_| JweError::Open)?;
    Ok(Cek::new(cek))
}
