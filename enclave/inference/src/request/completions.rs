//! `POST /v1/completions`: prompts without a template.

use super::chat::{ANSWERS_MAX, answers};
use super::tools::Tools;
use super::{Ask, input, members, sampling};
use crate::error::ApiError;

/// OpenAI's own default.
const MAX_TOKENS: u64 = 16;
const TOP_MAX: u64 = 5;
/// Most prompts in one request, and most answers to all of them.
const PROMPTS_MAX: usize = 32;
const ALL_ANSWERS_MAX: u32 = 64;

/// A raw completion.
pub(crate) struct CompletionsRequest {
    pub(crate) ask: Ask,
    pub(crate) include_usage: bool,
}

pub(super) const NOT_BUILT: &[(&str, &str)] = &[
    ("best_of", "1"),
    ("echo", "false"),
    ("frequency_penalty", "0"),
    ("logit_bias", "{}"),
    ("presence_penalty", "0"),
    ("suffix", "\"\""),
];

pub(super) const IGNORED: &[&str] = &["user"];

impl CompletionsRequest {
    pub(crate) fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let mut fields = members(body)?;
        fields.refuse_what_is_not_built(NOT_BUILT)?;
        fields.drop_all(IGNORED);
        let model = fields.required_text("model")?;
        let prompts = input::parse(&mut fields, "prompt", PROMPTS_MAX)?;
        let stream = fields.boolean("stream")?.unwrap_or(false);
        let top = fields.integer("logprobs", "a whole number from 0 to 5", 0, TOP_MAX)?;
        let ask = Ask {
            model,
            prompts,
            prompt_param: "prompt",
            answers_each: answers(&mut fields)?,
            max_tokens: Some(sampling::count(&mut fields, "max_tokens")?.unwrap_or(MAX_TOKENS)),
            temperature_micros: sampling::temperature(&mut fields, 2.0)?,
            top_p_micros: sampling::top_p(&mut fields)?,
            seed: sampling::seed(&mut fields)?,
            stop: sampling::stops(&mut fields, "stop")?,
            stream,
            logprobs: top.and_then(|n| u8::try_from(n).ok()),
            tools: Tools::none(),
            format: None,
        };
        let include_usage = sampling::include_usage(&mut fields, stream)?;
        fields.refuse_the_rest()?;
        if ask.answers() > ALL_ANSWERS_MAX {
            return Err(ApiError::TooMany {
                param: "n".into(),
                most: ANSWERS_MAX.min(u64::from(ALL_ANSWERS_MAX) / ask.prompts.len().max(1) as u64),
                got: u64::from(ask.answers_each),
            });
        }
        Ok(Self { ask, include_usage })
    }
}

#[cfg(test)]
mod tests {
    use super::super::Prompt;
    use super::*;

    fn parse(extra: &str) -> Result<CompletionsRequest, (String, &'static str)> {
        let body = format!(r#"{{"model":"m"{extra}}}"#);
        CompletionsRequest::parse(body.as_bytes()).map_err(|e| {
            let param = e.body()["error"]["param"].as_str().unwrap_or("").to_owned();
            (param, e.code())
        })
    }

    #[test]
    fn prompts_and_sampling_are_taken_and_what_is_not_built_is_refused_by_name() {
        let ask = parse(r#","prompt":["a","b"],"n":2,"logprobs":3,"stop":"x","echo":false,"best_of":1"#)
            .unwrap()
            .ask;
        assert_eq!(ask.prompts, [Prompt::Text("a".into()), Prompt::Text("b".into())]);
        assert_eq!((ask.answers(), ask.logprobs, ask.max_tokens), (4, Some(3), Some(16)));
        let twelve: Vec<_> = (0..12).map(|i| i.to_string()).map(|t| format!("{t:?}")).collect();
        for (extra, param, code) in [
            (
                r#","prompt":"a","echo":true"#.to_owned(),
                "echo",
                "unsupported_parameter",
            ),
            (
                r#","prompt":"a","suffix":"b""#.into(),
                "suffix",
                "unsupported_parameter",
            ),
            (
                r#","prompt":"a","best_of":2"#.into(),
                "best_of",
                "unsupported_parameter",
            ),
            (r#","prompt":"a","logprobs":6"#.into(), "logprobs", "invalid_value"),
            (r#","prompt":"a","logprobs":true"#.into(), "logprobs", "invalid_value"),
            (r#","prompt":"a","messages":[]"#.into(), "messages", "unknown_parameter"),
            (String::new(), "prompt", "invalid_value"),
            (
                format!(r#","prompt":[{}],"n":6"#, twelve.join(",")),
                "n",
                "invalid_value",
            ),
        ] {
            assert_eq!(parse(&extra).err(), Some((param.into(), code)), "{extra}");
        }
    }
}
