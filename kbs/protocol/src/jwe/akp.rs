//! `ML-KEM-768+A192KW` (draft-ietf-jose-pqc-kem-05). The KEM ciphertext is header member `ek`; the key encryption key is
//! KMAC256(shared secret, `len(alg) || alg || 192`, 192 bits, no customization), numbers big-endian u32.

use hanzo_pqc::kem::{DecapsulationKey, EncapsulationKey, MlKem768, SharedSecret};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::aes_kw::{unwrap_192, wrap_192};
use super::header::Header;
use super::{Cek, JweError, check_members, decode, encode, kdf, member};
use crate::WireError;

/// `alg` of these keys.
pub const ALG_MLKEM768: &str = "ML-KEM-768+A192KW";

/// A validated ML-KEM-768 encapsulation key.
#[derive(Debug)]
pub struct AkpKey(EncapsulationKey<MlKem768>);

impl AkpKey {
    pub(super) fn parse(object: &Value) -> Result<Self, WireError> {
        check_members(object, ALG_MLKEM768, 3)?;
        member(object, "pub")
            .and_then(|bytes| EncapsulationKey::from_bytes(&bytes).ok())
            .map(Self)
            .ok_or(WireError::Jwk {
                what: "pub is no ML-KEM-768 encapsulation key (1184 bytes, base64url without padding)",
            })
    }

    pub(super) fn wrap(&self, cek: &Cek) -> Result<(Header, Vec<u8>), JweError> {
        let (ciphertext, secret) = self.0.encapsulate()?;
        let mut header = Header::new(ALG_MLKEM768);
        header.ek = Some(encode(&ciphertext));
        Ok((header, wrap_192(&kek(&secret), cek)?.to_vec()))
    }
}

/// An ML-KEM-768 decapsulation key.
pub struct AkpPrivateKey(DecapsulationKey<MlKem768>);

impl AkpPrivateKey {
    pub(super) fn generate() -> Result<Self, JweError> {
        Ok(Self(DecapsulationKey::generate()?))
    }

    pub(super) fn public_value(&self) -> Value {
        json!({"alg": ALG_MLKEM768, "kty": "AKP", "pub": encode(self.0.encapsulation_key().as_bytes())})
    }

    pub(super) fn unwrap(&self, header: &Header, encrypted_key: &[u8]) -> Result<Cek, JweError> {
        header.check(ALG_MLKEM768)?;
        let ek = header.ek.as_ref().ok_or(JweError::Malformed { what: "ek" })?;
        let secret = self.0.decapsulate(&decode(ek)?)?;
        unwrap_192(&kek(&secret), encrypted_key)
    }
}

fn kek(secret: &SharedSecret) -> Zeroizing<[u8; 24]> {
    let mut x = Vec::new();
    x.extend_from_slice(&17u32.to_be_bytes());
    x.extend_from_slice(ALG_MLKEM768.as_bytes());
    x.extend_from_slice(&192u32.to_be_bytes());
    let mut out = Zeroizing::new([0; 24]);
    kdf::kmac256(secret.expose(), &x, b"", out.as_mut_slice());
    out
}
