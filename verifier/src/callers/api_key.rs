//! API keys: 32 random bytes that a caller shows, of which the table holds the hash.
//!
//! # Layout
//! `hz_`, 64 lower-case hex digits (the bytes), 8 more (the first 4 bytes of SHA-256(`hanzo/api-key-text/v1` || bytes)): 75
//! characters. The last 8 tell a mistyped key, and tell whoever looks for leaked ones that this is one; they are no secret's.
//!
//! The hash is SHA-384(`hanzo/api-key/v1` || bytes). A slow hash would buy nothing: it makes guessing dear where there is little to
//! guess, and here there are 2^256 keys. No password can become a key, because only drawn bytes can.

use hanzo_attestation::{Digest256, Digest384};
use hanzo_pqc::PqcError;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

const PREFIX: &str = "hz_";
const BYTES: usize = 32;
const CHECK_BYTES: usize = 4;

/// Characters of a key's text.
const TEXT_LEN: usize = PREFIX.len() + 2 * (BYTES + CHECK_BYTES);

/// A key, wiped when dropped.
///
/// ```compile_fail,E0277
/// fn wants_clone<T: Clone>() {}
/// wants_clone::<hanzo_verifier::callers::ApiKey>();
/// ```
/// ```compile_fail,E0277
/// fn wants_debug<T: std::fmt::Debug>() {}
/// wants_debug::<hanzo_verifier::callers::ApiKey>();
/// ```
pub struct ApiKey(Zeroizing<[u8; BYTES]>);

impl ApiKey {
    /// Draws one.
    ///
    /// # Errors
    /// [`PqcError::Backend`] if the random source fails.
    pub fn draw(fill: impl FnOnce(&mut [u8]) -> Result<(), PqcError>) -> Result<Self, PqcError> {
        let mut bytes = Zeroizing::new([0; BYTES]);
        fill(bytes.as_mut_slice())?;
        Ok(Self(bytes))
    }

    /// Reads a key's text. `None` for anything else, one changed character included.
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text.len() != TEXT_LEN {
            return None;
        }
        let digits = text.strip_prefix(PREFIX.as_bytes())?;
        if digits.iter().any(u8::is_ascii_uppercase) {
            return None;
        }
        let (key, check) = digits.split_at_checked(2 * BYTES)?;
        let mut bytes = Zeroizing::new([0; BYTES]);
        hex::decode_to_slice(key, bytes.as_mut_slice()).ok()?;
        let mut shown = [0; CHECK_BYTES];
        hex::decode_to_slice(check, &mut shown).ok()?;
        let key = Self(bytes);
        bool::from(key.check().ct_eq(&shown)).then_some(key)
    }

    /// What its owner keeps.
    pub fn text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(TEXT_LEN));
        text.push_str(PREFIX);
        let digits = Zeroizing::new(hex::encode(self.0.as_slice()));
        text.push_str(&digits);
        text.push_str(&hex::encode(self.check()));
        text
    }

    /// What a table holds of it.
    pub fn hash(&self) -> Digest384 {
        Digest384::of(&self.under(b"hanzo/api-key/v1"))
    }

    fn check(&self) -> [u8; CHECK_BYTES] {
        let digest = Digest256::of(&self.under(b"hanzo/api-key-text/v1"));
        let [a, b, c, d, ..] = digest.0;
        [a, b, c, d]
    }

    fn under(&self, domain: &[u8]) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(domain.len() + BYTES));
        bytes.extend_from_slice(domain);
        bytes.extend_from_slice(self.0.as_slice());
        bytes
    }
}
