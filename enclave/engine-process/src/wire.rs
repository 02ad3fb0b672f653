//! Requests and frames of the engine protocol: OpenAI-shaped, closed, text alone.

use std::fmt::Write as _;

use serde::Deserialize;
use serde_json::{Value as Json, json};

use crate::chat::{Ask, Message, Prompt, Token};
use crate::error::GenerateError;
use crate::logprobs::{Logprob, TOP_LOGPROBS_MAX};
use crate::sampling::Sampling;

/// Most messages in one request.
pub(crate) const MESSAGES_MAX: usize = 4096;
/// Most tools in one request.
pub(crate) const TOOLS_MAX: usize = 128;
/// Most inputs in one request for vectors.
pub(crate) const INPUTS_MAX: usize = 2048;

/// `POST /v1/chat/completions`. Unknown members are refused.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChatRequest {
    pub messages: Vec<Message>,
    #[serde(default)]
    pub tools: Vec<Json>,
    pub max_tokens: usize,
    #[serde(default)]
    temperature: Option<f64>,
    #[serde(default)]
    top_p: Option<f64>,
    #[serde(default)]
    seed: Option<u64>,
    #[serde(default)]
    stop: Option<Stop>,
    #[serde(default)]
    json_schema: Option<Json>,
    #[serde(default)]
    logprobs: Option<bool>,
    #[serde(default)]
    top_logprobs: Option<usize>,
    pub stream: bool,
    /// There is one model; a name is accepted for interchangeability and not looked at.
    #[serde(default, rename = "model")]
    _model: Option<String>,
}

/// `POST /v1/completions`: the same without a template.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CompletionRequest {
    pub prompt: Input,
    pub max_tokens: usize,
    #[serde(default)]
    temperature: Option<f64>,
    #[serde(default)]
    top_p: Option<f64>,
    #[serde(default)]
    seed: Option<u64>,
    #[serde(default)]
    stop: Option<Stop>,
    #[serde(default)]
    json_schema: Option<Json>,
    #[serde(default)]
    logprobs: Option<bool>,
    #[serde(default)]
    top_logprobs: Option<usize>,
    pub stream: bool,
    #[serde(default, rename = "model")]
    _model: Option<String>,
}

/// `POST /v1/embeddings`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EmbeddingsRequest {
    pub input: Vec<Input>,
    #[serde(default, rename = "model")]
    _model: Option<String>,
}

/// A text or token ids.
#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum Input {
    Text(String),
    Tokens(Vec<u32>),
}

impl From<Input> for Prompt {
    fn from(input: Input) -> Self {
        match input {
            Input::Text(text) => Self::Text(text),
            Input::Tokens(ids) => Self::Tokens(ids),
        }
    }
}

/// One stop string or several, as OpenAI has it.
#[derive(Deserialize)]
#[serde(untagged)]
enum Stop {
    One(String),
    Many(Vec<String>),
}

impl ChatRequest {
    /// The prompt, and what is asked of the answer.
    pub(crate) fn split(self) -> Result<(Prompt, Ask), GenerateError> {
        let ask = Ask {
            sampling: sampling(self.max_tokens, self.temperature, self.top_p, self.seed, self.stop),
            schema: self.json_schema,
            logprobs: top(self.logprobs, self.top_logprobs)?,
        };
        let prompt = Prompt::Chat {
            messages: self.messages,
            tools: self.tools,
        };
        Ok((prompt, ask))
    }
}

impl CompletionRequest {
    /// The prompt, and what is asked of the answer.
    pub(crate) fn split(self) -> Result<(Prompt, Ask), GenerateError> {
        let ask = Ask {
            sampling: sampling(self.max_tokens, self.temperature, self.top_p, self.seed, self.stop),
            schema: self.json_schema,
            logprobs: top(self.logprobs, self.top_logprobs)?,
        };
        Ok((self.prompt.into(), ask))
    }
}

fn sampling(
    max_tokens: usize,
    temperature: Option<f64>,
    top_p: Option<f64>,
    seed: Option<u64>,
    stop: Option<Stop>,
) -> Sampling {
    let stop = match stop {
        None => Vec::new(),
        Some(Stop::One(stop)) => vec![stop],
        Some(Stop::Many(stops)) => stops,
    };
    Sampling {
        temperature: temperature.unwrap_or(0.0),
        top_p: top_p.unwrap_or(1.0),
        seed,
        stop,
        max_tokens,
    }
}

fn top(logprobs: Option<bool>, top: Option<usize>) -> Result<Option<usize>, GenerateError> {
    match (logprobs.unwrap_or(false), top.unwrap_or(0)) {
        (false, 0) => Ok(None),
        (true, top) if top <= TOP_LOGPROBS_MAX => Ok(Some(top)),
        _ => Err(GenerateError::Parameter {
            parameter: "top_logprobs",
            expected: "0 to 20, above 0 only with `\"logprobs\": true`",
        }),
    }
}

/// `POST /tokenize`: one of the two.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenizeRequest {
    #[serde(default)]
    pub messages: Option<Vec<Message>>,
    #[serde(default)]
    pub text: Option<String>,
    /// With messages alone.
    #[serde(default)]
    pub tools: Vec<Json>,
}

/// Which members a frame has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// `delta.content`.
    Chat,
    /// `text`.
    Completion,
}

/// `data: …` for one token. The last one carries the finish reason and the counts.
pub(crate) fn token_frame(shape: Shape, token: &Token, prompt_tokens: usize, completion_tokens: usize) -> String {
    // Written by hand: this is done for every token of every answer.
    let mut out = String::with_capacity(128 + token.text.len());
    out.push_str("data: {\"choices\":[{\"index\":0,");
    let (before, after) = match shape {
        Shape::Chat => ("\"delta\":{\"content\":", "}"),
        Shape::Completion => ("\"text\":", ""),
    };
    let _ = write!(out, "{before}{}{after}", Json::from(token.text.as_str()));
    if let Some(logprob) = &token.logprob {
        let _ = write!(out, ",\"logprobs\":{}", json!({"content": [logprob_object(logprob)]}));
    }
    if let Some(stop) = &token.stop {
        let _ = write!(out, ",\"stop_reason\":{}", Json::from(stop.as_str()));
    }
    let _ = match token.finish {
        None => write!(out, ",\"finish_reason\":null}}],\"usage\":null}}\n\n"),
        Some(finish) => write!(
            out,
            ",\"finish_reason\":\"{}\"}}],\"usage\":{{\"prompt_tokens\":{prompt_tokens},\"completion_tokens\":{completion_tokens}}}}}\n\n",
            finish.name()
        ),
    };
    out
}

fn logprob_object(one: &Logprob) -> Json {
    let entry = |bytes: &[u8], logprob: f32| json!({"token": String::from_utf8_lossy(bytes), "logprob": logprob, "bytes": bytes});
    let mut object = entry(&one.bytes, one.logprob);
    object["top_logprobs"] = one.top.iter().map(|(bytes, logprob)| entry(bytes, *logprob)).collect();
    object
}

/// The vectors, in the order of the input.
pub(crate) fn vectors(vectors: &[Vec<f32>], prompt_tokens: usize) -> Json {
    let data: Vec<Json> = vectors
        .iter()
        .enumerate()
        .map(|(index, vector)| json!({"index": index, "embedding": vector}))
        .collect();
    json!({"data": data, "usage": {"prompt_tokens": prompt_tokens}})
}

pub(crate) fn error_frame(error: &GenerateError) -> String {
    format!(
        "data: {}\n\n",
        error_body(error.code(), &error.to_string(), error.param())
    )
}

pub(crate) const DONE: &str = "data: [DONE]\n\n";

pub(crate) fn error_body(code: &str, message: &str, param: Option<&str>) -> Json {
    json!({"error": {"message": message, "code": code, "param": param}})
}

/// Says where JSON went wrong without repeating any of it.
pub(crate) fn describe(error: &serde_json::Error) -> String {
    let what = match error.classify() {
        serde_json::error::Category::Data => "a member is missing, unknown or of the wrong type",
        serde_json::error::Category::Eof => "it ends too early",
        _ => "it is not JSON",
    };
    format!(
        "the request body is refused: {what} (line {}, column {})",
        error.line(),
        error.column()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::Finish;

    fn parsed(frame: &str) -> Json {
        let data = frame.strip_prefix("data: ").and_then(|rest| rest.strip_suffix("\n\n"));
        serde_json::from_str(data.unwrap()).unwrap()
    }

    #[test]
    fn frames_are_one_line_of_json_whatever_the_text() {
        let hostile = "a\n\ndata: [DONE]\n\n\"}\u{2028}\u{0}";
        let token = Token {
            id: 5,
            text: hostile.into(),
            finish: None,
            stop: None,
            logprob: None,
        };
        let frame = token_frame(Shape::Chat, &token, 3, 1);
        assert_eq!(frame.lines().count(), 2, "{frame}");
        let said =
            json!({"choices": [{"index": 0, "delta": {"content": hostile}, "finish_reason": null}], "usage": null});
        assert_eq!(parsed(&frame), said);
        let last = Token {
            finish: Some(Finish::Stop),
            stop: Some("\"\n".into()),
            logprob: Some(Logprob {
                bytes: vec![0xe2, 0x82],
                logprob: -0.5,
                top: vec![(b"b".to_vec(), -0.25)],
            }),
            ..token
        };
        let frame = parsed(&token_frame(Shape::Completion, &last, 3, 2));
        assert_eq!(frame["usage"], json!({"prompt_tokens": 3, "completion_tokens": 2}));
        let choice = &frame["choices"][0];
        assert_eq!(choice["text"], hostile);
        assert_eq!(choice["stop_reason"], "\"\n");
        let top = json!([{"token": "b", "logprob": -0.25, "bytes": [98]}]);
        let one = json!({"token": "\u{fffd}", "logprob": -0.5, "bytes": [0xe2, 0x82], "top_logprobs": top});
        assert_eq!(choice["logprobs"]["content"], json!([one]));
    }

    #[test]
    fn others_are_given_only_with_log_probabilities_and_up_to_twenty() {
        assert_eq!(top(None, None), Ok(None));
        assert_eq!(top(Some(false), Some(0)), Ok(None));
        assert_eq!(top(Some(true), None), Ok(Some(0)));
        assert_eq!(top(Some(true), Some(20)), Ok(Some(20)));
        for (logprobs, count) in [(Some(true), 21), (None, 1), (Some(false), 1)] {
            assert_eq!(top(logprobs, Some(count)).unwrap_err().param(), Some("top_logprobs"));
        }
    }
}
