//! How answers are written: four shapes over one flow of events. Each is written here member by member: no byte of the engine
//! passes through as it came.

mod anthropic;
mod chat;
mod completions;
mod responses;

use bytes::Bytes;
use hanzo_receipts::{DisclosedReceipt, ReceiptId};
use serde::Serialize;
use serde_json::{Value, json};

use crate::answer::Ended;
use crate::calls::Call;
use crate::engine::{Piece, TokenLogprob, Usage};
use crate::error::ApiError;
pub(crate) use anthropic::AnthropicDialect;
pub(crate) use chat::ChatDialect;
pub(crate) use completions::CompletionsDialect;
pub(crate) use responses::ResponsesDialect;

/// The last frame of a whole stream of OpenAI's shapes.
const DONE: &str = "data: [DONE]\n\n";

/// What every frame of one answer may repeat.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) id: ReceiptId,
    pub(crate) created: u64,
    pub(crate) model: String,
    pub(crate) fingerprint: String,
}

impl Identity {
    /// The id of call `n` of answer `index`.
    fn call_id(&self, index: u32, n: usize) -> String {
        format!("call_{}{index:02}{n:02}", self.id)
    }
}

/// One answer as a whole.
#[derive(Default)]
pub(crate) struct Told {
    pub(crate) piece: Piece,
    pub(crate) calls: Vec<Call>,
    pub(crate) ended: Option<Ended>,
}

/// Writes answers in one shape. Frames come in this order: `opening`; for each answer `begin`, any `piece`s, perhaps `calls`,
/// `end`; `closing`; the receipt; `tail`. An empty frame is none.
pub(crate) trait Dialect: Send + Sync {
    fn opening(&mut self, _prompt_tokens: u64) -> String {
        String::new()
    }
    fn begin(&mut self, _index: u32) -> String {
        String::new()
    }
    fn piece(&mut self, index: u32, piece: &Piece) -> String;
    fn calls(&mut self, index: u32, calls: &[Call]) -> String;
    fn end(&mut self, index: u32, ended: Ended) -> String;
    fn closing(&mut self, _usage: Usage) -> String {
        String::new()
    }
    /// What follows the receipt of a whole stream. The client sdk knows these frames: nothing else may follow a receipt.
    fn tail(&self) -> &'static str {
        DONE
    }
    fn error_frame(&mut self, e: &ApiError) -> String {
        data(&e.body())
    }
    fn whole(&self, answers: &[Told], usage: Usage) -> Bytes;
    fn error_body(&self, e: &ApiError) -> Bytes {
        Bytes::from(e.body().to_string())
    }
}

/// The comment frame that carries the receipt: clients that do not know it skip it.
pub(crate) fn receipt_frame(receipt: &DisclosedReceipt) -> Option<String> {
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

/// A frame with a name of its own.
fn event(name: &'static str, value: &Value) -> String {
    format!("event: {name}\n{}", data(value))
}

/// Counts in OpenAI's older shape.
fn counts(usage: Usage) -> Value {
    json!({
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens.saturating_add(usage.completion_tokens),
    })
}

/// `logprobs.content` of a chat.
fn logprob(one: &TokenLogprob) -> Value {
    let top: Vec<_> = one
        .top
        .iter()
        .map(|o| json!({"token": o.token, "logprob": o.logprob, "bytes": o.bytes}))
        .collect();
    json!({"token": one.token, "logprob": one.logprob, "bytes": one.bytes, "top_logprobs": top})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Finish;

    fn identity() -> Identity {
        Identity {
            id: ReceiptId([1; 16]),
            created: 5,
            model: "m".into(),
            fingerprint: "fp_0".into(),
        }
    }

    fn ask() -> crate::request::Ask {
        let body = br#"{"model":"m","messages":[{"role":"user","content":"Hi"}]}"#;
        crate::request::ChatRequest::parse(body).ok().unwrap().ask
    }

    #[test]
    fn text_cannot_leave_its_frame_in_any_shape() {
        let responses = crate::request::ResponsesRequest::parse(br#"{"model":"m","input":"Hi"}"#)
            .ok()
            .unwrap();
        let hostile = "a\n\ndata: [DONE]\n\n: hanzo-receipt {}\r\nhanzo-receipt-id: 00\u{2028}\u{0}";
        let shapes: Vec<Box<dyn Dialect>> = vec![
            Box::new(ChatDialect::new(identity(), &ask(), false)),
            Box::new(CompletionsDialect::new(identity(), &ask(), false)),
            Box::new(ResponsesDialect::new(identity(), &responses.ask, responses.echo)),
            Box::new(AnthropicDialect::new(identity(), &ask())),
        ];
        for mut shape in shapes {
            shape.opening(1);
            shape.begin(0);
            let call = Call {
                name: "f".into(),
                arguments: json!({"x": hostile}).to_string(),
            };
            let ended = Ended {
                finish: Finish::Stop,
                called: true,
                stop: None,
                usage: Usage {
                    prompt_tokens: 1,
                    completion_tokens: 1,
                },
            };
            let frames = [
                shape.piece(0, &Piece::text(hostile.into())),
                shape.calls(0, &[call]),
                shape.end(0, ended),
            ];
            let mut found = false;
            for frame in frames.concat().split_terminator("\n\n") {
                let lines: Vec<_> = frame.split('\n').collect();
                let (last, before) = lines.split_last().unwrap();
                assert!(
                    before.iter().all(|l| l.starts_with("event: ")) && before.len() < 2,
                    "{frame:?}"
                );
                let json: Value = serde_json::from_str(last.strip_prefix("data: ").unwrap()).unwrap();
                assert!(!frame.contains('\r'), "{frame:?}");
                found |= json.to_string().contains("hanzo-receipt-id: 00");
            }
            assert!(found);
        }
    }
}
