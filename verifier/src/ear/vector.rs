//! AR4SI trustworthiness claims (draft-ietf-rats-ar4si-09, section 2.3): eight numbers, each in one of four tiers.

use serde::{Deserialize, Serialize};

/// How a claim or a submodule stands. Ordered, best first: a submodule without a claim is not worth more than an affirmed one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TrustTier {
    /// 2 to 31 and -32 to -2.
    Affirming,
    /// -1 to 1: no claim, or the verifier could not make one.
    None,
    /// 32 to 95 and -96 to -33.
    Warning,
    /// 96 to 127 and -128 to -97.
    Contraindicated,
}

impl TrustTier {
    /// Tier of a value.
    pub fn of(value: i8) -> Self {
        match value {
            -1..=1 => Self::None,
            2..=31 | -32..=-2 => Self::Affirming,
            32..=95 | -96..=-33 => Self::Warning,
            96..=127 | -128..=-97 => Self::Contraindicated,
        }
    }

    /// The word in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Affirming => "affirming",
            Self::None => "none",
            Self::Warning => "warning",
            Self::Contraindicated => "contraindicated",
        }
    }

    /// The tier of that word.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Affirming, Self::None, Self::Warning, Self::Contraindicated]
            .into_iter()
            .find(|tier| tier.name() == name)
    }
}

impl Serialize for TrustTier {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for TrustTier {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Word(String),
            Number(i8),
        }
        match Form::deserialize(d)? {
            Form::Word(word) => Self::from_name(&word),
            // CBOR's numbers, which some verifiers write into JSON too
            Form::Number(0) => Some(Self::None),
            Form::Number(2) => Some(Self::Affirming),
            Form::Number(32) => Some(Self::Warning),
            Form::Number(96) => Some(Self::Contraindicated),
            Form::Number(_) => None,
        }
        .ok_or_else(|| serde::de::Error::custom("expected affirming, none, warning or contraindicated"))
    }
}

/// The vector. A value that was not given is 0: no claim.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct TrustVector {
    /// How it is set up.
    pub configuration: i8,
    /// What it runs.
    pub executables: i8,
    /// Its files.
    pub file_system: i8,
    /// What it runs on.
    pub hardware: i8,
    /// Which instance it is.
    pub instance_identity: i8,
    /// Whether others can look into its memory.
    pub runtime_opaque: i8,
    /// Where its input comes from.
    pub sourced_data: i8,
    /// Whether others can look into its storage.
    pub storage_opaque: i8,
}

impl TrustVector {
    /// The eight values.
    pub fn values(&self) -> [i8; 8] {
        [
            self.instance_identity,
            self.configuration,
            self.executables,
            self.file_system,
            self.hardware,
            self.runtime_opaque,
            self.storage_opaque,
            self.sourced_data,
        ]
    }

    /// The worst tier of the claims that were made. 0 is no claim and is passed over; -1 and 1 say that the verifier
    /// could not make one, which is worth less than an affirmation. [`TrustTier::None`] if there is no claim at all.
    pub fn status(&self) -> TrustTier {
        self.values()
            .into_iter()
            .filter(|value| *value != 0)
            .map(TrustTier::of)
            .max()
            .unwrap_or(TrustTier::None)
    }
}
