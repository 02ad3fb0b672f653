//! Requests and frames of the engine protocol: OpenAI-shaped, closed, text alone.

use serde::Deserialize;
use serde_json::{Value as Json, json};

use crate::chat::{Message, Token};
use crate::error::GenerateError;
use crate::sampling::Sampling;

/// Most messages in one request.
pub(crate) const MESSAGES_MAX: usize = 4096;

/// `POST /v1/chat/completions`. Unknown members are refused.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChatRequest {
    pub messages: Vec<Message>,
    pub max_tokens: usize,
    #[serde(default)]
    pub temperature: Option<f64>,
    #[serde(default)]
    pub top_p: Option<f64>,
    #[serde(default)]
    pub seed: Option<u64>,
    #[serde(default)]
    pub stop: Option<Stop>,
    pub stream: bool,
    /// There is one model; a name is accepted for interchangeability and not looked at.
    #[serde(default, rename = "model")]
    pub _model: Option<String>,
}

/// One stop string or several, as OpenAI has it.
#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum Stop {
    One(String),
    Many(Vec<String>),
}

impl ChatRequest {
    pub(crate) fn sampling(&mut self) -> Sampling {
        let stop = match self.stop.take() {
            None => Vec::new(),
            Some(Stop::One(stop)) => vec![stop],
            Some(Stop::Many(stops)) => stops,
        };
        Sampling {
            temperature: self.temperature.unwrap_or(0.0),
            top_p: self.top_p.unwrap_or(1.0),
            seed: self.seed,
            stop,
            max_tokens: self.max_tokens,
        }
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
}

/// `data: …` for one token. The last one carries the finish reason and the counts.
pub(crate) fn token_frame(token: &Token, prompt_tokens: usize, completion_tokens: usize) -> String {
    let usage = match token.finish {
        Some(_) => json!({"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens}),
        None => Json::Null,
    };
    let choice = json!({
        "index": 0,
        "delta": {"content": token.text},
        "finish_reason": token.finish.map(|finish| finish.name()),
    });
    frame(&json!({"choices": [choice], "usage": usage}))
}

pub(crate) fn error_frame(error: &GenerateError) -> String {
    frame(&error_body(error.code(), &error.to_string()))
}

pub(crate) const DONE: &str = "data: [DONE]\n\n";

pub(crate) fn error_body(code: &str, message: &str) -> Json {
    json!({"error": {"message": message, "code": code}})
}

fn frame(value: &Json) -> String {
    format!("data: {value}\n\n")
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
