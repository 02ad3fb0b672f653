//! JSON schemas that answers are kept to: the closed part of draft 2020-12 that this guest checks itself.
//!
//! An engine enforces a schema while it writes; what it wrote is checked here again, because the engine is not believed. A
//! keyword that is not known here is refused when the request comes: a document is never called right by a rule that nobody
//! looked at. `title`, `description`, `default`, `examples`, `format` and the like are annotations, as the draft has them.
//!
//! # Spec
//! JSON Schema draft 2020-12, core and validation.

mod check;

use std::cell::Cell;

use serde_json::{Map, Value};

use crate::error::ApiError;

/// Most steps of one check: schemas can be written that take for ever. A step is one schema on one value, one comparison of
/// two values, one name looked up or 64 bytes of text.
const STEPS_MAX: u64 = 1_000_000;
/// Deepest nesting of checks, references included.
const DEPTH_MAX: u32 = 200;

/// A schema whose every keyword is known.
#[derive(Debug, Clone)]
pub(crate) struct Schema(Value);

/// Why a check came to an end without an answer: too many steps, or too deep. Nothing is accepted then.
struct Exhausted;

type Verdict = Result<bool, Exhausted>;

impl Schema {
    /// Takes a schema that stands at `param` of a request.
    ///
    /// # Errors
    /// `invalid_schema` at the first keyword that is unknown or has no sense.
    pub(crate) fn compile(param: &str, text: Value) -> Result<Self, ApiError> {
        check::schema(param, &text)?;
        Ok(Self(text))
    }

    /// The schema as it was given.
    pub(crate) fn text(&self) -> &Value {
        &self.0
    }

    /// True if the schema allows `value`; false too where that takes more than a million steps.
    pub(crate) fn accepts(&self, value: &Value) -> bool {
        let walk = Walk {
            root: &self.0,
            steps: Cell::new(0),
        };
        walk.accepts(&self.0, value, 0).unwrap_or(false)
    }
}

/// What a local reference points to.
fn target<'a>(root: &'a Value, reference: &str) -> Option<&'a Value> {
    if reference == "#" {
        return Some(root);
    }
    let pointer = reference.strip_prefix('#')?;
    let inside = pointer.starts_with("/$defs/") || pointer.starts_with("/definitions/");
    inside.then(|| root.pointer(pointer)).flatten()
}

struct Walk<'a> {
    root: &'a Value,
    steps: Cell<u64>,
}

impl Walk<'_> {
    /// Counts `steps` more.
    fn take(&self, steps: usize) -> Result<(), Exhausted> {
        let sum = self.steps.get().saturating_add(steps as u64);
        self.steps.set(sum);
        match sum > STEPS_MAX {
            true => Err(Exhausted),
            false => Ok(()),
        }
    }

    fn accepts(&self, schema: &Value, value: &Value, depth: u32) -> Verdict {
        self.take(1)?;
        if depth > DEPTH_MAX {
            return Err(Exhausted);
        }
        let rules = match schema {
            Value::Bool(allowed) => return Ok(*allowed),
            Value::Object(rules) => rules,
            _ => return Ok(false),
        };
        for (keyword, rule) in rules {
            if !self.keeps(rules, keyword, rule, value, depth + 1)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn keeps(&self, rules: &Map<String, Value>, keyword: &str, rule: &Value, value: &Value, depth: u32) -> Verdict {
        Ok(match keyword {
            "$ref" => {
                let schema = rule.as_str().and_then(|reference| target(self.root, reference));
                match schema {
                    Some(schema) => self.accepts(schema, value, depth)?,
                    None => false,
                }
            }
            "type" => match rule {
                Value::Array(names) => names.iter().any(|name| is(value, name.as_str().unwrap_or(""))),
                name => is(value, name.as_str().unwrap_or("")),
            },
            "const" => self.same(rule, value)?,
            "enum" => {
                for one in rule.as_array().map(Vec::as_slice).unwrap_or_default() {
                    if self.same(one, value)? {
                        return Ok(true);
                    }
                }
                false
            }
            "anyOf" => self.count(rule, value, depth, true)? > 0,
            "oneOf" => self.count(rule, value, depth, false)? == 1,
            "allOf" => self.count(rule, value, depth, false)? == rule.as_array().map_or(0, Vec::len),
            "minimum" => pair(value, rule).is_none_or(|(v, r)| v >= r),
            "maximum" => pair(value, rule).is_none_or(|(v, r)| v <= r),
            "exclusiveMinimum" => pair(value, rule).is_none_or(|(v, r)| v > r),
            "exclusiveMaximum" => pair(value, rule).is_none_or(|(v, r)| v < r),
            "multipleOf" => pair(value, rule).is_none_or(|(v, r)| {
                let times = v / r;
                (times - times.round()).abs() < 1e-9
            }),
            "minLength" => self.length(value)?.is_none_or(|n| n >= count(rule)),
            "maxLength" => self.length(value)?.is_none_or(|n| n <= count(rule)),
            "minItems" => value.as_array().is_none_or(|a| a.len() as u64 >= count(rule)),
            "maxItems" => value.as_array().is_none_or(|a| a.len() as u64 <= count(rule)),
            "minProperties" => value.as_object().is_none_or(|o| o.len() as u64 >= count(rule)),
            "maxProperties" => value.as_object().is_none_or(|o| o.len() as u64 <= count(rule)),
            "uniqueItems" => {
                let (Value::Bool(true), Value::Array(list)) = (rule, value) else {
                    return Ok(true);
                };
                return self.unique(list);
            }
            "required" => {
                let Value::Object(members) = value else { return Ok(true) };
                let names = rule.as_array().map(Vec::as_slice).unwrap_or_default();
                self.take(names.len())?;
                names
                    .iter()
                    .all(|name| members.contains_key(name.as_str().unwrap_or("")))
            }
            "properties" => {
                let (Value::Object(schemas), Value::Object(members)) = (rule, value) else {
                    return Ok(true);
                };
                self.take(schemas.len())?;
                for (name, schema) in schemas {
                    if let Some(member) = members.get(name)
                        && !self.accepts(schema, member, depth)?
                    {
                        return Ok(false);
                    }
                }
                true
            }
            "additionalProperties" => {
                let Value::Object(members) = value else { return Ok(true) };
                let known = rules.get("properties").and_then(Value::as_object);
                self.take(members.len())?;
                for (name, member) in members {
                    if !known.is_some_and(|known| known.contains_key(name)) && !self.accepts(rule, member, depth)? {
                        return Ok(false);
                    }
                }
                true
            }
            "prefixItems" => {
                let (Value::Array(schemas), Value::Array(list)) = (rule, value) else {
                    return Ok(true);
                };
                for (schema, item) in schemas.iter().zip(list) {
                    if !self.accepts(schema, item, depth)? {
                        return Ok(false);
                    }
                }
                true
            }
            "items" => {
                let Value::Array(list) = value else { return Ok(true) };
                let before = rules.get("prefixItems").and_then(Value::as_array).map_or(0, Vec::len);
                for item in list.iter().skip(before) {
                    if !self.accepts(rule, item, depth)? {
                        return Ok(false);
                    }
                }
                true
            }
            // Definitions and annotations; `compile` let nothing else in.
            _ => true,
        })
    }

    fn count(&self, rule: &Value, value: &Value, depth: u32, first: bool) -> Result<usize, Exhausted> {
        let mut count = 0;
        for schema in rule.as_array().map(Vec::as_slice).unwrap_or_default() {
            count += usize::from(self.accepts(schema, value, depth)?);
            if first && count > 0 {
                break;
            }
        }
        Ok(count)
    }

    fn unique(&self, list: &[Value]) -> Verdict {
        for (i, one) in list.iter().enumerate() {
            for other in list.iter().skip(i + 1) {
                if self.same(one, other)? {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Characters of a text.
    fn length(&self, value: &Value) -> Result<Option<u64>, Exhausted> {
        let Value::String(text) = value else { return Ok(None) };
        self.take(text.len() / 64)?;
        Ok(Some(text.chars().count() as u64))
    }

    /// Equality of JSON: 1 and 1.0 are one number. The parser bounds the depth.
    fn same(&self, a: &Value, b: &Value) -> Verdict {
        self.take(1)?;
        match (a, b) {
            (Value::Number(x), Value::Number(y)) => Ok(x == y || x.as_f64() == y.as_f64()),
            (Value::String(x), Value::String(y)) => {
                self.take(x.len().min(y.len()) / 64)?;
                Ok(x == y)
            }
            (Value::Array(x), Value::Array(y)) if x.len() == y.len() => {
                for (x, y) in x.iter().zip(y) {
                    if !self.same(x, y)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            (Value::Object(x), Value::Object(y)) if x.len() == y.len() => {
                for (name, x) in x {
                    let Some(y) = y.get(name) else { return Ok(false) };
                    if !self.same(x, y)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            (Value::Bool(x), Value::Bool(y)) => Ok(x == y),
            (Value::Null, Value::Null) => Ok(true),
            _ => Ok(false),
        }
    }
}

fn is(value: &Value, name: &str) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "number" => value.is_number(),
        "integer" => {
            value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|n| n.is_finite() && n.fract() == 0.0)
        }
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => false,
    }
}

fn pair(value: &Value, rule: &Value) -> Option<(f64, f64)> {
    match value {
        Value::Number(n) => n.as_f64().zip(rule.as_f64()),
        _ => None,
    }
}

fn count(rule: &Value) -> u64 {
    rule.as_f64().map_or(0, |n| n as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn schema(text: Value) -> Schema {
        Schema::compile("s", text).ok().unwrap()
    }

    #[test]
    fn each_keyword_has_a_document_that_keeps_it_and_one_that_does_not() {
        for (text, good, bad) in [
            (json!({"type": "integer"}), json!(3.0), json!(3.5)),
            (json!({"type": ["string", "null"]}), json!(null), json!(1)),
            (json!({"const": {"a": 1}}), json!({"a": 1.0}), json!({"a": 2})),
            (json!({"enum": ["a", 5]}), json!(5), json!("b")),
            (json!({"minimum": 2, "exclusiveMaximum": 5}), json!(2), json!(5)),
            (json!({"maximum": 2, "exclusiveMinimum": 0}), json!(2), json!(0)),
            (json!({"multipleOf": 0.1}), json!(0.3), json!(0.35)),
            (json!({"minLength": 2, "maxLength": 3}), json!("éé"), json!("é")),
            (json!({"maxLength": 3}), json!("abc"), json!("abcd")),
            (json!({"minItems": 1, "maxItems": 2}), json!([1]), json!([1, 2, 3])),
            (json!({"uniqueItems": true}), json!([1, 2]), json!([1, 1.0])),
            (
                json!({"prefixItems": [{"type": "string"}], "items": {"type": "null"}}),
                json!(["a", null]),
                json!(["a", 1]),
            ),
            (json!({"items": false}), json!([]), json!([1])),
            (json!({"required": ["a"]}), json!({"a": 1}), json!({"b": 1})),
            (
                json!({"properties": {"a": {"type": "null"}}}),
                json!({"b": 1}),
                json!({"a": 1}),
            ),
            (
                json!({"properties": {"a": true}, "additionalProperties": false}),
                json!({"a": 1}),
                json!({"a": 1, "b": 2}),
            ),
            (
                json!({"minProperties": 1, "maxProperties": 1}),
                json!({"a": 1}),
                json!({}),
            ),
            (
                json!({"anyOf": [{"type": "null"}, {"type": "string"}]}),
                json!("a"),
                json!(1),
            ),
            (
                json!({"oneOf": [{"type": "integer"}, {"minimum": 5}]}),
                json!(3),
                json!(7),
            ),
            (
                json!({"allOf": [{"type": "integer"}, {"minimum": 5}]}),
                json!(7),
                json!(3),
            ),
            (
                json!({"$defs": {"list": {"type": ["object", "null"], "properties": {"next": {"$ref": "#/$defs/list"}}}}, "$ref": "#/$defs/list"}),
                json!({"next": {"next": null}}),
                json!({"next": {"next": 5}}),
            ),
        ] {
            let compiled = schema(text.clone());
            assert!(compiled.accepts(&good), "{text} {good}");
            assert!(!compiled.accepts(&bad), "{text} {bad}");
        }
    }

    #[test]
    fn schemas_that_take_for_ever_accept_nothing() {
        let endless = schema(json!({"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}));
        assert!(!endless.accepts(&json!(1)));
        let wide = schema(
            json!({"$defs": {"a": {"oneOf": [{"$ref": "#/$defs/b"}, {"$ref": "#/$defs/b"}]},
            "b": {"oneOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/a"}]}}, "$ref": "#/$defs/a"}),
        );
        assert!(!wide.accepts(&json!(1)));
    }

    #[test]
    fn work_that_is_no_schema_is_counted_too() {
        let numbers = |from: u64, n: u64| (from..from + n).map(Value::from).collect::<Vec<_>>();
        let names = vec!["a"; 2_000];
        let long = "x".repeat(64 << 10);
        for (text, good, bad) in [
            // 2,000 entries for each of 400 values, then of 600.
            (
                json!({"items": {"enum": numbers(0, 2_000)}}),
                Value::from(vec![1_900; 400]),
                Value::from(vec![1_900; 600]),
            ),
            (
                json!({"items": {"required": names}}),
                Value::from(vec![json!({"a": 1}); 400]),
                Value::from(vec![json!({"a": 1}); 600]),
            ),
            (
                json!({"items": {"maxLength": 1_000_000}}),
                Value::from(vec![long.clone(); 800]),
                Value::from(vec![long.clone(); 1_200]),
            ),
            (
                json!({"items": {"const": numbers(0, 1_000)}}),
                Value::from(vec![numbers(0, 1_000); 900]),
                Value::from(vec![numbers(0, 1_000); 1_100]),
            ),
        ] {
            let compiled = schema(text);
            assert!(compiled.accepts(&good));
            assert!(!compiled.accepts(&bad));
        }
    }
}
