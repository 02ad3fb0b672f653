//! Whether a schema has sense: known keywords with values of their kind, references that lead somewhere.

use serde_json::Value;

use super::target;
use crate::error::ApiError;

/// Most schemas inside one.
const NODES_MAX: usize = 10_000;

const TYPES: [&str; 7] = ["null", "boolean", "number", "integer", "string", "array", "object"];

pub(super) fn schema(param: &str, root: &Value) -> Result<(), ApiError> {
    let mut nodes = 0;
    one(param, root, root, &mut nodes)
}

fn fault(param: impl Into<String>, what: &'static str) -> ApiError {
    ApiError::Schema {
        param: param.into(),
        what,
    }
}

fn one(at: &str, schema: &Value, root: &Value, nodes: &mut usize) -> Result<(), ApiError> {
    *nodes += 1;
    if *nodes > NODES_MAX {
        return Err(fault(at, "more than 10000 schemas"));
    }
    let rules = match schema {
        Value::Bool(_) => return Ok(()),
        Value::Object(rules) => rules,
        _ => return Err(fault(at, "a schema is an object, true or false")),
    };
    for (keyword, rule) in rules {
        // The keyword is the caller's own text: it goes back to the caller alone, cut short.
        let path = format!("{at}.{}", keyword.chars().take(64).collect::<String>());
        let good = match keyword.as_str() {
            "title" | "description" | "$comment" | "$schema" | "$id" | "format" | "$anchor" => rule.is_string(),
            "default" | "examples" | "example" | "deprecated" | "readOnly" | "writeOnly" | "const" => true,
            "type" => match rule {
                Value::Array(names) => !names.is_empty() && names.iter().all(is_type),
                name => is_type(name),
            },
            "enum" => rule.is_array(),
            "required" => rule.as_array().is_some_and(|names| names.iter().all(Value::is_string)),
            "uniqueItems" => rule.is_boolean(),
            "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" => rule.is_number(),
            "multipleOf" => rule.as_f64().is_some_and(|n| n > 0.0),
            "minLength" | "maxLength" | "minItems" | "maxItems" | "minProperties" | "maxProperties" => {
                rule.as_f64().is_some_and(|n| n >= 0.0 && n.fract() == 0.0)
            }
            "items" | "additionalProperties" => {
                one(&path, rule, root, nodes)?;
                true
            }
            "properties" | "$defs" | "definitions" => match rule {
                Value::Object(schemas) => {
                    for (name, inner) in schemas {
                        let name: String = name.chars().take(64).collect();
                        one(&format!("{path}.{name}"), inner, root, nodes)?;
                    }
                    true
                }
                _ => false,
            },
            "anyOf" | "oneOf" | "allOf" | "prefixItems" => match rule {
                Value::Array(schemas) if !schemas.is_empty() => {
                    for (i, inner) in schemas.iter().enumerate() {
                        one(&format!("{path}[{i}]"), inner, root, nodes)?;
                    }
                    true
                }
                _ => false,
            },
            "$ref" => match rule.as_str().map(|reference| target(root, reference)) {
                Some(Some(_)) => true,
                _ => {
                    return Err(fault(
                        path,
                        "a reference leads to #, #/$defs/… or #/definitions/… of the same schema",
                    ));
                }
            },
            _ => return Err(fault(path, "this guest does not check that keyword; leave it out")),
        };
        if !good {
            return Err(fault(path, "its value has no sense"));
        }
    }
    Ok(())
}

fn is_type(name: &Value) -> bool {
    name.as_str().is_some_and(|name| TYPES.contains(&name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_has_no_sense_is_refused_where_it_stands() {
        let good = json!({"title": "T", "type": "object", "properties": {"a": {"type": "string", "format": "date"}}, "required": ["a"]});
        assert!(schema("s", &good).is_ok());
        for (text, param) in [
            (json!(5), "s"),
            (json!({"type": "objekt"}), "s.type"),
            (json!({"type": []}), "s.type"),
            (json!({"pattern": "^a"}), "s.pattern"),
            (json!({"if": {}}), "s.if"),
            (json!({"properties": {"a": {"minimum": "1"}}}), "s.properties.a.minimum"),
            (json!({"anyOf": []}), "s.anyOf"),
            (json!({"anyOf": [{"minLength": -1}]}), "s.anyOf[0].minLength"),
            (json!({"multipleOf": 0}), "s.multipleOf"),
            (json!({"$ref": "#/$defs/none"}), "s.$ref"),
            (json!({"$ref": "https://example.com/schema"}), "s.$ref"),
            (json!({"required": "a"}), "s.required"),
            (json!({"items": 5}), "s.items"),
        ] {
            let error = schema("s", &text).unwrap_err();
            assert_eq!(error.code(), "invalid_schema", "{text}");
            assert_eq!(error.body()["error"]["param"], param, "{text}");
        }
        let wide: Vec<_> = (0..NODES_MAX).map(|_| json!(true)).collect();
        assert!(schema("s", &json!({"anyOf": wide})).is_err());
    }
}
