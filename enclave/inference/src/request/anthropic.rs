//! Anthropic's `POST /v1/messages` and `/v1/messages/count_tokens`.

use serde_json::Value;

use super::chat::one_form;
use super::fields::{Fields, invalid, wrong};
use super::messages::{Message, PastCall, bounded};
use super::tools::{self, Tool, Tools, Wanted};
use super::{Ask, Prompt, format, members, sampling};
use crate::error::ApiError;

const ROLES: &str = "user or assistant";

/// A conversation.
pub(crate) struct MessagesRequest {
    pub(crate) ask: Ask,
}

pub(super) const NOT_BUILT: &[(&str, &str)] = &[
    ("container", ""),
    ("context_management", ""),
    ("inference_geo", ""),
    ("mcp_servers", "[]"),
    ("thinking", "{\"type\":\"disabled\"}"),
    ("top_k", ""),
];

/// Nothing is cached, and nobody is told apart by them.
pub(super) const IGNORED: &[&str] = &["metadata", "service_tier", "cache_control"];

impl MessagesRequest {
    pub(crate) fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let mut fields = members(body)?;
        let max_tokens = sampling::count(&mut fields, "max_tokens")?;
        let max_tokens = max_tokens.ok_or_else(|| wrong("max_tokens", sampling::COUNT, None))?;
        let mut request = Self::conversation(&mut fields)?;
        let ask = &mut request.ask;
        ask.max_tokens = Some(max_tokens);
        ask.temperature_micros = sampling::temperature(&mut fields, 1.0)?;
        ask.top_p_micros = sampling::top_p(&mut fields)?;
        ask.stop = sampling::stops(&mut fields, "stop_sequences")?;
        ask.stream = fields.boolean("stream")?.unwrap_or(false);
        fields.refuse_the_rest()?;
        one_form(ask)?;
        Ok(request)
    }

    /// What there is to count: no member of sampling.
    pub(crate) fn parse_to_count(body: &[u8]) -> Result<Self, ApiError> {
        let mut fields = members(body)?;
        let request = Self::conversation(&mut fields)?;
        fields.refuse_the_rest()?;
        Ok(request)
    }

    fn conversation(fields: &mut Fields) -> Result<Self, ApiError> {
        fields.refuse_what_is_not_built(NOT_BUILT)?;
        fields.drop_all(IGNORED);
        let model = fields.required_text("model")?;
        let mut messages = Vec::new();
        if let Some(system) = blocks(fields, "system")? {
            let texts: Result<Vec<_>, _> = system.into_iter().map(|b| b.text_alone("text blocks")).collect();
            messages.push(Message::text("system", texts?.concat()));
        }
        let list = fields.list("messages")?;
        let list = list.ok_or_else(|| wrong("messages", "a list of messages", None))?;
        for (i, value) in bounded("messages", list)?.into_iter().enumerate() {
            message(format!("messages[{i}]"), value, &mut messages)?;
        }
        let list = tools::list(fields, tool)?;
        let (wanted, parallel) = choice(fields)?;
        let tools = Tools::new(list, wanted, parallel, "tool_choice")?;
        let format = match fields.object("output_config")? {
            None => None,
            Some(mut config) => {
                config.refuse("effort", "")?;
                let format = format::flat(&mut config, "output_config.format")?;
                config.refuse_the_rest()?;
                format
            }
        };
        Ok(Self {
            ask: Ask {
                model,
                prompts: vec![Prompt::Chat(messages)],
                prompt_param: "messages",
                answers_each: 1,
                max_tokens: None,
                temperature_micros: 1_000_000,
                top_p_micros: 1_000_000,
                seed: None,
                stop: Vec::new(),
                stream: false,
                logprobs: None,
                tools,
                format,
            },
        })
    }
}

/// What stands in a message.
enum Block {
    Text(String),
    Use(PastCall),
    Result(Message),
}

impl Block {
    fn text_alone(self, expected: &'static str) -> Result<String, ApiError> {
        match self {
            Self::Text(text) => Ok(text),
            Self::Use(_) | Self::Result(_) => Err(invalid("system", expected, "another block")),
        }
    }
}

fn message(at: String, value: Value, messages: &mut Vec<Message>) -> Result<(), ApiError> {
    let mut fields = Fields::of(at, value, "an object")?;
    let word = fields.take("role");
    let role = match word.as_ref().and_then(Value::as_str) {
        Some("user") => "user",
        Some("assistant") => "assistant",
        Some(_) => return Err(invalid(fields.path("role"), ROLES, "another word")),
        None => return Err(wrong(fields.path("role"), ROLES, word.as_ref())),
    };
    let path = fields.path("content");
    let content = blocks(&mut fields, "content")?;
    let content = content.ok_or_else(|| wrong(path.as_str(), "a text or a list of blocks", None))?;
    fields.refuse_the_rest()?;
    let mut said = Message::text(role, String::new());
    let mut any = content.is_empty();
    for block in content {
        match (block, role) {
            (Block::Text(text), _) => {
                said.content.push_str(&text);
                any = true;
            }
            (Block::Use(call), "assistant") => {
                said.tool_calls.push(call);
                any = true;
            }
            // Results come before what the user says of them.
            (Block::Result(result), "user") => messages.push(result),
            (Block::Use(_), _) => {
                return Err(invalid(
                    path,
                    "tool_use in messages of the assistant alone",
                    "another role",
                ));
            }
            (Block::Result(_), _) => {
                return Err(invalid(
                    path,
                    "tool_result in messages of the user alone",
                    "another role",
                ));
            }
        }
    }
    if any {
        messages.push(said);
    }
    Ok(())
}

fn blocks(fields: &mut Fields, name: &str) -> Result<Option<Vec<Block>>, ApiError> {
    let path = fields.path(name);
    match fields.take(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(vec![Block::Text(text)])),
        Some(Value::Array(list)) => {
            let list = list.into_iter().enumerate();
            let blocks: Result<Vec<_>, _> = list.map(|(i, v)| block(format!("{path}[{i}]"), v)).collect();
            blocks.map(Some)
        }
        Some(other) => Err(wrong(path, "a text or a list of blocks", Some(&other))),
    }
}

fn block(at: String, value: Value) -> Result<Block, ApiError> {
    let mut fields = Fields::of(at.clone(), value, "an object")?;
    // Nothing is cached, so there is nothing to control.
    fields.drop_all(&["cache_control"]);
    let block = match fields.required_text("type")?.as_str() {
        "text" => {
            fields.drop_all(&["citations"]);
            Block::Text(fields.required_text("text")?)
        }
        "tool_use" => {
            fields.drop_all(&["caller"]);
            let (id, name) = (fields.required_text("id")?, fields.required_text("name")?);
            let input = match fields.take("input") {
                Some(input @ Value::Object(_)) => input.to_string(),
                other => return Err(wrong(fields.path("input"), "an object", other.as_ref())),
            };
            Block::Use(PastCall::new(id, name, input))
        }
        "tool_result" => {
            let id = fields.required_text("tool_use_id")?;
            // The text says what went wrong; templates have no place for more.
            fields.boolean("is_error")?;
            let inner = blocks(&mut fields, "content")?.unwrap_or_default();
            let mut text = String::new();
            for block in inner {
                let Block::Text(part) = block else {
                    return Err(invalid(
                        format!("{at}.content"),
                        "a text or text blocks",
                        "another block",
                    ));
                };
                text.push_str(&part);
            }
            Block::Result(Message::result(id, text))
        }
        "image" | "document" => return Err(media(&mut fields, &at)),
        _ => {
            return Err(ApiError::Unsupported {
                param: fields.path("type"),
                hint: ": blocks are text, tool_use and tool_result",
            });
        }
    };
    fields.refuse_the_rest()?;
    Ok(block)
}

/// Nothing is fetched, and models that read text alone refuse the rest.
fn media(fields: &mut Fields, at: &str) -> ApiError {
    match fields.object("source") {
        Err(e) => e,
        Ok(Some(mut source)) => match source.required_text("type") {
            Err(e) => e,
            Ok(kind) if kind == "base64" || kind == "text" => {
                source.drop_all(&["media_type", "data"]);
                ApiError::Unsupported {
                    param: format!("{at}.type"),
                    hint: ": this model reads text alone",
                }
            }
            Ok(_) => invalid(
                format!("{at}.source.type"),
                "base64: this guest fetches nothing",
                "another word",
            ),
        },
        Ok(None) => wrong(format!("{at}.source"), "an object", None),
    }
}

fn tool(mut fields: Fields) -> Result<Tool, ApiError> {
    if fields.text("type")?.is_some_and(|kind| kind != "custom") {
        return Err(ApiError::Unsupported {
            param: fields.path("type"),
            hint: ": tools are functions of the caller's own",
        });
    }
    fields.drop_all(&["cache_control"]);
    let tool = tools::function(&mut fields, "input_schema")?;
    fields.refuse_the_rest()?;
    Ok(tool)
}

fn choice(fields: &mut Fields) -> Result<(Option<Wanted>, Option<bool>), ApiError> {
    let Some(mut choice) = fields.object("tool_choice")? else {
        return Ok((None, None));
    };
    let wanted = match choice.required_text("type")?.as_str() {
        "auto" => Wanted::Any,
        "none" => Wanted::Nothing,
        "any" => Wanted::Call,
        "tool" => Wanted::This(choice.required_text("name")?),
        _ => return Err(invalid("tool_choice.type", "auto, any, tool or none", "another word")),
    };
    let parallel = choice.boolean("disable_parallel_tool_use")?.map(|disabled| !disabled);
    choice.refuse_the_rest()?;
    Ok((Some(wanted), parallel))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(extra: &str) -> Result<MessagesRequest, (String, &'static str)> {
        let body = format!(r#"{{"model":"m","max_tokens":5{extra}}}"#);
        MessagesRequest::parse(body.as_bytes()).map_err(|e| {
            let param = e.body()["error"]["param"].as_str().unwrap_or("").to_owned();
            (param, e.code())
        })
    }

    #[test]
    fn blocks_become_messages_in_their_order() {
        let r = parse(
            r#","system":[{"type":"text","text":"be kind","cache_control":{"type":"ephemeral"}}],"stop_sequences":["x"],
               "temperature":0.5,"tools":[{"name":"f","input_schema":{"type":"object"}}],"tool_choice":{"type":"any"},
               "messages":[{"role":"user","content":"a"},
                {"role":"assistant","content":[{"type":"text","text":"b"},{"type":"tool_use","id":"t1","name":"f","input":{"x":1}}]},
                {"role":"user","content":[{"type":"tool_result","tool_use_id":"t1","content":[{"type":"text","text":"5"}]},
                                          {"type":"text","text":"c"}]}]"#,
        )
        .unwrap();
        let Prompt::Chat(messages) = &r.ask.prompts[0] else {
            panic!()
        };
        let seen: Vec<_> = messages
            .iter()
            .map(|m| {
                (
                    m.role,
                    m.content.as_str(),
                    m.tool_calls.len(),
                    m.tool_call_id.as_deref(),
                )
            })
            .collect();
        assert_eq!(
            seen,
            [
                ("system", "be kind", 0, None),
                ("user", "a", 0, None),
                ("assistant", "b", 1, None),
                ("tool", "5", 0, Some("t1")),
                ("user", "c", 0, None)
            ]
        );
        assert_eq!((r.ask.tools.wanted, r.ask.temperature_micros), (Wanted::Call, 500_000));
    }

    #[test]
    fn what_is_not_built_or_wrong_is_refused_by_name() {
        let hi = r#","messages":[{"role":"user","content":"a"}]"#;
        for (extra, param, code) in [
            (String::new(), "messages", "invalid_value"),
            (format!(r#"{hi},"temperature":1.5"#), "temperature", "invalid_value"),
            (format!(r#"{hi},"top_k":5"#), "top_k", "unsupported_parameter"),
            (
                format!(r#"{hi},"thinking":{{"type":"enabled","budget_tokens":1024}}"#),
                "thinking",
                "unsupported_parameter",
            ),
            (format!(r#"{hi},"stop":"x""#), "stop", "unknown_parameter"),
            (
                format!(r#"{hi},"tools":[{{"type":"bash_20250124","name":"bash"}}]"#),
                "tools[0].type",
                "unsupported_parameter",
            ),
            (
                r#","messages":[{"role":"system","content":"a"}]"#.into(),
                "messages[0].role",
                "invalid_value",
            ),
            (
                r#","messages":[{"role":"user","content":[{"type":"tool_use","id":"t","name":"f","input":{}}]}]"#.into(),
                "messages[0].content",
                "invalid_value",
            ),
            (
                r#","messages":[{"role":"user","content":[{"type":"image","source":{"type":"url","url":"https://x"}}]}]"#.into(),
                "messages[0].content[0].source.type",
                "invalid_value",
            ),
            (
                r#","messages":[{"role":"user","content":[{"type":"image","source":{"type":"base64","data":"AA=="}}]}]"#.into(),
                "messages[0].content[0].type",
                "unsupported_parameter",
            ),
        ] {
            assert_eq!(parse(&extra).err(), Some((param.into(), code)), "{extra}");
        }
        let none = MessagesRequest::parse(br#"{"model":"m","messages":[{"role":"user","content":"a"}]}"#);
        assert_eq!(none.err().unwrap().body()["error"]["param"], "max_tokens");
    }
}
