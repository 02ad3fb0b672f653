//! Identities of hardware, for allow-lists.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

macro_rules! identity {
    ($(#[$doc:meta])* $name:ident, $len:literal, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $len]);

        impl $name {
            /// Takes the bytes as evidence has them; `None` for all zeros, which names nothing.
            pub fn new(bytes: [u8; $len]) -> Option<Self> {
                (bytes != [0; $len]).then_some(Self(bytes))
            }

            /// Reads the lower-case hex digits; `None` for anything else and for all zeros.
            pub fn from_hex(text: &str) -> Option<Self> {
                if text.len() != 2 * $len || !is_lower_hex(text) {
                    return None;
                }
                let mut out = [0; $len];
                hex::decode_to_slice(text, &mut out).ok()?;
                Self::new(out)
            }

            /// The raw bytes.
            pub fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
                Self::from_hex(&text).ok_or_else(|| {
                    de::Error::custom(format!(
                        concat!($what, ": expected {} lower-case hex digits that are not all zero, got {} bytes of text"),
                        2 * $len,
                        text.len()
                    ))
                })
            }
        }
    };
}

identity!(
    /// CHIP_ID of an SNP report: 64 bytes. Turin fills the first 8 and leaves the rest zero. All zeros is a masked id.
    ChipId, 64, "chip id"
);
identity!(
    /// PPID of an Intel platform: 16 bytes, from the PCK certificate.
    Ppid, 16, "PPID"
);

fn is_lower_hex(text: &str) -> bool {
    text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// Identity of an NVIDIA GPU or switch, 1 to 40 lower-case hex digits: its UEID (serial number of the leaf certificate, which a
/// firmware update changes) or its device id (serial number of the BROM certificate, which none changes).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Ueid(String);

impl Ueid {
    /// Reads the digits; `None` for anything else.
    pub fn from_hex(text: &str) -> Option<Self> {
        ((1..=40).contains(&text.len()) && is_lower_hex(text)).then(|| Self(text.to_owned()))
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Ueid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Ueid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ueid({self})")
    }
}

impl<'de> Deserialize<'de> for Ueid {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        Self::from_hex(&text).ok_or_else(|| {
            de::Error::custom(format!(
                "UEID: expected 1 to 40 lower-case hex digits, got {} bytes of text",
                text.len()
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chip_id_is_128_lower_case_digits_and_never_the_masked_one() {
        let good = "ab".repeat(64);
        assert_eq!(ChipId::from_hex(&good).unwrap().to_string(), good);
        for bad in [&good[2..], &good.replacen("ab", "AB", 1), &"00".repeat(64), ""] {
            assert_eq!(ChipId::from_hex(bad), None);
        }
        assert_eq!(ChipId::new([0; 64]), None);
    }

    #[test]
    fn a_ppid_is_32_digits_and_a_ueid_at_most_40() {
        assert!(Ppid::from_hex(&"0a".repeat(16)).is_some());
        assert_eq!(Ppid::from_hex(&"0a".repeat(15)), None);
        assert_eq!(Ppid::new([0; 16]), None);
        assert_eq!(Ueid::from_hex("47e1").unwrap().as_str(), "47e1");
        for bad in ["", "47E1", "0x47", &"1".repeat(41)] {
            assert_eq!(Ueid::from_hex(bad), None, "{bad}");
        }
    }
}
