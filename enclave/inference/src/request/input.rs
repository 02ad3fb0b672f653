//! Prompts and inputs that are no chat: a text, several, token ids, or lists of them.

use serde::Serialize;
use serde_json::Value;

use super::fields::{Fields, invalid, wrong};
use super::messages::Message;
use crate::error::ApiError;

/// What the engine computes on.
#[derive(Debug, Clone, Serialize, PartialEq)]
#[serde(untagged)]
pub(crate) enum Prompt {
    /// Through the model's chat template.
    Chat(Vec<Message>),
    /// A text as it is.
    Text(String),
    /// Tokens as they are.
    Tokens(Vec<u32>),
}

const SHAPES: &str = "a text, a list of texts, a list of token ids, or a list of such lists; none of them empty";

/// Reads `name` as 1 to `most` prompts.
pub(super) fn parse(fields: &mut Fields, name: &str, most: usize) -> Result<Vec<Prompt>, ApiError> {
    let path = fields.path(name);
    let value = fields.take(name);
    let list = match value {
        Some(Value::String(text)) if !text.is_empty() => return Ok(vec![Prompt::Text(text)]),
        Some(Value::Array(list)) if !list.is_empty() => list,
        Some(Value::String(_) | Value::Array(_)) => return Err(invalid(path, SHAPES, "an empty one")),
        other => return Err(wrong(path, SHAPES, other.as_ref())),
    };
    if list.iter().all(Value::is_number) {
        return Ok(vec![Prompt::Tokens(ids(&path, &list)?)]);
    }
    if list.len() > most {
        return Err(ApiError::TooMany {
            param: path,
            most: most as u64,
            got: list.len() as u64,
        });
    }
    let items = list.into_iter().enumerate();
    items
        .map(|(i, item)| match item {
            Value::String(text) if !text.is_empty() => Ok(Prompt::Text(text)),
            Value::Array(list) if !list.is_empty() => Ok(Prompt::Tokens(ids(&format!("{path}[{i}]"), &list)?)),
            Value::String(_) | Value::Array(_) => Err(invalid(format!("{path}[{i}]"), SHAPES, "an empty one")),
            other => Err(wrong(format!("{path}[{i}]"), SHAPES, Some(&other))),
        })
        .collect()
}

fn ids(path: &str, list: &[Value]) -> Result<Vec<u32>, ApiError> {
    let items = list.iter().enumerate();
    items
        .map(|(i, value)| {
            let id = value.as_u64().and_then(|n| u32::try_from(n).ok());
            id.ok_or_else(|| wrong(format!("{path}[{i}]"), "a token id from 0 to 2^32 - 1", Some(value)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(value: Value) -> Result<Vec<Prompt>, (String, &'static str)> {
        let mut fields = Fields::of("", json!({"input": value}), "").unwrap();
        parse(&mut fields, "input", 2).map_err(|e| {
            let param = e.body()["error"]["param"].as_str().unwrap_or("").to_owned();
            (param, e.code())
        })
    }

    #[test]
    fn four_shapes_are_taken_and_their_nearest_twins_refused() {
        let text = |t: &str| Prompt::Text(t.into());
        assert_eq!(read(json!("a")).unwrap(), [text("a")]);
        assert_eq!(read(json!(["a", "b"])).unwrap(), [text("a"), text("b")]);
        assert_eq!(read(json!([1, 2, 3])).unwrap(), [Prompt::Tokens(vec![1, 2, 3])]);
        assert_eq!(
            read(json!([[1], [2]])).unwrap(),
            [Prompt::Tokens(vec![1]), Prompt::Tokens(vec![2])]
        );
        for (value, param) in [
            (json!(""), "input"),
            (json!([]), "input"),
            (json!(5), "input"),
            (json!(null), "input"),
            (json!(["a", ""]), "input[1]"),
            (json!(["a", 5]), "input[1]"),
            (json!([1, -2]), "input[1]"),
            (json!([1, 4_294_967_296_u64]), "input[1]"),
            (json!([[1], []]), "input[1]"),
            (json!([["a"]]), "input[0][0]"),
            (json!(["a", "b", "c"]), "input"),
        ] {
            assert_eq!(
                read(value.clone()).err(),
                Some((param.into(), "invalid_value")),
                "{value}"
            );
        }
    }
}
