//! Fixed-length byte strings that travel as lower-case hex.

use std::fmt;

use aws_lc_rs::digest as lc;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

macro_rules! hex_bytes {
    ($(#[$doc:meta])* $name:ident, $len:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub [u8; $len]);

        impl $name {
            /// Length in bytes.
            pub const LEN: usize = $len;

            /// The raw bytes.
            pub fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }

            /// Reads exactly `2 * LEN` lower-case hex digits.
            pub fn from_hex(text: &str) -> Option<Self> {
                decode_lower_hex(text).map(Self)
            }
        }

        impl $name {
            /// Hands over the digits, which take no room of their own.
            fn digits<T>(&self, to: impl FnOnce(&str) -> T) -> T {
                let mut digits = [0; 2 * $len];
                // Never fails: it has the right length.
                let _ = hex::encode_to_slice(self.0, &mut digits);
                to(std::str::from_utf8(&digits).unwrap_or_default())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.digits(|digits| f.write_str(digits))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                self.digits(|digits| s.serialize_str(digits))
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
                Self::from_hex(&text).ok_or_else(|| {
                    de::Error::custom(format!(
                        concat!(stringify!($name), ": expected {} lower-case hex digits, got {} bytes of text"),
                        2 * $len,
                        text.len()
                    ))
                })
            }
        }
    };
}

hex_bytes!(
    /// A SHA-256 digest (FIPS 180-4), 32 bytes.
    Digest256,
    32
);
hex_bytes!(
    /// A SHA-384 digest (FIPS 180-4), 48 bytes. Also the width of an SNP or TDX launch measurement.
    Digest384,
    48
);
hex_bytes!(
    /// A 32-byte challenge drawn by a relying party, or the root over many of them (see [`crate::freshness`]).
    Nonce,
    32
);

impl Digest256 {
    /// SHA-256 of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        let mut out = [0; 32];
        out.copy_from_slice(lc::digest(&lc::SHA256, bytes).as_ref());
        Self(out)
    }
}

impl Digest384 {
    /// SHA-384 of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        let mut out = [0; 48];
        out.copy_from_slice(lc::digest(&lc::SHA384, bytes).as_ref());
        Self(out)
    }
}

/// SHA-256 over bytes that come in pieces.
#[derive(Clone)]
pub struct Hasher256(lc::Context);

impl Default for Hasher256 {
    fn default() -> Self {
        Self(lc::Context::new(&lc::SHA256))
    }
}

impl Hasher256 {
    /// Takes the next piece.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all pieces.
    pub fn finish(self) -> Digest256 {
        let mut out = [0; 32];
        out.copy_from_slice(self.0.finish().as_ref());
        Digest256(out)
    }
}

/// SHA-384 over bytes that come in pieces.
#[derive(Clone)]
pub struct Hasher384(lc::Context);

impl Default for Hasher384 {
    fn default() -> Self {
        Self(lc::Context::new(&lc::SHA384))
    }
}

impl Hasher384 {
    /// Takes the next piece.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all pieces.
    pub fn finish(self) -> Digest384 {
        let mut out = [0; 48];
        out.copy_from_slice(self.0.finish().as_ref());
        Digest384(out)
    }
}

/// SHA-512 of `bytes`, 64 bytes: the width of REPORT_DATA.
pub fn sha512(bytes: &[u8]) -> [u8; 64] {
    let mut out = [0; 64];
    out.copy_from_slice(lc::digest(&lc::SHA512, bytes).as_ref());
    out
}

fn decode_lower_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != 2 * N || text.bytes().any(|b| !matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    let mut out = [0; N];
    hex::decode_to_slice(text, &mut out).ok()?;
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upper_case_short_and_long_hex_are_refused() {
        let good = "00".repeat(32);
        assert_eq!(Digest256::from_hex(&good), Some(Digest256([0; 32])));
        assert_eq!(Digest256::from_hex(&good.replacen("00", "0A", 1)), None);
        assert_eq!(Digest256::from_hex(&good[2..]), None);
        assert_eq!(Digest256::from_hex(&format!("{good}00")), None);
    }

    #[test]
    fn sha256_in_pieces_is_sha256() {
        let mut pieces = Hasher256::default();
        pieces.update(b"a");
        pieces.update(b"bc");
        assert_eq!(pieces.finish(), Digest256::of(b"abc"));
    }

    #[test]
    fn sha384_of_abc_matches_fips_180_4() {
        assert!(
            Digest384::of(b"abc")
                .to_string()
                .starts_with("cb00753f45a35e8bb5a03d699ac65007272c32ab0eded163")
        );
    }
}
