//! The messages of a chat, as OpenAI's clients send them. Text alone goes to the engine: nothing of the client's is fetched.

use serde::Serialize;
use serde_json::Value;

use super::fields::{Fields, invalid, wrong};
use super::media;
use crate::error::ApiError;

/// Most messages in one request.
pub(super) const MESSAGES_MAX: usize = 4096;
/// Most calls in one message.
const CALLS_MAX: usize = 128;
const ROLES: &str = "system, developer, user, assistant or tool";

/// One message as the engine gets it.
#[derive(Debug, Clone, Serialize, PartialEq)]
pub(crate) struct Message {
    pub(super) role: &'static str,
    pub(super) content: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) tool_calls: Vec<PastCall>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tool_call_id: Option<String>,
}

/// A call that an earlier answer made.
#[derive(Debug, Clone, Serialize, PartialEq)]
pub(crate) struct PastCall {
    id: String,
    r#type: &'static str,
    function: PastFunction,
}

#[derive(Debug, Clone, Serialize, PartialEq)]
struct PastFunction {
    name: String,
    arguments: String,
}

impl PastCall {
    pub(super) fn new(id: String, name: String, arguments: String) -> Self {
        Self {
            id,
            r#type: "function",
            function: PastFunction { name, arguments },
        }
    }
}

impl Message {
    pub(super) fn text(role: &'static str, content: String) -> Self {
        Self {
            role,
            content,
            tool_calls: Vec::new(),
            tool_call_id: None,
        }
    }

    /// What a tool gave back.
    pub(super) fn result(id: String, content: String) -> Self {
        Self {
            tool_call_id: Some(id),
            ..Self::text("tool", content)
        }
    }
}

/// A list of 1 to 4096, at `param`.
pub(super) fn bounded(param: &str, list: Vec<Value>) -> Result<Vec<Value>, ApiError> {
    match list.len() {
        1..=MESSAGES_MAX => Ok(list),
        n => Err(invalid(param, "1 to 4096 messages", n.to_string())),
    }
}

pub(super) fn parse(fields: &mut Fields) -> Result<Vec<Message>, ApiError> {
    let list = fields
        .list("messages")?
        .ok_or_else(|| wrong("messages", "a list of messages", None))?;
    bounded("messages", list)?
        .into_iter()
        .enumerate()
        .map(|(i, m)| message(format!("messages[{i}]"), m))
        .collect()
}

fn message(at: String, value: Value) -> Result<Message, ApiError> {
    let mut fields = Fields::of(at.clone(), value, "an object")?;
    let word = fields.take("role");
    let role = match word.as_ref().and_then(Value::as_str) {
        // OpenAI's newer name for the same role; templates know the older.
        Some("system" | "developer") => "system",
        Some("user") => "user",
        Some("assistant") => "assistant",
        Some("tool") => "tool",
        Some("function") => {
            return Err(ApiError::Unsupported {
                param: fields.path("role"),
                hint: ": send tool messages",
            });
        }
        Some(_) => return Err(invalid(fields.path("role"), ROLES, "another word")),
        None => return Err(wrong(fields.path("role"), ROLES, word.as_ref())),
    };
    let tool_calls = match role {
        "assistant" => past_calls(&mut fields)?,
        _ => Vec::new(),
    };
    let tool_call_id = match role {
        "tool" => Some(fields.required_text("tool_call_id")?),
        _ => None,
    };
    let content = match content(&mut fields, &at)? {
        Some(content) => content,
        // An answer of calls alone has no text.
        None if !tool_calls.is_empty() => String::new(),
        None => return Err(wrong(fields.path("content"), "a text or a list of text parts", None)),
    };
    // `name` has no place in the templates; a client library may send the others as null or empty.
    for member in [
        "name",
        "tool_calls",
        "function_call",
        "tool_call_id",
        "audio",
        "refusal",
        "annotations",
    ] {
        match fields.take(member) {
            None => {}
            Some(Value::Array(empty)) if empty.is_empty() => {}
            Some(_) => {
                return Err(ApiError::Unsupported {
                    param: fields.path(member),
                    hint: "",
                });
            }
        }
    }
    fields.refuse_the_rest()?;
    Ok(Message {
        role,
        content,
        tool_calls,
        tool_call_id,
    })
}

fn content(fields: &mut Fields, at: &str) -> Result<Option<String>, ApiError> {
    match fields.take("content") {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(Value::Array(parts)) if !parts.is_empty() => {
            let parts = parts.into_iter().enumerate();
            let texts: Result<Vec<_>, _> = parts.map(|(p, v)| part(format!("{at}.content[{p}]"), v)).collect();
            texts.map(|texts| Some(texts.concat()))
        }
        Some(other) => Err(wrong(
            fields.path("content"),
            "a text or a list of text parts",
            Some(&other),
        )),
    }
}

fn part(at: String, value: Value) -> Result<String, ApiError> {
    let mut fields = Fields::of(at.clone(), value, "an object")?;
    match fields.required_text("type")?.as_str() {
        "text" => {}
        word => return Err(media::refuse(&mut fields, &at, word)),
    }
    let text = fields.required_text("text")?;
    fields.refuse_the_rest()?;
    Ok(text)
}

fn past_calls(fields: &mut Fields) -> Result<Vec<PastCall>, ApiError> {
    let path = fields.path("tool_calls");
    let calls = fields.list("tool_calls")?.unwrap_or_default();
    if calls.len() > CALLS_MAX {
        return Err(invalid(path, "at most 128 calls", calls.len().to_string()));
    }
    let calls = calls.into_iter().enumerate();
    calls
        .map(|(i, value)| {
            let mut call = Fields::of(format!("{path}[{i}]"), value, "an object")?;
            let id = call.required_text("id")?;
            let word = call.text("type")?;
            if word.is_some_and(|w| w != "function") {
                return Err(ApiError::Unsupported {
                    param: call.path("type"),
                    hint: ": calls are of functions",
                });
            }
            // Some clients say at which place of a stream it came.
            call.drop_all(&["index"]);
            let missing = wrong(call.path("function"), "an object", None);
            let mut function = call.object("function")?.ok_or(missing)?;
            let (name, arguments) = (function.required_text("name")?, function.required_text("arguments")?);
            function.refuse_the_rest()?;
            call.refuse_the_rest()?;
            Ok(PastCall::new(id, name, arguments))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(messages: &str) -> Result<Vec<Message>, (String, &'static str)> {
        let value = json!({"messages": serde_json::from_str::<Value>(messages).unwrap()});
        let mut fields = Fields::of("", value, "").unwrap();
        parse(&mut fields).map_err(|e| {
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
    fn calls_and_their_results_go_to_the_engine_as_they_are() {
        let m = read(
            r#"[{"role":"user","content":"a"},
               {"role":"assistant","content":null,"tool_calls":[{"id":"c1","type":"function","function":{"name":"f","arguments":"{}"}}]},
               {"role":"tool","tool_call_id":"c1","content":"5"}]"#,
        )
        .unwrap();
        assert_eq!(
            serde_json::to_value(&m[1..]).unwrap(),
            json!([
                {"role":"assistant","content":"","tool_calls":[{"id":"c1","type":"function","function":{"name":"f","arguments":"{}"}}]},
                {"role":"tool","content":"5","tool_call_id":"c1"}
            ])
        );
        assert_eq!(
            serde_json::to_value(&m[0]).unwrap(),
            json!({"role":"user","content":"a"}),
            "an engine without tools sees no new member"
        );
    }

    #[test]
    fn media_urls_and_broken_messages_are_refused_where_they_stand() {
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
                r#"[{"role":"function","content":"a"}]"#,
                "messages[0].role",
                "unsupported_parameter",
            ),
            (
                r#"[{"role":"tool","content":"a"}]"#,
                "messages[0].tool_call_id",
                "invalid_value",
            ),
            (r#"[{"role":"user"}]"#, "messages[0].content", "invalid_value"),
            (
                r#"[{"role":"assistant","content":null}]"#,
                "messages[0].content",
                "invalid_value",
            ),
            (
                r#"[{"role":"user","content":[]}]"#,
                "messages[0].content",
                "invalid_value",
            ),
            (
                r#"[{"role":"user","content":"a"},{"role":"user","content":[{"type":"image_url","image_url":{"url":"file:///etc/passwd"}}]}]"#,
                "messages[1].content[0].image_url.url",
                "invalid_value",
            ),
            (
                r#"[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}}]}]"#,
                "messages[0].content[0].type",
                "unsupported_parameter",
            ),
            (
                r#"[{"role":"user","content":[{"type":"input_audio","input_audio":{"data":"AA","format":"wav"}}]}]"#,
                "messages[0].content[0].type",
                "unsupported_parameter",
            ),
            (
                r#"[{"role":"user","content":[{"type":"text","text":"a","url":"http://x"}]}]"#,
                "messages[0].content[0].url",
                "unknown_parameter",
            ),
            (
                r#"[{"role":"user","content":"a","name":"bob"}]"#,
                "messages[0].name",
                "unsupported_parameter",
            ),
            (
                r#"[{"role":"assistant","content":null,"tool_calls":[{"id":"c","type":"function","function":{"name":"f"}}]}]"#,
                "messages[0].tool_calls[0].function.arguments",
                "invalid_value",
            ),
        ] {
            assert_eq!(read(json).err(), Some((param.into(), code)), "{json}");
        }
    }
}
