//! JSON that is not canonical and still says one thing alone: no object may name a member twice.
//!
//! serde_json keeps the last of two members, other readers the first: a document that means two things to two readers is
//! refused.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::{ForeignError, ForeignFormat};

/// Deepest nesting accepted.
pub const JSON_DEPTH_MAX: usize = 64;

/// Most values accepted: each takes many times its own length in memory.
pub const JSON_VALUES_MAX: usize = crate::jcs::VALUES_MAX;

/// Reads JSON in which no object names a member twice, nested at most [`JSON_DEPTH_MAX`] deep, of at most
/// [`JSON_VALUES_MAX`] values. The text of the error
/// names line and column, never input bytes.
///
/// # Errors
/// What is wrong, and where.
pub fn json_without_duplicates(bytes: &[u8]) -> Result<Value, String> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let left = Cell::new(JSON_VALUES_MAX);
    let unique = Unique {
        depth: JSON_DEPTH_MAX,
        left: &left,
    };
    let value = unique.deserialize(&mut reader).map_err(|e| crate::jcs::describe(&e))?;
    reader.end().map_err(|e| crate::jcs::describe(&e))?;
    Ok(value)
}

pub(super) fn parse<T: DeserializeOwned>(format: ForeignFormat, bytes: &[u8]) -> Result<T, ForeignError> {
    let value = json_without_duplicates(bytes).map_err(|detail| ForeignError::Shape { format, detail })?;
    shape(format, value)
}

pub(super) fn shape<T: DeserializeOwned>(format: ForeignFormat, value: Value) -> Result<T, ForeignError> {
    serde_json::from_value(value).map_err(|e| ForeignError::Shape {
        format,
        detail: crate::jcs::describe(&e),
    })
}

#[derive(Clone, Copy)]
struct Unique<'a> {
    depth: usize,
    /// Values that may still come.
    left: &'a Cell<usize>,
}

impl Unique<'_> {
    fn inner<E: serde::de::Error>(self) -> Result<Self, E> {
        let depth = self.depth.checked_sub(1);
        let depth = depth.ok_or_else(|| E::custom("nested too deeply"))?;
        Ok(Self { depth, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Unique<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<Value, D::Error> {
        let left = self.left.get().checked_sub(1);
        self.left.set(left.ok_or_else(|| D::Error::custom("too many values"))?);
        d.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Unique<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, v: bool) -> Result<Value, E> {
        Ok(Value::Bool(v))
    }

    fn visit_u64<E>(self, v: u64) -> Result<Value, E> {
        Ok(Value::Number(v.into()))
    }

    fn visit_i64<E>(self, v: i64) -> Result<Value, E> {
        Ok(Value::Number(v.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, v: f64) -> Result<Value, E> {
        Number::from_f64(v)
            .map(Value::Number)
            .ok_or_else(|| E::custom("a number without a value"))
    }

    fn visit_str<E>(self, v: &str) -> Result<Value, E> {
        Ok(Value::String(v.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut out = Vec::new();
        while let Some(item) = seq.next_element_seed(inner)? {
            out.push(item);
        }
        Ok(Value::Array(out))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut out = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            if out.contains_key(&key) {
                return Err(A::Error::custom("an object names a member twice"));
            }
            out.insert(key, map.next_value_seed(inner)?);
        }
        Ok(Value::Object(out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_named_twice_is_refused_at_every_depth() {
        json_without_duplicates(br#"{"a":{"b":[1,-2,1.5,null,true,"x"]}}"#).unwrap();
        for bad in [
            &br#"{"a":1,"a":1}"#[..],
            br#"{"a":{"b":1,"b":2}}"#,
            br#"[{"a":1,"\u0061":2}]"#,
            br#"{"a":1}x"#,
            b"",
        ] {
            json_without_duplicates(bad).unwrap_err();
        }
        let deep = |n: usize| "[".repeat(n) + &"]".repeat(n);
        json_without_duplicates(deep(JSON_DEPTH_MAX).as_bytes()).unwrap();
        json_without_duplicates(deep(JSON_DEPTH_MAX + 1).as_bytes()).unwrap_err();
        let wide = |n: usize| format!("[{}0]", "0,".repeat(n - 2));
        json_without_duplicates(wide(JSON_VALUES_MAX).as_bytes()).unwrap();
        let refused = json_without_duplicates(wide(JSON_VALUES_MAX + 1).as_bytes()).unwrap_err();
        assert!(refused.contains("too many values"), "{refused}");
    }
}
