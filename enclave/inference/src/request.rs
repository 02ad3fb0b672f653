//! Requests, read strictly: what this guest does not do is refused by name, never ignored.
//!
//! Five shapes come in (chats, raw completions, responses, messages, embeddings); four of them become one [`Ask`].

mod anthropic;
mod chat;
mod completions;
mod embeddings;
mod fields;
mod format;
mod input;
mod media;
mod messages;
mod responses;
mod sampling;
mod tools;

use hanzo_receipts::Sampling;
use serde_json::Value;

use crate::error::ApiError;
use crate::json;
pub(crate) use anthropic::MessagesRequest;
pub(crate) use chat::ChatRequest;
pub(crate) use completions::CompletionsRequest;
pub(crate) use embeddings::{EmbeddingsRequest, Encoding};
#[cfg(test)]
pub(crate) use fields::seen;
pub(crate) use format::Format;
pub(crate) use input::Prompt;
pub(crate) use messages::Message;
pub(crate) use responses::{Echo, ResponsesRequest};
pub(crate) use tools::{Tools, Wanted};

/// The largest integer of our formats.
const INTEGER_MAX: u64 = (1 << 53) - 1;

/// What an engine is to do, whatever shape asked for it.
pub(crate) struct Ask {
    pub(crate) model: String,
    pub(crate) prompts: Vec<Prompt>,
    /// The member that they came in.
    pub(crate) prompt_param: &'static str,
    /// Answers to each prompt.
    pub(crate) answers_each: u32,
    /// `None`: as many as fit.
    pub(crate) max_tokens: Option<u64>,
    pub(crate) temperature_micros: u64,
    pub(crate) top_p_micros: u64,
    pub(crate) seed: Option<u64>,
    pub(crate) stop: Vec<String>,
    pub(crate) stream: bool,
    /// How many other likely tokens are wanted with each token's log probability; `None`: no log probabilities.
    pub(crate) logprobs: Option<u8>,
    pub(crate) tools: Tools,
    pub(crate) format: Option<Format>,
}

impl Ask {
    pub(crate) fn sampling(&self, max_tokens: u64) -> Sampling {
        Sampling {
            max_tokens,
            seed: self.seed,
            temperature_micros: self.temperature_micros,
            top_p_micros: self.top_p_micros,
        }
    }

    /// How many answers there will be.
    pub(crate) fn answers(&self) -> u32 {
        let prompts = u32::try_from(self.prompts.len()).unwrap_or(u32::MAX);
        prompts.saturating_mul(self.answers_each)
    }

    /// The seed of answer `index`: with one seed for all they would be alike.
    pub(crate) fn seed_of(&self, index: u32) -> Option<u64> {
        self.seed.map(|seed| seed.wrapping_add(u64::from(index)) & INTEGER_MAX)
    }

    /// What the engine is to keep the answer to: the caller's schema, or that of one call.
    pub(crate) fn enforced(&self) -> Option<&Value> {
        self.format
            .as_ref()
            .map(|format| format.schema.text())
            .or_else(|| self.tools.forced_schema())
    }

    /// The caller's own name for what [`Ask::enforced`] gives.
    pub(crate) fn enforced_param(&self) -> &'static str {
        self.format.as_ref().map_or("tool_choice", |format| format.param)
    }
}

/// The members of a request body.
fn members(body: &[u8]) -> Result<fields::Fields, ApiError> {
    let value = json::parse(body).map_err(ApiError::Json)?;
    fields::Fields::of("", value, "a JSON object").map_err(|e| match e {
        ApiError::Invalid { expected, got, .. } => ApiError::Invalid {
            param: "request body".into(),
            expected,
            got,
        },
        other => other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_to_one_seed_differ_and_stay_below_2_to_the_53() {
        let body = br#"{"model":"m","messages":[{"role":"user","content":"Hi"}],"n":3,"seed":9007199254740991}"#;
        let ask = ChatRequest::parse(body).map(|r| r.ask).unwrap();
        let seeds: Vec<_> = (0..ask.answers()).map(|i| ask.seed_of(i)).collect();
        assert_eq!(seeds, [Some(INTEGER_MAX), Some(0), Some(1)]);
    }
}
