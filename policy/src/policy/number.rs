//! Numbers that TOML and JSON cannot carry as integers.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A 64-bit number, written as 16 lower-case hex digits, most significant first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hex64(pub u64);

/// Sixteen security version numbers, written as 32 lower-case hex digits in the order of the quote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Svn(pub [u8; 16]);

/// A dotted version such as `570.86.15`: 1 to 4 decimal numbers. Compared number by number; a missing one is 0.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DottedVersion([u32; 4]);

impl DottedVersion {
    /// The lowest version.
    pub const ZERO: Self = Self([0; 4]);

    /// Reads `570.86.15`; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let mut out = [0; 4];
        let mut places = out.iter_mut();
        for part in text.split('.') {
            let plain = (1..=6).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
            *places.next()? = part.parse().ok().filter(|_| plain)?;
        }
        Some(Self(out))
    }
}

impl fmt::Display for DottedVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d] = self.0;
        match (b, c, d) {
            (0, 0, 0) => write!(f, "{a}"),
            (_, 0, 0) => write!(f, "{a}.{b}"),
            (_, _, 0) => write!(f, "{a}.{b}.{c}"),
            _ => write!(f, "{a}.{b}.{c}.{d}"),
        }
    }
}

impl fmt::Display for Hex64 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Display for Svn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

macro_rules! as_text {
    ($name:ident, $expected:literal, $read:expr) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
                let read: fn(&str) -> Option<Self> = $read;
                read(&text)
                    .filter(|value| value.to_string() == *text)
                    .ok_or_else(|| de::Error::custom(concat!("expected ", $expected)))
            }
        }
    };
}

as_text!(Hex64, "16 lower-case hex digits", |text| u64::from_str_radix(text, 16)
    .ok()
    .map(Hex64));
as_text!(Svn, "32 lower-case hex digits", |text| {
    let mut out = [0; 16];
    hex::decode_to_slice(text, &mut out).ok()?;
    Some(Svn(out))
});
as_text!(
    DottedVersion,
    "a version of 1 to 4 numbers without leading or trailing zeros, e.g. 570.86.15",
    DottedVersion::parse
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        let v = |text| DottedVersion::parse(text).unwrap();
        assert!(v("570.86.15") > v("570.86.9") && v("570.86") < v("570.86.1") && v("535.104.05") == v("535.104.5"));
        assert_eq!(v("570.86.15").to_string(), "570.86.15");
        for bad in ["", "570.", "570.86.15.1.2", "v570", "570.-1", "5700000", "570 "] {
            assert_eq!(DottedVersion::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn each_number_has_one_spelling() {
        let hex = |text: &str| serde_json::from_value::<Hex64>(text.into()).ok();
        assert_eq!(hex("000000000006dbe7"), Some(Hex64(0x6_dbe7)));
        for bad in ["6dbe7", "000000000006DBE7", "+00000000006dbe7", ""] {
            assert_eq!(hex(bad), None, "{bad}");
        }
        let svn = |text: &str| serde_json::from_value::<Svn>(text.into()).ok();
        assert_eq!(svn("05010200000000000000000000000000").unwrap().0[..3], [5, 1, 2]);
        assert_eq!(svn("0501"), None);
        let version = |text: &str| serde_json::from_value::<DottedVersion>(text.into()).ok();
        assert!(version("570.86.15").is_some() && version("570.086").is_none() && version("570.0").is_none());
    }
}
