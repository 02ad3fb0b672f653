//! Names outside that a guest may reach: exact names and ports, each with a use and the roots that its certificate must chain to.
//!
//! TLS ends in the guest. Whoever carries the bytes (the host) learns the name, the port, sizes and times.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, de};

use super::ConfigError;
use crate::digest::Digest256;
use crate::name::Name;

/// Most entries of a configuration.
pub const EGRESS_MAX: usize = 8;
/// Longest host name in bytes: with its port it must fit into the name of a capability.
pub const HOST_NAME_BYTES_MAX: usize = 51;
/// Longest label of a host name (RFC 1035, section 2.3.4).
const LABEL_BYTES_MAX: usize = 63;
/// Most roots of one entry.
const ROOTS_MAX: usize = 4;
/// Longest root certificate in bytes of DER.
const ROOT_BYTES_MAX: usize = 4096;

/// A whole DNS name in its one spelling: lower-case labels of letters, digits and inner hyphens, at least two of them, no final dot. No
/// wildcard, and no address: the last label is not all digits.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct HostName(String);

/// The text is no [`HostName`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "host name: expected a whole DNS name in lower case of at most 51 characters, such as kbs.example.org (no wildcard, no address, no final dot), got {got_bytes} bytes"
)]
pub struct HostNameError {
    got_bytes: usize,
}

impl HostName {
    /// Checks and takes `text`.
    ///
    /// # Errors
    /// [`HostNameError`].
    pub fn new(text: &str) -> Result<Self, HostNameError> {
        let is_label = |label: &str| {
            (1..=LABEL_BYTES_MAX).contains(&label.len())
                && label.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        let is_number = |label: &str| label.bytes().all(|b| b.is_ascii_digit());
        let last = text.rsplit('.').next().unwrap_or_default();
        let is_whole = text.contains('.') && text.split('.').all(is_label) && !is_number(last);
        match is_whole && text.len() <= HOST_NAME_BYTES_MAX {
            true => Ok(Self(text.to_owned())),
            false => Err(HostNameError { got_bytes: text.len() }),
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl<'de> Deserialize<'de> for HostName {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        Self::new(&text).map_err(de::Error::custom)
    }
}

/// What in the guest may reach a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum EgressUse {
    /// The key broker. It is then reached by this name and no longer at the address that the host gives.
    Kbs,
}

/// One name that the guest may reach.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct EgressEntry {
    /// The name: the host connects to it, and the certificate must be for it.
    pub name: HostName,
    /// The port: 1 to 65,535.
    pub port: u16,
    /// What for.
    #[serde(rename = "use")]
    pub purpose: EgressUse,
    /// Root certificates that count for this name: DER in base64 (RFC 4648, section 4), 1 to 4. No others do.
    pub roots: Vec<String>,
}

impl EgressEntry {
    /// The roots in DER.
    ///
    /// # Errors
    /// [`ConfigError::Value`] for what is no base64 of 1 to 4096 bytes, for none and for more than four. That they are certificates shows
    /// when TLS takes them.
    pub fn root_certificates(&self) -> Result<Vec<Vec<u8>>, ConfigError> {
        let wrong = |expected, got: String| ConfigError::Value {
            field: "egress.roots",
            expected,
            got,
        };
        if !(1..=ROOTS_MAX).contains(&self.roots.len()) {
            return Err(wrong("1 to 4 certificates", self.roots.len().to_string()));
        }
        let decoded = self.roots.iter().map(|text| match STANDARD.decode(text) {
            Ok(der) if (1..=ROOT_BYTES_MAX).contains(&der.len()) => Ok(der),
            _ => Err(wrong(
                "DER of at most 4096 bytes in base64 on one line",
                format!("{} characters", text.len()),
            )),
        });
        decoded.collect()
    }

    /// The capability that this entry is: `egress.NAME.PORT`.
    pub fn capability(&self) -> Option<Name> {
        // A host name and a port are characters of names and short enough.
        Name::new(&format!("egress.{}.{}", self.name, self.port)).ok()
    }

    /// SHA-256 of each root, for the policy text that clients read.
    ///
    /// # Errors
    /// As [`EgressEntry::root_certificates`].
    pub fn root_digests(&self) -> Result<Vec<Digest256>, ConfigError> {
        Ok(self.root_certificates()?.iter().map(|der| Digest256::of(der)).collect())
    }
}

/// Checks the whole list.
pub(super) fn check(entries: &[EgressEntry]) -> Result<(), ConfigError> {
    let wrong = |field, expected, got: String| Err(ConfigError::Value { field, expected, got });
    if entries.len() > EGRESS_MAX {
        return wrong("egress", "at most 8 entries", entries.len().to_string());
    }
    for (at, entry) in entries.iter().enumerate() {
        if entry.port == 0 {
            return wrong("egress.port", "1 to 65535", "0".into());
        }
        let is_same = |other: &EgressEntry| other.name == entry.name && other.port == entry.port;
        if entries.iter().take(at).any(is_same) {
            return wrong(
                "egress",
                "each name and port once",
                format!("{} {} twice", entry.name, entry.port),
            );
        }
        entry.root_certificates()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, port: u16) -> EgressEntry {
        EgressEntry {
            name: HostName::new(name).unwrap(),
            port,
            purpose: EgressUse::Kbs,
            roots: vec!["MAA=".into()],
        }
    }

    #[test]
    fn whole_names_in_one_spelling_and_nothing_else() {
        for good in [
            "kbs.example.org",
            "a.b",
            "1.2.3.example",
            "xn--bcher-kva.example",
            "k-1.x",
        ] {
            assert_eq!(HostName::new(good).unwrap().as_str(), good);
        }
        let long = format!("{}.example", "a".repeat(44));
        assert_eq!(long.len(), HOST_NAME_BYTES_MAX + 1);
        assert!(HostName::new(&long[1..]).is_ok());
        for bad in [
            "",
            ".",
            "kbs",
            "localhost",
            "*.example.org",
            "kbs.example.org.",
            ".example.org",
            "a..b",
            "Kbs.example.org",
            "10.0.0.1",
            "127.1",
            "[::1]",
            "::1",
            "-a.b",
            "a-.b",
            "a_b.c",
            "a b.c",
            "a.b:443",
            "a.b/c",
            "b\u{fc}cher.example",
            &long,
        ] {
            assert!(HostName::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_entry_is_a_capability_of_its_own() {
        let longest = format!("{}.example", "a".repeat(43));
        let names = [
            entry("kbs.example.org", 443),
            entry("kbs.example.org", 8443),
            entry(&longest, 65_535),
        ];
        let names: Vec<_> = names.iter().map(|e| e.capability().unwrap().to_string()).collect();
        assert_eq!(
            names[..2],
            ["egress.kbs.example.org.443", "egress.kbs.example.org.8443"]
        );
        assert_eq!(names[2].len(), 64);
    }

    #[test]
    fn lists_are_bounded_and_roots_are_there() {
        let many: Vec<_> = (0..9).map(|at| entry("kbs.example.org", 8000 + at)).collect();
        assert_eq!(check(&many[..8]), Ok(()));
        assert_eq!(check(&many).unwrap_err().code(), "config.value");
        let twice = [entry("a.b", 1), entry("a.b", 1)];
        assert!(check(&twice).unwrap_err().to_string().contains("a.b 1 twice"));
        assert!(
            check(&[entry("a.b", 0)])
                .unwrap_err()
                .to_string()
                .contains("egress.port")
        );
        let with = |roots: &[&str]| EgressEntry {
            roots: roots.iter().map(|r| (*r).to_owned()).collect(),
            ..entry("a.b", 1)
        };
        let long = STANDARD.encode([0x30; ROOT_BYTES_MAX + 1]);
        for bad in [
            &[][..],
            &["MAA=", "MAA=", "MAA=", "MAA=", "MAA="],
            &["MAA"],
            &["MA A="],
            &["-----BEGIN"],
            &[""],
            &[&long],
        ] {
            let error = check(&[with(bad)]).unwrap_err();
            assert!(error.to_string().contains("egress.roots"), "{error}");
        }
        assert_eq!(with(&["MAA="]).root_certificates().unwrap(), [[0x30, 0]]);
    }
}
