//! JSON read without surprises: a member that comes twice is refused at any depth, and so are more values than a request has
//! sense for, because each takes many times its length in memory. serde_json bounds the depth to 128.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Most values of one text; an object counts as [`OBJECT`] of them. That bounds what their tree takes to about 5 MiB beside
/// the texts in it.
const VALUES_MAX: u32 = 65_536;
const OBJECT: u32 = 8;

/// Parses `bytes`; the error says where, and quotes no input.
pub(crate) fn parse(bytes: &[u8]) -> Result<Value, String> {
    let left = Cell::new(Some(VALUES_MAX));
    let mut text = serde_json::Deserializer::from_slice(bytes);
    let parsed = Reader(&left).deserialize(&mut text);
    parsed.and_then(|value| text.end().map(|()| value)).map_err(|e| {
        let what = match e.classify() {
            serde_json::error::Category::Data if left.get().is_none() => {
                "more than 65536 values, of which an object counts for 8; send less at a time:"
            }
            serde_json::error::Category::Data => "a member comes twice",
            serde_json::error::Category::Eof => "the body ends too early",
            _ => "the syntax is broken",
        };
        format!("{what} at line {} column {}", e.line(), e.column())
    })
}

/// Reads one value. The cell holds how many more may come; `None` after one too many.
#[derive(Clone, Copy)]
struct Reader<'a>(&'a Cell<Option<u32>>);

impl Reader<'_> {
    fn take<E: Error>(self, values: u32) -> Result<(), E> {
        self.0.set(self.0.get().and_then(|left| left.checked_sub(values)));
        match self.0.get() {
            Some(_) => Ok(()),
            None => Err(E::custom("too many values")),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<Value, D::Error> {
        self.take(1)?;
        d.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
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
        while let Some(value) = seq.next_element_seed(self)? {
            out.push(value);
        }
        Ok(Value::Array(out))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        self.take(OBJECT - 1)?;
        let mut out = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            let value = map.next_value_seed(self)?;
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
        assert!(parse(b"{} {}").unwrap_err().starts_with("the syntax"));
    }

    #[test]
    fn values_are_counted_however_they_are_nested() {
        let list = |one: &str, n: u32| format!("[{}{one}]", format!("{one},").repeat(n as usize - 1));
        for (one, cost) in [
            ("0", 1),
            ("\"\"", 1),
            ("[]", 1),
            ("{}", 8),
            ("{\"a\":0}", 9),
            ("[[0]]", 3),
        ] {
            let most = (VALUES_MAX - 1) / cost;
            assert!(parse(list(one, most).as_bytes()).is_ok(), "{one}");
            let error = parse(list(one, most + 1).as_bytes()).unwrap_err();
            assert!(error.starts_with("more than 65536 values"), "{one}: {error}");
        }
    }
}
