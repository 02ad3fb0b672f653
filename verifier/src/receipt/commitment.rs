//! Salted commitments: SHA-384(32 random bytes || exact bytes).

use hanzo_attestation::Digest384;
use hanzo_attestation::digest::Hasher384;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// 32 random bytes that hide what a commitment is to. The caller's alone, so there is no Debug or Display.
#[derive(Clone, PartialEq, Eq)]
pub struct Salt(pub [u8; 32]);

impl Salt {
    /// Reads exactly 64 lower-case hex digits.
    pub fn from_hex(text: &str) -> Option<Self> {
        lower_hex(text).map(Self)
    }
}

impl Serialize for Salt {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&hex::encode(self.0))
    }
}

impl<'de> Deserialize<'de> for Salt {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        Self::from_hex(&text).ok_or_else(|| de::Error::custom("salt: expected 64 lower-case hex digits"))
    }
}

/// The commitment to `bytes` under `salt`.
pub fn commitment(salt: &Salt, bytes: &[u8]) -> Digest384 {
    let mut running = Commitment::new(salt);
    running.update(bytes);
    running.finish()
}

/// A commitment to bytes that come in pieces.
#[derive(Clone)]
pub struct Commitment(Hasher384);

impl Commitment {
    /// Starts with the salt.
    pub fn new(salt: &Salt) -> Self {
        let mut hasher = Hasher384::default();
        hasher.update(&salt.0);
        Self(hasher)
    }

    /// Takes the next piece.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The commitment to all pieces.
    pub fn finish(self) -> Digest384 {
        self.0.finish()
    }
}

pub(super) fn lower_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != 2 * N || text.bytes().any(|b| !matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    let mut out = [0; N];
    hex::decode_to_slice(text, &mut out).ok()?;
    Some(out)
}
