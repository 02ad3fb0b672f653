//! Allow-lists and switches: what a policy says about one value of the evidence.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Most entries of one list.
pub(crate) const ENTRIES_MAX: usize = 1024;

/// The values that are accepted. `any` must be written out; an empty list accepts none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AllowList<T> {
    /// Every value: the word `any`.
    Any,
    /// These alone.
    Listed(Vec<T>),
}

/// The chips that may answer.
pub type HardwareList = AllowList<crate::hardware::ChipId>;

impl<T: PartialEq> AllowList<T> {
    /// True if `value` is accepted.
    pub fn admits(&self, value: &T) -> bool {
        match self {
            Self::Any => true,
            Self::Listed(values) => values.contains(value),
        }
    }
}

impl<T> AllowList<T> {
    /// The list that accepts nothing.
    pub fn none() -> Self {
        Self::Listed(Vec::new())
    }

    /// For failure texts: how many values are accepted.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Any => "any".into(),
            Self::Listed(values) => format!("one of {} values that the policy lists", values.len()),
        }
    }
}

impl<T: Serialize> Serialize for AllowList<T> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Any => s.serialize_str("any"),
            Self::Listed(values) => values.serialize(s),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for AllowList<T> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Visitor<T>(std::marker::PhantomData<T>);

        impl<'de, T: Deserialize<'de>> de::Visitor<'de> for Visitor<T> {
            type Value = AllowList<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the word \"any\" or a list")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<AllowList<T>, E> {
                match text {
                    "any" => Ok(AllowList::Any),
                    _ => Err(E::custom("expected the word \"any\" or a list, got another word")),
                }
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, seq: A) -> Result<AllowList<T>, A::Error> {
                Vec::deserialize(de::value::SeqAccessDeserializer::new(seq)).map(AllowList::Listed)
            }
        }

        d.deserialize_any(Visitor(std::marker::PhantomData))
    }
}

/// What to do with a value that is dangerous or not understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Admission {
    /// The evidence stays below the tier.
    Refuse,
    /// Whoever writes the policy takes the risk.
    Accept,
}

/// What to do when a part that can be absent is absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Presence {
    /// The evidence stays below the tier.
    Required,
    /// Absence is accepted; a part that is there and wrong never is.
    AcceptMissing,
}

/// How many devices there must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    /// Any number: that the list is complete then rests on the measured guest alone. The word `any`.
    Any,
    /// Exactly so many.
    Exactly(u8),
}

impl Count {
    /// True if `got` devices are so many.
    pub fn admits(self, got: usize) -> bool {
        match self {
            Self::Any => true,
            Self::Exactly(n) => usize::from(n) == got,
        }
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any number"),
            Self::Exactly(n) => write!(f, "{n}"),
        }
    }
}

impl Serialize for Count {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Any => s.serialize_str("any"),
            Self::Exactly(n) => s.serialize_u8(*n),
        }
    }
}

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = Count;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the word \"any\" or a number of devices")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Count, E> {
                match text {
                    "any" => Ok(Count::Any),
                    _ => Err(E::custom(
                        "expected the word \"any\" or a number of devices, got another word",
                    )),
                }
            }

            fn visit_u64<E: de::Error>(self, n: u64) -> Result<Count, E> {
                u8::try_from(n)
                    .map(Count::Exactly)
                    .map_err(|_| E::custom(format!("expected at most 255 devices, got {n}")))
            }

            fn visit_i64<E: de::Error>(self, n: i64) -> Result<Count, E> {
                u8::try_from(n)
                    .map(Count::Exactly)
                    .map_err(|_| E::custom(format!("expected 0 to 255 devices, got {n}")))
            }
        }

        d.deserialize_any(Visitor)
    }
}
