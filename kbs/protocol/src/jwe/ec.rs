//! `ECDH-ES+A256KW` on P-256 and P-521 (RFC 7518 section 4.6).

use aws_lc_rs::agreement::{
    self, Algorithm, ECDH_P256, ECDH_P521, EphemeralPrivateKey, ParsedPublicKey, PrivateKey, UnparsedPublicKey,
    agree_ephemeral,
};
use aws_lc_rs::rand::SystemRandom;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::aes_kw::{unwrap_256, wrap_256};
use super::header::{Epk, Header};
use super::{Cek, JweError, check_members, decode, encode, kdf, member};
use crate::WireError;

/// `alg` of these keys.
pub const ALG_ECDH: &str = "ECDH-ES+A256KW";

const BACKEND: JweError = JweError::Backend { what: "ECDH" };

/// A curve of FIPS 186-5.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Curve {
    /// secp256r1.
    P256,
    /// secp521r1.
    P521,
}

impl Curve {
    /// The word in `crv`.
    pub fn name(self) -> &'static str {
        match self {
            Self::P256 => "P-256",
            Self::P521 => "P-521",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        [Self::P256, Self::P521].into_iter().find(|c| c.name() == name)
    }

    /// Length of a coordinate in bytes.
    fn field_bytes(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P521 => 66,
        }
    }

    fn algorithm(self) -> &'static Algorithm {
        match self {
            Self::P256 => &ECDH_P256,
            Self::P521 => &ECDH_P521,
        }
    }

    /// `04 || x || y`, if that is a point of this curve.
    fn point(self, x: &[u8], y: &[u8]) -> Option<Vec<u8>> {
        if x.len() != self.field_bytes() || y.len() != self.field_bytes() {
            return None;
        }
        let point = [&[4], x, y].concat();
        let parsed = ParsedPublicKey::try_from(&UnparsedPublicKey::new(self.algorithm(), &point)).ok()?;
        (parsed.alg() == self.algorithm()).then_some(point)
    }

    /// Coordinates of an uncompressed point, in base64url.
    fn coordinates(self, point: &[u8]) -> Option<(String, String)> {
        let (x, y) = point.strip_prefix(&[4])?.split_at_checked(self.field_bytes())?;
        (y.len() == self.field_bytes()).then(|| (encode(x), encode(y)))
    }
}

/// A point that is on its curve.
#[derive(Debug)]
pub struct EcKey {
    curve: Curve,
    point: Vec<u8>,
}

impl EcKey {
    pub(super) fn parse(object: &Value) -> Result<Self, WireError> {
        check_members(object, ALG_ECDH, 5)?;
        let wrong = |what| WireError::Jwk { what };
        let curve = object
            .get("crv")
            .and_then(Value::as_str)
            .and_then(Curve::from_name)
            .ok_or(wrong("crv is neither P-256 nor P-521"))?;
        let point = member(object, "x")
            .zip(member(object, "y"))
            .and_then(|(x, y)| curve.point(&x, &y))
            .ok_or(wrong("x and y are no point of the curve"))?;
        Ok(Self { curve, point })
    }

    pub(super) fn wrap(&self, cek: &Cek) -> Result<(Header, Vec<u8>), JweError> {
        let algorithm = self.curve.algorithm();
        let ephemeral = EphemeralPrivateKey::generate(algorithm, &SystemRandom::new()).map_err(|_| BACKEND)?;
        let public = ephemeral.compute_public_key().map_err(|_| BACKEND)?;
        let (x, y) = self.curve.coordinates(public.as_ref()).ok_or(BACKEND)?;
        let peer = UnparsedPublicKey::new(algorithm, &self.point);
        let kek = agree_ephemeral(ephemeral, peer, BACKEND, |z| Ok(kek(z)))?;
        let mut header = Header::new(ALG_ECDH);
        header.epk = Some(Epk {
            crv: self.curve.name().to_owned(),
            kty: "EC".to_owned(),
            x,
            y,
        });
        Ok((header, wrap_256(&kek, cek)?.to_vec()))
    }
}

/// A private key on one of the curves.
pub struct EcPrivateKey {
    curve: Curve,
    key: PrivateKey,
}

impl EcPrivateKey {
    pub(super) fn generate(curve: Curve) -> Result<Self, JweError> {
        let key = PrivateKey::generate(curve.algorithm()).map_err(|_| BACKEND)?;
        Ok(Self { curve, key })
    }

    pub(super) fn public_value(&self) -> Result<Value, JweError> {
        let public = self.key.compute_public_key().map_err(|_| BACKEND)?;
        let (x, y) = self.curve.coordinates(public.as_ref()).ok_or(BACKEND)?;
        Ok(json!({"alg": ALG_ECDH, "crv": self.curve.name(), "kty": "EC", "x": x, "y": y}))
    }

    pub(super) fn unwrap(&self, header: &Header, encrypted_key: &[u8]) -> Result<Cek, JweError> {
        header.check(ALG_ECDH)?;
        let malformed = JweError::Malformed { what: "epk" };
        let epk = header.epk.as_ref().ok_or(malformed.clone())?;
        if epk.kty != "EC" || epk.crv != self.curve.name() {
            return Err(malformed);
        }
        let point = self.curve.point(&decode(&epk.x)?, &decode(&epk.y)?).ok_or(malformed)?;
        let peer = UnparsedPublicKey::new(self.curve.algorithm(), point);
        let kek = agreement::agree(&self.key, peer, BACKEND, |z| Ok(kek(z)))?;
        unwrap_256(&kek, encrypted_key)
    }
}

fn kek(z: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut out = Zeroizing::new([0; 32]);
    kdf::concat_kdf(z, ALG_ECDH, b"", b"", out.as_mut_slice());
    out
}
