//! JSON read without surprises: a member that comes twice is refused at any depth. serde_json bounds the depth to 128.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// A JSON value without repeated members.
pub(crate) struct Unambiguous(pub(crate) Value);

/// Parses `bytes`; the error says where, and quotes no input.
pub(crate) fn parse(bytes: &[u8]) -> Result<Value, String> {
    match serde_json::from_slice::<Unambiguous>(bytes) {
        Ok(value) => Ok(value.0),
        Err(e) => {
            let what = match e.classify() {
                serde_json::error::Category::Data => "a member comes twice",
                serde_json::error::Category::Eof => "the body ends too early",
                _ => "the syntax is broken",
            };
            Err(format!("{what} at line {} column {}", e.line(), e.column()))
        }
    }
}

impl<'de> Deserialize<'de> for Unambiguous {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(Reader).map(Self)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, v: bool) -> Result<Value, E> {
        Ok(Value::Bool(v))
    }

    fn visit_i64<E>(self, v: i64) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_u64<E>(self, v: u64) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_f64<E: Error>(self, v: f64) -> Result<Value, E> {
        Number::from_f64(v)
            .map(Value::Number)
            .ok_or_else(|| E::custom("not a finite number"))
    }

    fn visit_str<E>(self, v: &str) -> Result<Value, E> {
        Ok(Value::String(v.to_owned()))
    }

    fn visit_string<E>(self, v: String) -> Result<Value, E> {
        Ok(Value::String(v))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut out = Vec::new();
        while let Some(Unambiguous(value)) = seq.next_element()? {
            out.push(value);
        }
        Ok(Value::Array(out))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut out = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            let Unambiguous(value) = map.next_value()?;
            if out.insert(key, value).is_some() {
                return Err(A::Error::custom("a member comes twice"));
            }
        }
        Ok(Value::Object(out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_members_are_refused_at_any_depth() {
        assert!(parse(br#"{"a":[{"b":1,"c":null}]}"#).is_ok());
        for bad in [&br#"{"a":1,"a":1}"#[..], br#"{"x":[{"b":1,"b":2}]}"#] {
            assert!(parse(bad).unwrap_err().starts_with("a member comes twice"));
        }
        assert!(parse(b"{\"a\":1").unwrap_err().starts_with("the body ends"));
        assert!(parse(b"hello").unwrap_err().starts_with("the syntax"));
        assert!(parse(&[b'['; 1000]).is_err());
    }
}
