//! `RSA-OAEP-256` (RFC 7518 section 4.3). `RSA1_5` is refused: its decryption is an oracle.

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rsa::{
    KeySize, OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, OaepPublicEncryptingKey, PrivateDecryptingKey,
    PublicEncryptingKey, PublicKey, PublicKeyComponents,
};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::header::Header;
use super::{Cek, JweError, cek_of, check_members, encode, member};
use crate::WireError;

/// `alg` of these keys.
pub const ALG_OAEP: &str = "RSA-OAEP-256";

/// Bits of the modulus, least and most.
const BITS: std::ops::RangeInclusive<usize> = 2048..=8192;
const BACKEND: JweError = JweError::Backend { what: "RSA" };

/// An RSA key of 2048 to 8192 bits.
pub struct RsaKey(OaepPublicEncryptingKey);

impl std::fmt::Debug for RsaKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RsaKey({} bits)", self.0.key_size_bits())
    }
}

impl RsaKey {
    pub(super) fn parse(object: &Value) -> Result<Self, WireError> {
        let wrong = |what| WireError::Jwk { what };
        if object.get("alg").and_then(Value::as_str) == Some("RSA1_5") {
            return Err(wrong("alg RSA1_5 is never accepted"));
        }
        check_members(object, ALG_OAEP, 4)?;
        let (n, e) = member(object, "n")
            .zip(member(object, "e"))
            .ok_or(wrong("n or e is not base64url without padding"))?;
        if !n.first().is_some_and(|b| *b != 0) || !e.first().is_some_and(|b| *b != 0) {
            return Err(wrong("n or e is empty or begins with a zero byte"));
        }
        // Before any arithmetic: the backend would reckon with whatever length comes.
        let bits = n.len() * 8 - n.first().map_or(0, |b| b.leading_zeros() as usize);
        if !BITS.contains(&bits) || e.len() > 4 {
            return Err(wrong("n has fewer than 2048 or more than 8192 bits, or e more than 32"));
        }
        // The backend takes 1, under which the "ciphertext" is the plaintext.
        let odd = |number: &[u8]| number.last().is_some_and(|b| b & 1 == 1);
        if !odd(&n) || !odd(&e) || e == [1] {
            return Err(wrong("n or e is not odd, or e is 1"));
        }
        let key: PublicEncryptingKey = PublicKeyComponents { n, e }
            .try_into()
            .map_err(|_| wrong("n and e are no RSA key"))?;
        let key = OaepPublicEncryptingKey::new(key).map_err(|_| wrong("n and e are no RSA key"))?;
        Ok(Self(key))
    }

    pub(super) fn wrap(&self, cek: &Cek) -> Result<(Header, Vec<u8>), JweError> {
        let mut out = vec![0; self.0.ciphertext_size()];
        let len = self
            .0
            .encrypt(&OAEP_SHA256_MGF1SHA256, cek.as_slice(), &mut out, None)
            .map_err(|_| BACKEND)?
            .len();
        out.truncate(len);
        Ok((Header::new(ALG_OAEP), out))
    }
}

/// An RSA private key.
pub struct RsaPrivateKey {
    key: OaepPrivateDecryptingKey,
    public: Value,
}

impl RsaPrivateKey {
    pub(super) fn generate() -> Result<Self, JweError> {
        let key = PrivateDecryptingKey::generate(KeySize::Rsa2048).map_err(|_| BACKEND)?;
        let spki = key.public_key().as_der().map_err(|_| BACKEND)?;
        let public = PublicKey::from_der(spki.as_ref()).map_err(|_| BACKEND)?;
        let [n, e] = [public.modulus(), public.exponent()].map(|k| encode(k.big_endian_without_leading_zero()));
        Ok(Self {
            public: json!({"alg": ALG_OAEP, "e": e, "kty": "RSA", "n": n}),
            key: OaepPrivateDecryptingKey::new(key).map_err(|_| BACKEND)?,
        })
    }

    pub(super) fn public_value(&self) -> Result<Value, JweError> {
        Ok(self.public.clone())
    }

    pub(super) fn unwrap(&self, header: &Header, encrypted_key: &[u8]) -> Result<Cek, JweError> {
        header.check(ALG_OAEP)?;
        let mut out = Zeroizing::new(vec![0; self.key.min_output_size()]);
        let key = self
            .key
            .decrypt(&OAEP_SHA256_MGF1SHA256, encrypted_key, &mut out, None)
            .map_err(|_| JweError::Open)?;
        cek_of(key)
    }
}
