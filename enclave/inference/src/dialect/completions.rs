//! OpenAI's completions without a template.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::{Dialect, Identity, Told, counts, data};
use crate::answer::Ended;
use crate::calls::Call;
use crate::engine::{Piece, Usage};
use crate::request::Ask;

/// Writes completions.
pub(crate) struct CompletionsDialect {
    identity: Identity,
    with_usage: bool,
    with_logprobs: bool,
    /// Characters of the present answer so far.
    offset: usize,
}

impl CompletionsDialect {
    pub(crate) fn new(identity: Identity, ask: &Ask, with_usage: bool) -> Self {
        Self {
            identity,
            with_usage,
            with_logprobs: ask.logprobs.is_some(),
            offset: 0,
        }
    }

    fn object(&self, choices: Vec<Value>, usage: Option<Value>) -> Value {
        let mut object = json!({
            "id": format!("cmpl-{}", self.identity.id),
            "object": "text_completion",
            "created": self.identity.created,
            "model": self.identity.model,
            "system_fingerprint": self.identity.fingerprint,
            "choices": choices,
        });
        if let (Some(usage), Value::Object(members)) = (usage, &mut object) {
            members.insert("usage".into(), usage);
        }
        object
    }

    fn choice(&self, index: u32, piece: &Piece, offset: usize, finish: Option<&'static str>) -> Value {
        json!({
            "index": index,
            "text": piece.text,
            "logprobs": self.with_logprobs.then(|| logprobs(piece, offset)),
            "finish_reason": finish,
        })
    }

    fn frame(&self, choice: Value) -> String {
        data(&self.object(vec![choice], self.with_usage.then_some(Value::Null)))
    }
}

/// The older shape: four lists.
fn logprobs(piece: &Piece, start: usize) -> Value {
    let mut offset = start;
    let (mut tokens, mut numbers, mut tops, mut offsets) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for one in &piece.logprobs {
        let top: Map<String, Value> = one.top.iter().map(|o| (o.token.clone(), o.logprob.into())).collect();
        offsets.push(offset);
        offset += one.token.chars().count();
        tokens.push(one.token.as_str());
        numbers.push(one.logprob);
        tops.push(top);
    }
    json!({"tokens": tokens, "token_logprobs": numbers, "top_logprobs": tops, "text_offset": offsets})
}

impl Dialect for CompletionsDialect {
    fn begin(&mut self, _index: u32) -> String {
        self.offset = 0;
        String::new()
    }

    fn piece(&mut self, index: u32, piece: &Piece) -> String {
        let choice = self.choice(index, piece, self.offset, None);
        self.offset += piece.text.chars().count();
        self.frame(choice)
    }

    /// Without a template there are no calls: what looks like one is text.
    fn calls(&mut self, _index: u32, calls: &[Call]) -> String {
        let frames = calls.iter().map(|call| {
            self.frame(json!({"index": 0, "text": call.arguments, "logprobs": null, "finish_reason": null}))
        });
        frames.collect()
    }

    fn end(&mut self, index: u32, ended: Ended) -> String {
        self.frame(self.choice(index, &Piece::default(), self.offset, Some(ended.finish.as_str())))
    }

    fn closing(&mut self, usage: Usage) -> String {
        match self.with_usage {
            true => data(&self.object(Vec::new(), Some(counts(usage)))),
            false => String::new(),
        }
    }

    fn whole(&self, answers: &[Told], usage: Usage) -> Bytes {
        let choices = answers.iter().zip(0_u32..).map(|(told, index)| {
            let finish = told.ended.as_ref().map(|ended| ended.finish.as_str());
            self.choice(index, &told.piece, 0, finish)
        });
        Bytes::from(self.object(choices.collect(), Some(counts(usage))).to_string())
    }
}
