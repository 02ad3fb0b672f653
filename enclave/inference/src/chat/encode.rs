//! Responses in OpenAI's form, written here member by member: no byte of the engine passes through as it came.

use bytes::Bytes;
use hanzo_receipts::{DisclosedReceipt, ReceiptId};
use serde::Serialize;
use serde_json::{Value, json};

use crate::engine::{Finish, Usage};
use crate::error::ApiError;

/// The last frame of a whole stream.
pub(super) const DONE: &str = "data: [DONE]\n\n";

/// What every chunk of one answer repeats.
pub(super) struct Identity {
    pub(super) id: ReceiptId,
    pub(super) created: u64,
    pub(super) model: String,
    pub(super) fingerprint: String,
}

#[derive(Serialize)]
struct Chunk<'a> {
    id: String,
    object: &'static str,
    created: u64,
    model: &'a str,
    system_fingerprint: &'a str,
    choices: &'a [Choice<'a>],
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Value>,
}

#[derive(Serialize)]
struct Choice<'a> {
    index: u32,
    delta: Delta<'a>,
    logprobs: Option<()>,
    finish_reason: Option<&'static str>,
}

#[derive(Serialize, Default)]
struct Delta<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'a str>,
}

impl Identity {
    fn id(&self) -> String {
        format!("chatcmpl-{}", self.id)
    }

    fn chunk(&self, choices: &[Choice<'_>], usage: Option<Value>) -> String {
        let chunk = Chunk {
            id: self.id(),
            object: "chat.completion.chunk",
            created: self.created,
            model: &self.model,
            system_fingerprint: &self.fingerprint,
            choices,
            usage,
        };
        data(&chunk)
    }

    fn delta(&self, delta: Delta<'_>, finish: Option<Finish>, with_usage: bool) -> String {
        let choice = Choice {
            index: 0,
            delta,
            logprobs: None,
            finish_reason: finish.map(Finish::as_str),
        };
        // With include_usage every chunk but the last carries a null.
        self.chunk(&[choice], with_usage.then_some(Value::Null))
    }

    /// The first frame: whose turn it is.
    pub(super) fn opening(&self, with_usage: bool) -> String {
        let delta = Delta {
            role: Some("assistant"),
            content: Some(""),
        };
        self.delta(delta, None, with_usage)
    }

    /// A piece of the answer.
    pub(super) fn text(&self, text: &str, with_usage: bool) -> String {
        let delta = Delta {
            role: None,
            content: Some(text),
        };
        self.delta(delta, None, with_usage)
    }

    /// Why it ended, and the counts if they were asked for.
    pub(super) fn closing(&self, finish: Finish, usage: Usage, with_usage: bool) -> String {
        let mut frames = self.delta(Delta::default(), Some(finish), with_usage);
        if with_usage {
            frames.push_str(&self.chunk(&[], Some(counts(usage))));
        }
        frames
    }

    /// The answer in one piece.
    pub(super) fn whole(&self, text: &str, finish: Finish, usage: Usage) -> Bytes {
        let body = json!({
            "id": self.id(),
            "object": "chat.completion",
            "created": self.created,
            "model": self.model,
            "system_fingerprint": self.fingerprint,
            "choices": [{
                "index": 0,
                "message": {"role": "assistant", "content": text, "refusal": null},
                "logprobs": null,
                "finish_reason": finish.as_str(),
            }],
            "usage": counts(usage),
        });
        Bytes::from(body.to_string())
    }
}

fn counts(usage: Usage) -> Value {
    json!({
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens.saturating_add(usage.completion_tokens),
    })
}

/// An error inside a stream.
pub(super) fn error(e: &ApiError) -> String {
    data(&e.body())
}

/// The comment frame that carries the receipt: clients that do not know it skip it.
pub(super) fn receipt(receipt: &DisclosedReceipt) -> Option<String> {
    let json = receipt.to_bytes().ok().and_then(|b| String::from_utf8(b).ok())?;
    Some(format!(": hanzo-receipt {json}\n\n"))
}

/// JSON has no raw line ends, so nothing in a value can end the frame.
fn data<T: Serialize>(value: &T) -> String {
    match serde_json::to_string(value) {
        Ok(json) => format!("data: {json}\n\n"),
        Err(_) => String::from(
            "data: {\"error\":{\"message\":\"encoding failed\",\"type\":\"server_error\",\"param\":null,\"code\":\"encoding\"}}\n\n",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_leave_its_frame() {
        let identity = Identity {
            id: ReceiptId([1; 16]),
            created: 5,
            model: "m".into(),
            fingerprint: "fp_0".into(),
        };
        let hostile = "a\n\ndata: [DONE]\n\n: hanzo-receipt {}\r\nhanzo-receipt-id: 00\u{2028}\u{0}";
        let frame = identity.text(hostile, false);
        assert!(frame.starts_with("data: {") && frame.ends_with("}\n\n"));
        assert_eq!(frame.matches('\n').count(), 2, "{frame:?}");
        assert!(!frame.contains('\r'));
        let json: Value = serde_json::from_str(frame.strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!(json["choices"][0]["delta"]["content"], hostile);
    }
}
