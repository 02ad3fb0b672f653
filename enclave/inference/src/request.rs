//! A chat completion request, read strictly: what this guest does not do is refused by name, never ignored.

mod fields;
mod messages;

use hanzo_receipts::Sampling;
use serde_json::{Map, Value};

use crate::error::ApiError;
use crate::json;
use fields::{Fields, kind};
pub(crate) use messages::Message;

/// One million: temperature and top_p are carried in millionths.
const MICROS: f64 = 1_000_000.0;
/// The largest integer of our formats.
const INTEGER_MAX: u64 = (1 << 53) - 1;
const STOPS_MAX: usize = 4;
const STOP_BYTES_MAX: usize = 256;

/// A request that this guest can do.
pub(crate) struct ChatRequest {
    pub(crate) model: String,
    pub(crate) messages: Vec<Message>,
    /// `None`: as many as fit.
    pub(crate) max_tokens: Option<u64>,
    pub(crate) temperature_micros: u64,
    pub(crate) top_p_micros: u64,
    pub(crate) seed: Option<u64>,
    pub(crate) stop: Vec<String>,
    pub(crate) stream: bool,
    pub(crate) include_usage: bool,
}

/// Known to OpenAI, accepted only where they ask for nothing (absent, null, or the given value).
const NOT_BUILT: &[(&str, &str)] = &[
    ("audio", ""),
    ("frequency_penalty", "0"),
    ("function_call", "\"none\""),
    ("functions", "[]"),
    ("logit_bias", "{}"),
    ("logprobs", "false"),
    ("modalities", "[\"text\"]"),
    ("moderation", ""),
    ("n", "1"),
    ("parallel_tool_calls", "*"),
    ("prediction", ""),
    ("presence_penalty", "0"),
    ("prompt_cache_key", ""),
    ("prompt_cache_retention", ""),
    ("reasoning_effort", "\"none\""),
    ("response_format", "{\"type\":\"text\"}"),
    ("service_tier", "\"auto\""),
    ("store", "false"),
    ("tool_choice", "\"none\""),
    ("tools", "[]"),
    ("top_logprobs", ""),
    ("verbosity", ""),
    ("web_search_options", ""),
];

/// Accepted and without effect on the answer.
const IGNORED: &[&str] = &["user", "metadata", "safety_identifier"];

impl ChatRequest {
    pub(crate) fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let value = json::parse(body).map_err(ApiError::Json)?;
        let Value::Object(members) = value else {
            return Err(ApiError::Invalid {
                param: "request body".into(),
                expected: "a JSON object",
                got: kind(&value).into(),
            });
        };
        let mut fields = Fields(members);
        fields.refuse_what_is_not_built(NOT_BUILT)?;
        IGNORED.iter().for_each(|name| drop(fields.take(name)));
        let model = fields
            .take("model")
            .ok_or_else(|| missing("model", "the name of a model"))?;
        let Value::String(model) = model else {
            return Err(ApiError::Invalid {
                param: "model".into(),
                expected: "a text",
                got: kind(&model).into(),
            });
        };
        let messages = fields
            .take("messages")
            .ok_or_else(|| missing("messages", "a list of messages"))?;
        let (new, old) = (
            fields.integer("max_completion_tokens", 1, INTEGER_MAX)?,
            fields.integer("max_tokens", 1, INTEGER_MAX)?,
        );
        let stream = fields.boolean("stream")?.unwrap_or(false);
        let request = Self {
            model,
            messages: messages::parse(messages)?,
            max_tokens: new.or(old),
            temperature_micros: micros(
                fields
                    .number("temperature", "a number from 0 to 2", 0.0, 2.0)?
                    .unwrap_or(1.0),
            ),
            top_p_micros: micros(
                fields
                    .number("top_p", "a number above 0, at most 1", 1e-6, 1.0)?
                    .unwrap_or(1.0),
            ),
            seed: fields.integer("seed", 0, INTEGER_MAX)?,
            stop: stops(fields.take("stop"))?,
            stream,
            include_usage: include_usage(fields.take("stream_options"), stream)?,
        };
        fields.refuse_the_rest()?;
        Ok(request)
    }

    pub(crate) fn sampling(&self, max_tokens: u64) -> Sampling {
        Sampling {
            max_tokens,
            seed: self.seed,
            temperature_micros: self.temperature_micros,
            top_p_micros: self.top_p_micros,
        }
    }
}

fn missing(param: &str, expected: &'static str) -> ApiError {
    ApiError::Invalid {
        param: param.into(),
        expected,
        got: "nothing".into(),
    }
}

/// What the engine is told is what the receipt says: both are made from the rounded value.
fn micros(value: f64) -> u64 {
    (value * MICROS).round() as u64
}

fn stops(value: Option<Value>) -> Result<Vec<String>, ApiError> {
    let wrong = |got: String| ApiError::Invalid {
        param: "stop".into(),
        expected: "a text or a list of at most 4 texts of 1 to 256 bytes",
        got,
    };
    let stops = match value {
        None => return Ok(Vec::new()),
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(many)) if many.len() <= STOPS_MAX => many
            .into_iter()
            .map(|v| match v {
                Value::String(text) => Ok(text),
                other => Err(wrong(format!("a list with {}", kind(&other)))),
            })
            .collect::<Result<_, _>>()?,
        Some(Value::Array(many)) => return Err(wrong(format!("a list of {}", many.len()))),
        Some(other) => return Err(wrong(kind(&other).into())),
    };
    match stops.iter().find(|s| s.is_empty() || s.len() > STOP_BYTES_MAX) {
        Some(bad) => Err(wrong(format!("a text of {} bytes", bad.len()))),
        None => Ok(stops),
    }
}

fn include_usage(value: Option<Value>, stream: bool) -> Result<bool, ApiError> {
    let members: Map<String, Value> = match value {
        None => return Ok(false),
        Some(Value::Object(members)) if stream => members,
        Some(Value::Object(_)) => {
            return Err(ApiError::Invalid {
                param: "stream_options".into(),
                expected: "nothing unless stream is true",
                got: "an object".into(),
            });
        }
        Some(other) => {
            return Err(ApiError::Invalid {
                param: "stream_options".into(),
                expected: "an object",
                got: kind(&other).into(),
            });
        }
    };
    let mut fields = Fields(members);
    let include = fields.boolean("include_usage")?.unwrap_or(false);
    fields.boolean("include_obfuscation")?;
    fields.refuse_the_rest()?;
    Ok(include)
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
        let r = parse("").unwrap();
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
               "stream":true,"stream_options":{"include_usage":true},"user":"u","n":1,"tools":[],"logprobs":false,
               "presence_penalty":0.0,"response_format":{"type":"text"},"parallel_tool_calls":true"#,
        )
        .unwrap();
        assert_eq!((r.temperature_micros, r.top_p_micros), (700_000, 900_000));
        assert_eq!((r.seed, r.max_tokens), (Some(7), Some(6)));
        assert_eq!(r.stop, ["a", "b"]);
        assert!(r.stream && r.include_usage);
    }

    #[test]
    fn what_is_not_built_is_refused_by_name() {
        for (extra, param) in [
            (r#","n":2"#, "n"),
            (r#","tools":[{"type":"function"}]"#, "tools"),
            (r#","tool_choice":"auto""#, "tool_choice"),
            (r#","logprobs":true"#, "logprobs"),
            (r#","response_format":{"type":"json_object"}"#, "response_format"),
            (r#","presence_penalty":0.5"#, "presence_penalty"),
            (r#","logit_bias":{"1":2}"#, "logit_bias"),
            (r#","store":true"#, "store"),
            (r#","web_search_options":{}"#, "web_search_options"),
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
            (r#","seed":9007199254740992"#, "seed"),
            (r#","stream":"yes""#, "stream"),
            (r#","stop":["a","b","c","d","e"]"#, "stop"),
            (r#","stop":"""#, "stop"),
            (r#","stop":5"#, "stop"),
            (r#","stream_options":{"include_usage":true}"#, "stream_options"),
            (
                r#","stream":true,"stream_options":{"include_usage":1}"#,
                "include_usage",
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
