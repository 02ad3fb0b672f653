//! Which chips may answer: the hardware allow-list.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// CHIP_ID of an SNP report: 64 bytes, as 128 lower-case hex digits. Turin fills the first 8 and leaves the rest zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChipId([u8; 64]);

impl ChipId {
    /// Takes the bytes of a report's CHIP_ID; `None` for all zeros, which is what a masked id looks like.
    pub fn new(bytes: [u8; 64]) -> Option<Self> {
        (bytes != [0; 64]).then_some(Self(bytes))
    }

    /// Reads exactly 128 lower-case hex digits; `None` for anything else and for all zeros.
    pub fn from_hex(text: &str) -> Option<Self> {
        if text.len() != 128 || text.bytes().any(|b| !matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return None;
        }
        let mut out = [0; 64];
        hex::decode_to_slice(text, &mut out).ok()?;
        Self::new(out)
    }

    /// The raw bytes.
    pub fn as_bytes(&self) -> &[u8; 64] {
        &self.0
    }
}

impl fmt::Display for ChipId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for ChipId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChipId({self})")
    }
}

impl Serialize for ChipId {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ChipId {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        Self::from_hex(&text).ok_or_else(|| {
            de::Error::custom(format!(
                "chip id: expected 128 lower-case hex digits that are not all zero, got {} bytes of text",
                text.len()
            ))
        })
    }
}

/// The chips that may answer. `any` must be written out; an empty list admits none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HardwareList {
    /// Every genuine chip: the word `any`.
    Any,
    /// These alone. A masked id and a VLEK-signed report, which names no chip, are never among them.
    Listed(Vec<ChipId>),
}

impl Serialize for HardwareList {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Any => s.serialize_str("any"),
            Self::Listed(ids) => ids.serialize(s),
        }
    }
}

impl<'de> Deserialize<'de> for HardwareList {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = HardwareList;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the word \"any\" or a list of chip ids")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<HardwareList, E> {
                if text == "any" {
                    Ok(HardwareList::Any)
                } else {
                    Err(E::custom(
                        "hardware: expected the word \"any\" or a list of chip ids, got another word",
                    ))
                }
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, seq: A) -> Result<HardwareList, A::Error> {
                Vec::deserialize(de::value::SeqAccessDeserializer::new(seq)).map(HardwareList::Listed)
            }
        }

        d.deserialize_any(Visitor)
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
}
