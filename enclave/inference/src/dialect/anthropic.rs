//! Anthropic's messages.

use bytes::Bytes;
use serde_json::{Value, json};

use super::{Dialect, Identity, Told, event};
use crate::answer::Ended;
use crate::calls::Call;
use crate::engine::{Finish, Piece, Usage};
use crate::error::ApiError;
use crate::request::Ask;

/// Writes messages.
pub(crate) struct AnthropicDialect {
    identity: Identity,
    stops: Vec<String>,
    /// The next block's index.
    block: u32,
    /// True while a block of text is open.
    text_open: bool,
    ended: Option<Ended>,
}

impl AnthropicDialect {
    pub(crate) fn new(identity: Identity, ask: &Ask) -> Self {
        Self {
            identity,
            stops: ask.stop.clone(),
            block: 0,
            text_open: false,
            ended: None,
        }
    }

    fn message(&self, content: Vec<Value>, ended: Option<&Ended>, input: u64, output: u64) -> Value {
        let (reason, stop) = self.reason(ended);
        json!({
            "id": format!("msg_{}", self.identity.id),
            "type": "message",
            "role": "assistant",
            "model": self.identity.model,
            "content": content,
            "stop_reason": reason,
            "stop_sequence": stop,
            "usage": {"input_tokens": input, "output_tokens": output},
        })
    }

    fn reason(&self, ended: Option<&Ended>) -> (Value, Value) {
        let Some(ended) = ended else {
            return (Value::Null, Value::Null);
        };
        let stop = ended.stop.and_then(|i| self.stops.get(i));
        match (ended.called, ended.finish, stop) {
            (true, ..) => ("tool_use".into(), Value::Null),
            (false, Finish::Length, _) => ("max_tokens".into(), Value::Null),
            (false, Finish::Stop, Some(stop)) => ("stop_sequence".into(), stop.as_str().into()),
            (false, Finish::Stop, None) => ("end_turn".into(), Value::Null),
        }
    }

    /// Ends the block of text, if one is open.
    fn close(&mut self) -> String {
        if !self.text_open {
            return String::new();
        }
        self.text_open = false;
        let frame = event(
            "content_block_stop",
            &json!({"type": "content_block_stop", "index": self.block}),
        );
        self.block += 1;
        frame
    }

    fn open(&self, block: Value) -> String {
        let start = json!({"type": "content_block_start", "index": self.block, "content_block": block});
        event("content_block_start", &start)
    }

    fn delta(&self, delta: Value) -> String {
        let delta = json!({"type": "content_block_delta", "index": self.block, "delta": delta});
        event("content_block_delta", &delta)
    }

    fn tool_use(&self, n: usize, call: &Call, input: Value) -> Value {
        json!({"type": "tool_use", "id": self.identity.call_id(0, n).replacen("call_", "toolu_", 1), "name": call.name, "input": input})
    }
}

impl Dialect for AnthropicDialect {
    fn opening(&mut self, prompt_tokens: u64) -> String {
        let message = self.message(Vec::new(), None, prompt_tokens, 0);
        event("message_start", &json!({"type": "message_start", "message": message}))
    }

    fn piece(&mut self, _index: u32, piece: &Piece) -> String {
        let mut frames = String::new();
        if !self.text_open {
            self.text_open = true;
            frames.push_str(&self.open(json!({"type": "text", "text": ""})));
        }
        frames.push_str(&self.delta(json!({"type": "text_delta", "text": piece.text})));
        frames
    }

    fn calls(&mut self, _index: u32, calls: &[Call]) -> String {
        let mut frames = self.close();
        for (n, call) in calls.iter().enumerate() {
            frames.push_str(&self.open(self.tool_use(n, call, json!({}))));
            frames.push_str(&self.delta(json!({"type": "input_json_delta", "partial_json": call.arguments})));
            self.text_open = true;
            frames.push_str(&self.close());
        }
        frames
    }

    fn end(&mut self, _index: u32, ended: Ended) -> String {
        self.ended = Some(ended);
        self.close()
    }

    fn closing(&mut self, usage: Usage) -> String {
        let (reason, stop) = self.reason(self.ended.as_ref());
        let delta = json!({
            "type": "message_delta",
            "delta": {"stop_reason": reason, "stop_sequence": stop},
            "usage": {"input_tokens": usage.prompt_tokens, "output_tokens": usage.completion_tokens},
        });
        event("message_delta", &delta)
    }

    fn tail(&self) -> &'static str {
        "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"
    }

    fn error_frame(&mut self, e: &ApiError) -> String {
        event("error", &e.anthropic_body())
    }

    fn whole(&self, answers: &[Told], usage: Usage) -> Bytes {
        let mut content = Vec::new();
        let told = answers.first();
        if let Some(told) = told {
            if !told.piece.text.is_empty() {
                content.push(json!({"type": "text", "text": told.piece.text}));
            }
            for (n, call) in told.calls.iter().enumerate() {
                let input = serde_json::from_str(&call.arguments).unwrap_or_else(|_| json!({}));
                content.push(self.tool_use(n, call, input));
            }
        }
        let ended = told.and_then(|told| told.ended.as_ref());
        let message = self.message(content, ended, usage.prompt_tokens, usage.completion_tokens);
        Bytes::from(message.to_string())
    }

    fn error_body(&self, e: &ApiError) -> Bytes {
        Bytes::from(e.anthropic_body().to_string())
    }
}
