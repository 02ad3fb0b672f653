//! What is asked of TPM 2.0 quotes, a TPM's alone or a paravisor's vTPM.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use hanzo_attestation::name::Name;
use hanzo_attestation::{Digest256, Digest384};
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
    /// Registers of the SHA-384 bank that the quote must select besides, and their values. Not written if there are none:
    /// many TPMs keep no such bank.
    #[serde(default, skip_serializing_if = "PcrValues::is_empty")]
    pub pcrs_sha384: PcrValues<Digest384>,
}

/// Registers of a bank, SHA-256 unless another is named, by index. On the wire a table whose keys are the decimal indexes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PcrValues<D = Digest256>(pub BTreeMap<u8, D>);

impl<D> PcrValues<D> {
    /// No register.
    pub fn none() -> Self {
        Self(BTreeMap::new())
    }

    /// True if there is no register.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<D> Default for PcrValues<D> {
    fn default() -> Self {
        Self::none()
    }
}

impl<D: Serialize> Serialize for PcrValues<D> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_map(self.0.iter().map(|(index, value)| (index.to_string(), value)))
    }
}

impl<'de, D: Deserialize<'de>> Deserialize<'de> for PcrValues<D> {
    fn deserialize<R: Deserializer<'de>>(d: R) -> Result<Self, R::Error> {
        struct Visitor<D>(PhantomData<D>);

        impl<'de, D: Deserialize<'de>> de::Visitor<'de> for Visitor<D> {
            type Value = PcrValues<D>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table of register index and value")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<PcrValues<D>, A::Error> {
                let mut out = BTreeMap::new();
                while let Some((key, value)) = map.next_entry::<String, D>()? {
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

        d.deserialize_map(Visitor(PhantomData))
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
            let indexes: Vec<_> = reference.pcrs.0.keys().copied().collect();
            holds(
                !indexes.is_empty() && prove_an_image(&indexes),
                "tpm.references.pcrs",
                "at least one register out of 0 to 15 and 17 to 22",
                format!("{indexes:?} in {}", reference.name),
            )?;
            let indexes: Vec<_> = reference.pcrs_sha384.0.keys().copied().collect();
            holds(
                prove_an_image(&indexes),
                "tpm.references.pcrs_sha384",
                "registers out of 0 to 15 and 17 to 22",
                format!("{indexes:?} in {}", reference.name),
            )?;
        }
        // Values of the SHA-384 bank tell no references apart: what they refuse, a twin without them would admit.
        references(
            "tpm.references",
            self.references
                .iter()
                .map(|r| (&r.name, (r.pcrs.clone(), r.config_digest))),
        )
    }
}

/// 16 and 23 can be reset by whoever runs on the machine, so their values prove no image.
fn prove_an_image(indexes: &[u8]) -> bool {
    indexes.iter().all(|i| *i < 24 && !matches!(i, 16 | 23))
}
