//! OpenAI's chat completions.

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Value, json};

use super::{Dialect, Identity, Told, counts, data, logprob};
use crate::answer::Ended;
use crate::calls::Call;
use crate::engine::{Piece, Usage};
use crate::request::Ask;

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
    logprobs: Option<Value>,
    finish_reason: Option<&'static str>,
}

#[derive(Serialize, Default)]
struct Delta<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_calls: Option<Value>,
}

/// Writes chats.
pub(crate) struct ChatDialect {
    identity: Identity,
    with_usage: bool,
    with_logprobs: bool,
}

fn finish_reason(ended: &Ended) -> &'static str {
    match ended.called {
        true => "tool_calls",
        false => ended.finish.as_str(),
    }
}

impl ChatDialect {
    pub(crate) fn new(identity: Identity, ask: &Ask, with_usage: bool) -> Self {
        Self {
            identity,
            with_usage,
            with_logprobs: ask.logprobs.is_some(),
        }
    }

    fn id(&self) -> String {
        format!("chatcmpl-{}", self.identity.id)
    }

    fn chunk(&self, choices: &[Choice<'_>], usage: Option<Value>) -> String {
        data(&Chunk {
            id: self.id(),
            object: "chat.completion.chunk",
            created: self.identity.created,
            model: &self.identity.model,
            system_fingerprint: &self.identity.fingerprint,
            choices,
            usage,
        })
    }

    fn delta(&self, index: u32, delta: Delta<'_>, logprobs: Option<Value>, finish: Option<&'static str>) -> String {
        let choice = Choice {
            index,
            delta,
            logprobs,
            finish_reason: finish,
        };
        // With include_usage every chunk but the last carries a null.
        self.chunk(&[choice], self.with_usage.then_some(Value::Null))
    }

    fn logprobs(&self, piece: &Piece) -> Option<Value> {
        let content: Vec<_> = piece.logprobs.iter().map(logprob).collect();
        self.with_logprobs.then(|| json!({"content": content, "refusal": null}))
    }

    fn call(&self, index: u32, n: usize, call: &Call) -> Value {
        json!({
            "id": self.identity.call_id(index, n),
            "type": "function",
            "function": {"name": call.name, "arguments": call.arguments},
        })
    }
}

impl Dialect for ChatDialect {
    fn begin(&mut self, index: u32) -> String {
        let delta = Delta {
            role: Some("assistant"),
            content: Some(""),
            tool_calls: None,
        };
        self.delta(index, delta, None, None)
    }

    fn piece(&mut self, index: u32, piece: &Piece) -> String {
        let delta = Delta {
            content: Some(&piece.text),
            ..Delta::default()
        };
        self.delta(index, delta, self.logprobs(piece), None)
    }

    fn calls(&mut self, index: u32, calls: &[Call]) -> String {
        let frames = calls.iter().enumerate().map(|(n, call)| {
            let mut object = self.call(index, n, call);
            if let Value::Object(members) = &mut object {
                members.insert("index".into(), n.into());
            }
            let delta = Delta {
                tool_calls: Some(json!([object])),
                ..Delta::default()
            };
            self.delta(index, delta, None, None)
        });
        frames.collect()
    }

    fn end(&mut self, index: u32, ended: Ended) -> String {
        self.delta(index, Delta::default(), None, Some(finish_reason(&ended)))
    }

    fn closing(&mut self, usage: Usage) -> String {
        match self.with_usage {
            true => self.chunk(&[], Some(counts(usage))),
            false => String::new(),
        }
    }

    fn whole(&self, answers: &[Told], usage: Usage) -> Bytes {
        let choices: Vec<_> = answers
            .iter()
            .zip(0_u32..)
            .map(|(told, index)| {
                let mut message = json!({"role": "assistant", "content": told.piece.text, "refusal": null});
                if let (false, Value::Object(members)) = (told.calls.is_empty(), &mut message) {
                    let calls = told.calls.iter().enumerate().map(|(n, call)| self.call(index, n, call));
                    members.insert("tool_calls".into(), calls.collect());
                    if told.piece.text.is_empty() {
                        members.insert("content".into(), Value::Null);
                    }
                }
                json!({
                    "index": index,
                    "message": message,
                    "logprobs": self.logprobs(&told.piece),
                    "finish_reason": told.ended.as_ref().map(finish_reason),
                })
            })
            .collect();
        let body = json!({
            "id": self.id(),
            "object": "chat.completion",
            "created": self.identity.created,
            "model": self.identity.model,
            "system_fingerprint": self.identity.fingerprint,
            "choices": choices,
            "usage": counts(usage),
        });
        Bytes::from(body.to_string())
    }
}
