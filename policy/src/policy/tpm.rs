//! What is asked of TPM 2.0 quotes, a TPM's alone or a paravisor's vTPM.

use std::collections::BTreeMap;
use std::fmt;

use hanzo_attestation::Digest256;
use hanzo_attestation::name::Name;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::check::{holds, references, unique};
use super::error::PolicyError;
use super::lists::{AllowList, Presence};

/// What is asked of TPM 2.0 quotes.
///
/// Which roots and keys count is no part of it: a caller pins them as anchors, and an unpinned key is tier 0.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TpmPolicy {
    /// Which attestation keys may answer for tier 1: SHA-256 of their SubjectPublicKeyInfo. Of a paravisor's vTPM the
    /// hardware is the processor, judged by its own table.
    pub hardware: AllowList<Digest256>,
    /// Whether the event log must have come along. One that comes must replay to the registers in any case.
    pub event_log: Presence,
    /// Which image with which configuration. Empty: none.
    pub references: Vec<TpmReference>,
}

/// The registers of an image with the configuration they were computed for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TpmReference {
    /// For people: which image and configuration this is.
    pub name: Name,
    /// SHA-256 of the configuration text that the registers cover.
    pub config_digest: Digest256,
    /// Registers that the quote must select and their values. Others that it selects are not looked at.
    pub pcrs: PcrValues,
}

/// Registers of the SHA-256 bank by index. On the wire a table whose keys are the decimal indexes.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct PcrValues(pub BTreeMap<u8, Digest256>);

impl Serialize for PcrValues {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_map(self.0.iter().map(|(index, value)| (index.to_string(), value)))
    }
}

impl<'de> Deserialize<'de> for PcrValues {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = PcrValues;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table of register index and value")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<PcrValues, A::Error> {
                let mut out = BTreeMap::new();
                while let Some((key, value)) = map.next_entry::<String, Digest256>()? {
                    let index = key.parse::<u8>().ok().filter(|i| i.to_string() == key);
                    let Some(index) = index else {
                        return Err(de::Error::custom("pcrs: expected register indexes as decimal numbers"));
                    };
                    if out.insert(index, value).is_some() {
                        return Err(de::Error::custom(format!("pcrs: register {index} twice")));
                    }
                }
                Ok(PcrValues(out))
            }
        }

        d.deserialize_map(Visitor)
    }
}

impl TpmPolicy {
    /// Admits nothing: open it member by member.
    pub fn closed() -> Self {
        Self {
            hardware: AllowList::none(),
            event_log: Presence::Required,
            references: Vec::new(),
        }
    }

    /// Any key that the anchors vouch for, of a machine that started one of `references`.
    pub fn any_pinned(references: Vec<TpmReference>) -> Self {
        Self {
            hardware: AllowList::Any,
            event_log: Presence::AcceptMissing,
            references,
        }
    }

    pub(super) fn check(&self) -> Result<(), PolicyError> {
        unique("tpm.hardware", &self.hardware)?;
        for reference in &self.references {
            // 16 and 23 can be reset by whoever runs on the machine, so their values prove no image.
            let indexes: Vec<_> = reference.pcrs.0.keys().copied().collect();
            holds(
                !indexes.is_empty() && indexes.iter().all(|i| *i < 24 && !matches!(i, 16 | 23)),
                "tpm.references.pcrs",
                "at least one register out of 0 to 15 and 17 to 22",
                format!("{indexes:?} in {}", reference.name),
            )?;
        }
        references(
            "tpm.references",
            self.references
                .iter()
                .map(|r| (&r.name, (r.pcrs.clone(), r.config_digest))),
        )
    }
}
