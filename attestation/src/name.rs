//! Names: `[a-z0-9._-]{1,64}`, the only free text in our formats.

use serde::{Deserialize, Deserializer, Serialize, de};
use std::fmt;

/// A name of 1 to 64 bytes out of `a-z 0-9 . _ -`; neither `.` nor `..`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Name(String);

/// The text is no [`Name`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("name: expected 1 to 64 characters out of a-z 0-9 . _ -, got {got_bytes} bytes{hint}")]
pub struct NameError {
    got_bytes: usize,
    hint: &'static str,
}

impl Name {
    /// Checks and takes `text`.
    ///
    /// # Errors
    /// [`NameError`] for any other character, an empty or over-long text, and for `.` and `..`.
    pub fn new(text: &str) -> Result<Self, NameError> {
        let hint = if text == "." || text == ".." {
            " (a path component)"
        } else if text.is_empty() || text.len() > 64 {
            ""
        } else if text.bytes().any(|b| b.is_ascii_uppercase()) {
            " (upper case is not allowed)"
        } else if text
            .bytes()
            .any(|b| !matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-'))
        {
            " with another character"
        } else {
            return Ok(Self(text.to_owned()));
        };
        Err(NameError {
            got_bytes: text.len(),
            hint,
        })
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        Self::new(&text).map_err(de::Error::custom)
    }
}

/// Where a key lives in the broker: `repository/type/tag` (CoCo resource path of `kbs:///repository/type/tag`).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId([Name; 3]);

impl KeyId {
    /// Parses three names joined by `/`.
    ///
    /// # Errors
    /// [`NameError`] of the part at fault; a wrong number of parts counts as an over-long name.
    pub fn new(text: &str) -> Result<Self, NameError> {
        let wrong = NameError {
            got_bytes: text.len(),
            hint: " (a key id is repository/type/tag)",
        };
        let mut parts = text.split('/');
        let (Some(a), Some(b), Some(c), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
            return Err(wrong);
        };
        Ok(Self([Name::new(a)?, Name::new(b)?, Name::new(c)?]))
    }

    /// The first part: the repository, which is the tenant.
    pub fn repository(&self) -> &Name {
        let [repository, _, _] = &self.0;
        repository
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c] = &self.0;
        write!(f, "{a}/{b}/{c}")
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

impl Serialize for KeyId {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for KeyId {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        Self::new(&text).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_to_their_alphabet() {
        assert!(Name::new("smollm2-135m.q8_0").is_ok());
        for bad in ["", ".", "..", "A", "a b", "a/b", "ä", &"a".repeat(65)] {
            assert!(Name::new(bad).is_err(), "{bad:?}");
        }
        assert_eq!(
            KeyId::new("hanzo/dek/smollm2").unwrap().to_string(),
            "hanzo/dek/smollm2"
        );
        for bad in ["a/b", "a/b/c/d", "a//c", "a/../c", "/a/b"] {
            assert!(KeyId::new(bad).is_err(), "{bad:?}");
        }
    }
}
