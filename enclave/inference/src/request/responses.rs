//! `POST /v1/responses`: OpenAI's newer shape. The guest keeps nothing, so nothing can be asked for by an earlier id.

use serde_json::{Value, json};

use super::chat::one_form;
use super::fields::{Fields, invalid, wrong};
use super::format;
use super::media;
use super::messages::{Message, PastCall, bounded};
use super::tools::{self, Tool, Tools};
use super::{Ask, Prompt, members, sampling};
use crate::error::ApiError;

/// A response to make, and what it repeats of its request.
pub(crate) struct ResponsesRequest {
    pub(crate) ask: Ask,
    pub(crate) echo: Echo,
}

/// Members of the request that the response shows again.
#[derive(Clone)]
pub(crate) struct Echo {
    pub(crate) instructions: Option<String>,
    pub(crate) metadata: Value,
    pub(crate) tools: Value,
    pub(crate) tool_choice: Value,
    pub(crate) format: Value,
}

pub(super) const NOT_BUILT: &[(&str, &str)] = &[
    ("background", "false"),
    ("conversation", ""),
    ("context_management", "[]"),
    ("max_tool_calls", ""),
    ("moderation", ""),
    ("prompt", ""),
    ("reasoning", "{}"),
    ("service_tier", "\"auto\""),
    ("store", "false"),
    ("top_logprobs", "0"),
    ("truncation", "\"disabled\""),
];

pub(super) const IGNORED: &[&str] = &[
    "user",
    "safety_identifier",
    "prompt_cache_key",
    "prompt_cache_retention",
];

impl ResponsesRequest {
    pub(crate) fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let mut fields = members(body)?;
        fields.refuse(
            "previous_response_id",
            ": this guest keeps no responses; send the whole conversation",
        )?;
        fields.refuse_what_is_not_built(NOT_BUILT)?;
        fields.drop_all(IGNORED);
        includes(&mut fields)?;
        let metadata = match fields.take("metadata") {
            None => json!({}),
            Some(Value::Object(members)) => Value::Object(members),
            Some(other) => return Err(wrong("metadata", "an object", Some(&other))),
        };
        let model = fields.required_text("model")?;
        let instructions = fields.text("instructions")?;
        let mut messages: Vec<Message> = instructions
            .iter()
            .map(|t| Message::text("system", t.clone()))
            .collect();
        messages.extend(conversation(&mut fields)?);
        let stream = fields.boolean("stream")?.unwrap_or(false);
        if let Some(mut options) = fields.object("stream_options")? {
            options.boolean("include_obfuscation")?;
            options.refuse_the_rest()?;
        }
        let list = tools::list(&mut fields, tool)?;
        let wanted = tools::choice(&mut fields)?;
        let parallel = fields.boolean("parallel_tool_calls")?;
        let shown = shown_choice(wanted.as_ref());
        let tools = Tools::new(list, wanted, parallel, "tool_choice")?;
        let format = match fields.object("text")? {
            None => None,
            Some(mut text) => {
                text.refuse_what_is_not_built(&[("verbosity", "\"medium\"")])?;
                let format = format::flat(&mut text, "text.format")?;
                text.refuse_the_rest()?;
                format
            }
        };
        let echo = Echo {
            instructions,
            metadata,
            tools: shown_tools(&tools),
            tool_choice: shown,
            format: match &format {
                None => json!({"type": "text"}),
                Some(format) => {
                    json!({"type": "json_schema", "name": "answer", "schema": format.schema.text(), "strict": true})
                }
            },
        };
        let ask = Ask {
            model,
            prompts: vec![Prompt::Chat(messages)],
            prompt_param: "input",
            answers_each: 1,
            max_tokens: sampling::count(&mut fields, "max_output_tokens")?,
            temperature_micros: sampling::temperature(&mut fields, 2.0)?,
            top_p_micros: sampling::top_p(&mut fields)?,
            seed: None,
            stop: Vec::new(),
            stream,
            logprobs: None,
            tools,
            format,
        };
        fields.refuse_the_rest()?;
        one_form(&ask)?;
        Ok(Self { ask, echo })
    }
}

/// More to show: what there is none of is left out, the rest is refused.
fn includes(fields: &mut Fields) -> Result<(), ApiError> {
    for (i, value) in fields.list("include")?.unwrap_or_default().into_iter().enumerate() {
        // Clients ask for it of every model; without reasoning there is nothing to encrypt.
        if value != "reasoning.encrypted_content" {
            return Err(ApiError::Unsupported {
                param: format!("include[{i}]"),
                hint: "",
            });
        }
    }
    Ok(())
}

/// `{"type":"function","name",…}`.
fn tool(mut fields: Fields) -> Result<Tool, ApiError> {
    tools::only_functions(&mut fields)?;
    let tool = tools::function(&mut fields, "parameters")?;
    fields.refuse_the_rest()?;
    Ok(tool)
}

fn shown_tools(tools: &Tools) -> Value {
    let flat = tools.objects().into_iter().map(|object| {
        let mut function = object.get("function").cloned().unwrap_or_default();
        if let Value::Object(members) = &mut function {
            members.insert("type".into(), "function".into());
            members.insert("strict".into(), false.into());
        }
        function
    });
    flat.collect()
}

fn shown_choice(wanted: Option<&tools::Wanted>) -> Value {
    match wanted {
        None | Some(tools::Wanted::Any) => "auto".into(),
        Some(tools::Wanted::Nothing) => "none".into(),
        Some(tools::Wanted::Call) => "required".into(),
        Some(tools::Wanted::This(name)) => json!({"type": "function", "name": name}),
    }
}

fn conversation(fields: &mut Fields) -> Result<Vec<Message>, ApiError> {
    const SHAPES: &str = "a text or a list of items";
    let items = match fields.take("input") {
        Some(Value::String(text)) => return Ok(vec![Message::text("user", text)]),
        Some(Value::Array(items)) => bounded("input", items)?,
        other => return Err(wrong("input", SHAPES, other.as_ref())),
    };
    let mut messages: Vec<Message> = Vec::new();
    for (i, value) in items.into_iter().enumerate() {
        item(format!("input[{i}]"), value, &mut messages)?;
    }
    Ok(messages)
}

fn item(at: String, value: Value, messages: &mut Vec<Message>) -> Result<(), ApiError> {
    let mut fields = Fields::of(at.clone(), value, "an object")?;
    let kind = fields.text("type")?;
    // Items of an earlier response come back with what it said of them.
    fields.drop_all(&["id", "status", "phase"]);
    match kind.as_deref() {
        None | Some("message") => {
            let word = fields.take("role");
            let role = match word.as_ref().and_then(Value::as_str) {
                Some("system" | "developer") => "system",
                Some("user") => "user",
                Some("assistant") => "assistant",
                Some(_) => {
                    return Err(invalid(
                        fields.path("role"),
                        "system, developer, user or assistant",
                        "another word",
                    ));
                }
                None => {
                    return Err(wrong(
                        fields.path("role"),
                        "system, developer, user or assistant",
                        word.as_ref(),
                    ));
                }
            };
            let text = texts(&mut fields, &at, "content")?;
            messages.push(Message::text(role, text));
        }
        Some("function_call") => {
            let call = PastCall::new(
                fields.required_text("call_id")?,
                fields.required_text("name")?,
                fields.required_text("arguments")?,
            );
            // Calls that stand together are one turn.
            match messages.last_mut() {
                Some(last) if last.role == "assistant" => last.tool_calls.push(call),
                _ => {
                    let mut message = Message::text("assistant", String::new());
                    message.tool_calls.push(call);
                    messages.push(message);
                }
            }
        }
        Some("function_call_output") => {
            let id = fields.required_text("call_id")?;
            let output = texts(&mut fields, &at, "output")?;
            messages.push(Message::result(id, output));
        }
        Some(_) => {
            return Err(ApiError::Unsupported {
                param: fields.path("type"),
                hint: ": items are messages, function_call and function_call_output",
            });
        }
    }
    fields.refuse_the_rest()
}

fn texts(fields: &mut Fields, at: &str, name: &str) -> Result<String, ApiError> {
    let parts = match fields.take(name) {
        Some(Value::String(text)) => return Ok(text),
        Some(Value::Array(parts)) if !parts.is_empty() => parts,
        other => {
            return Err(wrong(
                fields.path(name),
                "a text or a list of text parts",
                other.as_ref(),
            ));
        }
    };
    let mut whole = String::new();
    for (p, value) in parts.into_iter().enumerate() {
        let path = format!("{at}.{name}[{p}]");
        let mut part = Fields::of(path.clone(), value, "an object")?;
        match part.required_text("type")?.as_str() {
            "input_text" | "output_text" | "text" => {}
            word => return Err(media::refuse(&mut part, &path, word)),
        }
        part.drop_all(&["annotations", "logprobs"]);
        whole.push_str(&part.required_text("text")?);
        part.refuse_the_rest()?;
    }
    Ok(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(extra: &str) -> Result<ResponsesRequest, (String, &'static str)> {
        let body = format!(r#"{{"model":"m"{extra}}}"#);
        ResponsesRequest::parse(body.as_bytes()).map_err(|e| {
            let param = e.body()["error"]["param"].as_str().unwrap_or("").to_owned();
            (param, e.code())
        })
    }

    #[test]
    fn items_become_messages_in_their_order() {
        let r = parse(
            r#","instructions":"be kind","store":false,"include":["reasoning.encrypted_content"],"input":[
                {"role":"user","content":"a"},
                {"type":"message","role":"assistant","id":"msg_1","status":"completed",
                 "content":[{"type":"output_text","text":"b","annotations":[]}]},
                {"type":"function_call","call_id":"c1","name":"f","arguments":"{}","id":"fc_1","status":"completed"},
                {"type":"function_call_output","call_id":"c1","output":"5"}]"#,
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
                ("tool", "5", 0, Some("c1"))
            ]
        );
    }

    #[test]
    fn what_needs_a_memory_or_another_model_is_refused_by_name() {
        for (extra, param, code) in [
            (r#","input":"a","store":true"#, "store", "unsupported_parameter"),
            (
                r#","input":"a","previous_response_id":"resp_1""#,
                "previous_response_id",
                "unsupported_parameter",
            ),
            (
                r#","input":"a","background":true"#,
                "background",
                "unsupported_parameter",
            ),
            (
                r#","input":"a","reasoning":{"effort":"high"}"#,
                "reasoning",
                "unsupported_parameter",
            ),
            (
                r#","input":"a","include":["web_search_call.results"]"#,
                "include[0]",
                "unsupported_parameter",
            ),
            (
                r#","input":"a","tools":[{"type":"web_search"}]"#,
                "tools[0].type",
                "unsupported_parameter",
            ),
            (
                r#","input":[{"type":"item_reference","id":"x"}]"#,
                "input[0].type",
                "unsupported_parameter",
            ),
            (
                r#","input":[{"role":"user","content":[{"type":"input_image","image_url":"https://x/y.png"}]}]"#,
                "input[0].content[0].image_url",
                "invalid_value",
            ),
            (
                r#","input":[{"role":"user","content":[{"type":"input_image","image_url":"data:image/png;base64,AA=="}]}]"#,
                "input[0].content[0].type",
                "unsupported_parameter",
            ),
            (r#","input":[]"#, "input", "invalid_value"),
            (r#","input":5"#, "input", "invalid_value"),
            ("", "input", "invalid_value"),
            (
                r#","input":"a","max_output_tokens":0"#,
                "max_output_tokens",
                "invalid_value",
            ),
            (r#","input":"a","max_tokens":5"#, "max_tokens", "unknown_parameter"),
            (
                r#","input":"a","text":{"format":{"type":"json_schema","name":"x","schema":{"minimum":"a"}}}"#,
                "text.format.schema.minimum",
                "invalid_schema",
            ),
        ] {
            assert_eq!(parse(extra).err(), Some((param.into(), code)), "{extra}");
        }
    }
}
