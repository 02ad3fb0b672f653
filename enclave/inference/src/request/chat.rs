//! `POST /v1/chat/completions`.

use super::fields::{Fields, invalid};
use super::{Ask, Prompt, format, members, messages, sampling, tools};
use crate::error::ApiError;

/// Most answers to one request.
pub(super) const ANSWERS_MAX: u64 = 8;
/// Most other likely tokens beside each.
const TOP_MAX: u64 = 20;

/// A chat, and what its answer shows besides.
pub(crate) struct ChatRequest {
    pub(crate) ask: Ask,
    pub(crate) include_usage: bool,
}

/// Known to OpenAI, accepted only where they ask for nothing (absent, null, or the given value).
pub(super) const NOT_BUILT: &[(&str, &str)] = &[
    ("audio", ""),
    ("frequency_penalty", "0"),
    ("function_call", "\"none\""),
    ("functions", "[]"),
    ("logit_bias", "{}"),
    ("modalities", "[\"text\"]"),
    ("moderation", ""),
    ("prediction", ""),
    ("presence_penalty", "0"),
    ("reasoning_effort", "\"none\""),
    ("service_tier", "\"auto\""),
    ("store", "false"),
    ("verbosity", ""),
    ("web_search_options", ""),
];

/// Accepted and without effect on the answer; no prompt is cached.
pub(super) const IGNORED: &[&str] = &[
    "user",
    "metadata",
    "safety_identifier",
    "prompt_cache_key",
    "prompt_cache_retention",
];

impl ChatRequest {
    pub(crate) fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let mut fields = members(body)?;
        fields.refuse_what_is_not_built(NOT_BUILT)?;
        fields.drop_all(IGNORED);
        let model = fields.required_text("model")?;
        let messages = messages::parse(&mut fields)?;
        let new = sampling::count(&mut fields, "max_completion_tokens")?;
        let old = sampling::count(&mut fields, "max_tokens")?;
        let stream = fields.boolean("stream")?.unwrap_or(false);
        let list = tools::list(&mut fields, tools::of_chat)?;
        let wanted = tools::choice(&mut fields)?;
        let parallel = fields.boolean("parallel_tool_calls")?;
        let tools = tools::Tools::new(list, wanted, parallel, "tool_choice")?;
        let format = format::of_chat(&mut fields)?;
        let ask = Ask {
            model,
            prompts: vec![Prompt::Chat(messages)],
            prompt_param: "messages",
            answers_each: answers(&mut fields)?,
            max_tokens: new.or(old),
            temperature_micros: sampling::temperature(&mut fields, 2.0)?,
            top_p_micros: sampling::top_p(&mut fields)?,
            seed: sampling::seed(&mut fields)?,
            stop: sampling::stops(&mut fields, "stop")?,
            stream,
            logprobs: logprobs(&mut fields)?,
            tools,
            format,
        };
        let include_usage = sampling::include_usage(&mut fields, stream)?;
        fields.refuse_the_rest()?;
        one_form(&ask)?;
        Ok(Self { ask, include_usage })
    }
}

/// `n`.
pub(super) fn answers(fields: &mut Fields) -> Result<u32, ApiError> {
    let n = fields.integer("n", "a whole number from 1 to 8", 1, ANSWERS_MAX)?;
    Ok(n.and_then(|n| u32::try_from(n).ok()).unwrap_or(1))
}

fn logprobs(fields: &mut Fields) -> Result<Option<u8>, ApiError> {
    let wanted = fields.boolean("logprobs")?.unwrap_or(false);
    let top = fields.integer("top_logprobs", "a whole number from 0 to 20", 0, TOP_MAX)?;
    match (wanted, top) {
        (false, Some(1..)) => Err(invalid("top_logprobs", "nothing unless logprobs is true", "a number")),
        (false, _) => Ok(None),
        (true, top) => Ok(Some(top.and_then(|n| u8::try_from(n).ok()).unwrap_or(0))),
    }
}

/// A document and calls cannot both be what the engine keeps an answer to.
pub(super) fn one_form(ask: &Ask) -> Result<(), ApiError> {
    match &ask.format {
        Some(format) if ask.tools.wanted != tools::Wanted::Nothing => Err(ApiError::Unsupported {
            param: format.param.into(),
            hint: " where tools may be called, or set tool_choice to none",
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(extra: &str) -> Result<ChatRequest, (String, &'static str, u16)> {
        let body = format!(r#"{{"model":"m","messages":[{{"role":"user","content":"Hi"}}]{extra}}}"#);
        ChatRequest::parse(body.as_bytes()).map_err(|e| {
            let param = e.body()["error"]["param"].as_str().unwrap_or("").to_owned();
            (param, e.code(), e.status().as_u16())
        })
    }

    #[test]
    fn the_plain_request_has_openai_defaults() {
        let r = parse("").unwrap().ask;
        assert_eq!(
            (r.temperature_micros, r.top_p_micros, r.seed),
            (1_000_000, 1_000_000, None)
        );
        assert!(!r.stream && r.stop.is_empty() && r.max_tokens.is_none());
    }

    #[test]
    fn what_is_built_is_taken() {
        let r = parse(
            r#","temperature":0.7,"top_p":0.9,"seed":7,"stop":["a","b"],"max_tokens":5,"max_completion_tokens":6,
               "stream":true,"stream_options":{"include_usage":true},"user":"u","n":3,"logprobs":true,"top_logprobs":2,
               "presence_penalty":0.0,"response_format":{"type":"text"},"parallel_tool_calls":true,"tool_choice":"auto",
               "tools":[{"type":"function","function":{"name":"f","description":"d","strict":true,"parameters":{"type":"object"}}}]"#,
        )
        .unwrap();
        let ask = r.ask;
        assert_eq!((ask.temperature_micros, ask.top_p_micros), (700_000, 900_000));
        assert_eq!((ask.seed, ask.max_tokens), (Some(7), Some(6)));
        assert_eq!(ask.stop, ["a", "b"]);
        assert_eq!((ask.answers_each, ask.logprobs), (3, Some(2)));
        assert_eq!((ask.tools.list.len(), &ask.tools.wanted), (1, &tools::Wanted::Any));
        assert!(ask.stream && r.include_usage && ask.enforced().is_none());
        for (extra, wanted) in [
            (r#","tool_choice":"required""#, tools::Wanted::Call),
            (r#","tool_choice":"none""#, tools::Wanted::Nothing),
            (
                r#","tool_choice":{"type":"function","function":{"name":"f"}}"#,
                tools::Wanted::This("f".into()),
            ),
        ] {
            let tools = r#","tools":[{"type":"function","function":{"name":"f"}}]"#;
            let ask = parse(&format!("{tools}{extra}")).unwrap().ask;
            assert_eq!(ask.tools.wanted, wanted);
            let forced = !matches!(wanted, tools::Wanted::Nothing);
            assert_eq!(
                (ask.enforced().is_some(), ask.enforced_param()),
                (forced, "tool_choice")
            );
        }
        for extra in [
            r#","response_format":{"type":"json_object"}"#,
            r#","response_format":{"type":"json_schema","json_schema":{"name":"x","strict":true,"schema":{"type":"object"}}}"#,
        ] {
            let ask = parse(extra).unwrap().ask;
            assert_eq!(ask.enforced(), Some(&serde_json::json!({"type": "object"})));
            assert_eq!(ask.enforced_param(), "response_format");
        }
    }

    #[test]
    fn what_is_not_built_is_refused_by_name() {
        for (extra, param) in [
            (r#","functions":[{"name":"f"}]"#, "functions"),
            (r#","presence_penalty":0.5"#, "presence_penalty"),
            (r#","logit_bias":{"1":2}"#, "logit_bias"),
            (r#","store":true"#, "store"),
            (r#","web_search_options":{}"#, "web_search_options"),
            (r#","tools":[{"type":"web_search"}]"#, "tools[0].type"),
            (
                r#","response_format":{"type":"json_object"},"tools":[{"type":"function","function":{"name":"f"}}]"#,
                "response_format",
            ),
        ] {
            assert_eq!(
                parse(extra).err(),
                Some((param.into(), "unsupported_parameter", 400)),
                "{extra}"
            );
        }
        assert_eq!(
            parse(r#","temprature":1"#).err(),
            Some(("temprature".into(), "unknown_parameter", 400))
        );
    }

    #[test]
    fn wrong_values_are_refused_by_name() {
        for (extra, param) in [
            (r#","temperature":2.1"#, "temperature"),
            (r#","temperature":"hot""#, "temperature"),
            (r#","temperature":-1"#, "temperature"),
            (r#","top_p":0"#, "top_p"),
            (r#","top_p":1.5"#, "top_p"),
            (r#","max_tokens":0"#, "max_tokens"),
            (r#","max_tokens":1.5"#, "max_tokens"),
            (r#","max_tokens":-3"#, "max_tokens"),
            (r#","n":0"#, "n"),
            (r#","n":9"#, "n"),
            (r#","logprobs":1"#, "logprobs"),
            (r#","logprobs":true,"top_logprobs":21"#, "top_logprobs"),
            (r#","top_logprobs":2"#, "top_logprobs"),
            (r#","tool_choice":"required""#, "tool_choice"),
            (r#","tool_choice":"perhaps""#, "tool_choice"),
            (r#","tools":{}"#, "tools"),
            (
                r#","tools":[{"type":"function","function":{"name":"no spaces"}}]"#,
                "tools[0].function.name",
            ),
            (r#","tools":[{"type":"function"}]"#, "tools[0].function"),
            (
                r#","tools":[{"type":"function","function":{"name":"f","parameters":5}}]"#,
                "tools[0].function.parameters",
            ),
            (
                r#","tools":[{"type":"function","function":{"name":"f"}},{"type":"function","function":{"name":"f"}}]"#,
                "tools[1]",
            ),
            (
                r#","tools":[{"type":"function","function":{"name":"f"}}],"tool_choice":{"type":"function","function":{"name":"g"}}"#,
                "tool_choice",
            ),
            (r#","response_format":{"type":"yaml"}"#, "response_format.type"),
            (
                r#","response_format":{"type":"json_schema"}"#,
                "response_format.json_schema",
            ),
            (r#","seed":9007199254740992"#, "seed"),
            (r#","stream":"yes""#, "stream"),
            (r#","stop":["a","b","c","d","e"]"#, "stop"),
            (r#","stop":"""#, "stop"),
            (r#","stop":5"#, "stop"),
            (r#","stream_options":{"include_usage":true}"#, "stream_options"),
            (
                r#","stream":true,"stream_options":{"include_usage":1}"#,
                "stream_options.include_usage",
            ),
        ] {
            assert_eq!(
                parse(extra).err(),
                Some((param.into(), "invalid_value", 400)),
                "{extra}"
            );
        }
        assert_eq!(
            parse(r#","model":"twice""#).err(),
            Some((String::new(), "invalid_json", 400))
        );
        let schema = r#","response_format":{"type":"json_schema","json_schema":{"schema":{"type":"objekt"}}}"#;
        assert_eq!(
            parse(schema).err(),
            Some(("response_format.json_schema.schema.type".into(), "invalid_schema", 400))
        );
        for (body, param) in [
            (r#"{"messages":[{"role":"user","content":"Hi"}]}"#, "model"),
            (r#"{"model":5,"messages":[{"role":"user","content":"Hi"}]}"#, "model"),
            (r#"{"model":"m"}"#, "messages"),
            (r#"[]"#, "request body"),
        ] {
            let e = ChatRequest::parse(body.as_bytes()).err().unwrap();
            assert_eq!(e.body()["error"]["param"], param, "{body}");
        }
    }
}
