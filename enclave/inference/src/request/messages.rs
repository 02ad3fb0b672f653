//! The messages of a chat: text only. Nothing of the client's is fetched, so parts that name a URL or carry media are refused.

use serde::Serialize;
use serde_json::Value;

use super::fields::{Fields, kind};
use crate::error::ApiError;

/// Most messages in one request.
const MESSAGES_MAX: usize = 4096;

/// One message as the engine gets it.
#[derive(Serialize)]
pub(crate) struct Message {
    role: &'static str,
    content: String,
}

pub(super) fn parse(value: Value) -> Result<Vec<Message>, ApiError> {
    let Value::Array(list) = value else {
        return Err(invalid("messages".into(), "a list of messages", kind(&value).into()));
    };
    if list.is_empty() || list.len() > MESSAGES_MAX {
        return Err(invalid("messages".into(), "1 to 4096 messages", list.len().to_string()));
    }
    list.into_iter().enumerate().map(|(i, m)| message(i, m)).collect()
}

fn invalid(param: String, expected: &'static str, got: String) -> ApiError {
    ApiError::Invalid { param, expected, got }
}

fn message(i: usize, value: Value) -> Result<Message, ApiError> {
    let at = |member: &str| format!("messages[{i}]{member}");
    let Value::Object(members) = value else {
        return Err(invalid(at(""), "an object", kind(&value).into()));
    };
    let mut fields = Fields(members);
    let role = match fields.take("role") {
        Some(Value::String(role)) => match role.as_str() {
            // OpenAI's newer name for the same role; templates know the older.
            "system" | "developer" => "system",
            "user" => "user",
            "assistant" => "assistant",
            "tool" | "function" => {
                return Err(ApiError::Unsupported {
                    param: at(".role"),
                    hint: ": tools are not built",
                });
            }
            _ => {
                return Err(invalid(
                    at(".role"),
                    "system, developer, user or assistant",
                    "another word".into(),
                ));
            }
        },
        other => {
            let got = other.as_ref().map_or("nothing", kind);
            return Err(invalid(at(".role"), "system, developer, user or assistant", got.into()));
        }
    };
    let content = match fields.take("content") {
        Some(Value::String(text)) => text,
        Some(Value::Array(parts)) if !parts.is_empty() => {
            let texts: Result<Vec<_>, _> = parts.into_iter().enumerate().map(|(p, v)| part(i, p, v)).collect();
            texts?.concat()
        }
        other => {
            let got = other.as_ref().map_or("nothing", kind);
            return Err(invalid(at(".content"), "a text or a list of text parts", got.into()));
        }
    };
    // `name` has no place in the templates; a client library may send the last two as null or empty.
    for member in [
        "name",
        "tool_calls",
        "function_call",
        "tool_call_id",
        "audio",
        "refusal",
    ] {
        match fields.take(member) {
            None => {}
            Some(Value::Array(empty)) if empty.is_empty() => {}
            Some(_) => {
                return Err(ApiError::Unsupported {
                    param: at(&format!(".{member}")),
                    hint: "",
                });
            }
        }
    }
    fields.refuse_the_rest()?;
    Ok(Message { role, content })
}

fn part(i: usize, p: usize, value: Value) -> Result<String, ApiError> {
    let at = |member: &str| format!("messages[{i}].content[{p}]{member}");
    let Value::Object(members) = value else {
        return Err(invalid(at(""), "an object", kind(&value).into()));
    };
    let mut fields = Fields(members);
    match fields.take("type") {
        Some(Value::String(word)) if word == "text" => {}
        Some(Value::String(_)) => {
            return Err(ApiError::Unsupported {
                param: at(".type"),
                hint: ": this guest takes text parts alone, and fetches no URL",
            });
        }
        other => {
            let got = other.as_ref().map_or("nothing", kind);
            return Err(invalid(at(".type"), "text", got.into()));
        }
    }
    let text = match fields.take("text") {
        Some(Value::String(text)) => text,
        other => {
            let got = other.as_ref().map_or("nothing", kind);
            return Err(invalid(at(".text"), "a text", got.into()));
        }
    };
    fields.refuse_the_rest()?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Vec<Message>, (String, &'static str)> {
        parse(serde_json::from_str(json).unwrap()).map_err(|e| {
            let param = e.body()["error"]["param"].as_str().unwrap_or("").to_owned();
            (param, e.code())
        })
    }

    #[test]
    fn texts_and_text_parts_are_taken() {
        let m = read(
            r#"[{"role":"developer","content":"a"},{"role":"user","content":[{"type":"text","text":"b"},{"type":"text","text":"c"}]},
               {"role":"assistant","content":"d","refusal":null,"tool_calls":[]}]"#,
        )
        .unwrap();
        let got: Vec<_> = m.iter().map(|m| (m.role, m.content.as_str())).collect();
        assert_eq!(got, [("system", "a"), ("user", "bc"), ("assistant", "d")]);
    }

    #[test]
    fn media_urls_tools_and_broken_messages_are_refused_where_they_stand() {
        for (json, param, code) in [
            ("[]", "messages", "invalid_value"),
            ("{}", "messages", "invalid_value"),
            (r#"["Hi"]"#, "messages[0]", "invalid_value"),
            (r#"[{"content":"a"}]"#, "messages[0].role", "invalid_value"),
            (
                r#"[{"role":"king","content":"a"}]"#,
                "messages[0].role",
                "invalid_value",
            ),
            (
                r#"[{"role":"tool","content":"a"}]"#,
                "messages[0].role",
                "unsupported_parameter",
            ),
            (r#"[{"role":"user"}]"#, "messages[0].content", "invalid_value"),
            (
                r#"[{"role":"user","content":[]}]"#,
                "messages[0].content",
                "invalid_value",
            ),
            (
                r#"[{"role":"user","content":"a"},{"role":"user","content":[{"type":"image_url","image_url":{"url":"file:///etc/passwd"}}]}]"#,
                "messages[1].content[0].type",
                "unsupported_parameter",
            ),
            (
                r#"[{"role":"user","content":[{"type":"text","text":"a","url":"http://x"}]}]"#,
                "url",
                "unknown_parameter",
            ),
            (
                r#"[{"role":"user","content":"a","name":"bob"}]"#,
                "messages[0].name",
                "unsupported_parameter",
            ),
        ] {
            assert_eq!(read(json).err(), Some((param.into(), code)), "{json}");
        }
    }
}
