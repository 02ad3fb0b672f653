//! OpenAI's responses: one object, and events that build it up, numbered from 0.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::{Dialect, Identity, Told, event};
use crate::answer::Ended;
use crate::calls::Call;
use crate::engine::{Finish, Piece, Usage};
use crate::error::ApiError;
use crate::request::{Ask, Echo};

/// Writes responses.
pub(crate) struct ResponsesDialect {
    identity: Identity,
    echo: Echo,
    temperature: f64,
    top_p: f64,
    max_tokens: Option<u64>,
    parallel: bool,
    sequence: u64,
    /// Items that are complete.
    output: Vec<Value>,
    /// The text of the item that is open.
    text: Option<String>,
    ended: Option<Ended>,
}

impl ResponsesDialect {
    pub(crate) fn new(identity: Identity, ask: &Ask, echo: Echo) -> Self {
        Self {
            identity,
            echo,
            temperature: ask.temperature_micros as f64 / 1e6,
            top_p: ask.top_p_micros as f64 / 1e6,
            max_tokens: ask.max_tokens,
            parallel: ask.tools.parallel,
            sequence: 0,
            output: Vec::new(),
            text: None,
            ended: None,
        }
    }

    /// The response object in one of its states.
    fn object(&self, status: &str, output: &[Value], usage: Option<Usage>) -> Value {
        let reason = (status == "incomplete").then(|| json!({"reason": "max_output_tokens"}));
        // The details that the SDKs' types demand. 0 whatever happened: nothing is kept between requests, nothing is hidden.
        let usage = usage.map(|usage| {
            json!({
                "input_tokens": usage.prompt_tokens,
                "input_tokens_details": {"cached_tokens": 0},
                "output_tokens": usage.completion_tokens,
                "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": usage.prompt_tokens.saturating_add(usage.completion_tokens),
            })
        });
        json!({
            "id": format!("resp_{}", self.identity.id),
            "object": "response",
            "created_at": self.identity.created,
            "status": status,
            "background": false,
            "error": null,
            "incomplete_details": reason,
            "instructions": self.echo.instructions,
            "max_output_tokens": self.max_tokens,
            "metadata": self.echo.metadata,
            "model": self.identity.model,
            "output": output,
            "parallel_tool_calls": self.parallel,
            "previous_response_id": null,
            "reasoning": {"effort": null, "summary": null},
            "service_tier": "default",
            "store": false,
            "temperature": self.temperature,
            "text": {"format": self.echo.format},
            "tool_choice": self.echo.tool_choice,
            "tools": self.echo.tools,
            "top_p": self.top_p,
            "truncation": "disabled",
            "usage": usage,
        })
    }

    fn event(&mut self, name: &'static str, members: Value) -> String {
        let mut all = Map::new();
        all.insert("type".into(), name.into());
        all.insert("sequence_number".into(), self.sequence.into());
        self.sequence += 1;
        if let Value::Object(members) = members {
            all.extend(members);
        }
        event(name, &Value::Object(all))
    }

    fn text_item(&self, place: usize, status: &str, content: Vec<Value>) -> Value {
        json!({
            "id": format!("msg_{}{place:02}", self.identity.id),
            "type": "message",
            "status": status,
            "role": "assistant",
            "content": content,
        })
    }

    fn call_item(&self, place: usize, n: usize, call: &Call, arguments: &str, status: &str) -> Value {
        json!({
            "id": format!("fc_{}{place:02}", self.identity.id),
            "type": "function_call",
            "status": status,
            "call_id": self.identity.call_id(0, n),
            "name": call.name,
            "arguments": arguments,
        })
    }

    fn open_text(&mut self) -> String {
        let place = self.output.len();
        self.text = Some(String::new());
        let item = self.text_item(place, "in_progress", Vec::new());
        let id = item.get("id").cloned();
        let added = self.event(
            "response.output_item.added",
            json!({"output_index": place, "item": item}),
        );
        let part = self.event(
            "response.content_part.added",
            json!({"item_id": id, "output_index": place, "content_index": 0, "part": part("")}),
        );
        added + &part
    }

    fn close_text(&mut self, status: &str) -> String {
        let Some(text) = self.text.take() else {
            return String::new();
        };
        let place = self.output.len();
        let item = self.text_item(place, status, vec![part(&text)]);
        let id = item.get("id").cloned();
        let at = json!({"item_id": id, "output_index": place, "content_index": 0});
        let with = |name: &str, value: Value| {
            let mut members = at.clone();
            if let Value::Object(members) = &mut members {
                members.insert(name.into(), value);
            }
            members
        };
        let mut done = with("text", text.as_str().into());
        if let Value::Object(members) = &mut done {
            members.insert("logprobs".into(), json!([]));
        }
        let frames = [
            self.event("response.output_text.done", done),
            self.event("response.content_part.done", with("part", part(&text))),
            self.event(
                "response.output_item.done",
                json!({"output_index": place, "item": item}),
            ),
        ];
        self.output.push(item);
        frames.concat()
    }
}

fn part(text: &str) -> Value {
    json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []})
}

fn status(ended: Option<&Ended>) -> &'static str {
    match ended {
        Some(ended) if ended.finish == Finish::Length && !ended.called => "incomplete",
        _ => "completed",
    }
}

impl Dialect for ResponsesDialect {
    fn opening(&mut self, _prompt_tokens: u64) -> String {
        let response = self.object("in_progress", &[], None);
        let created = self.event("response.created", json!({"response": response}));
        created + &self.event("response.in_progress", json!({"response": response}))
    }

    fn piece(&mut self, _index: u32, piece: &Piece) -> String {
        let opened = match self.text {
            None => self.open_text(),
            Some(_) => String::new(),
        };
        if let Some(text) = &mut self.text {
            text.push_str(&piece.text);
        }
        let place = self.output.len();
        let id = format!("msg_{}{place:02}", self.identity.id);
        let delta = self.event(
            "response.output_text.delta",
            json!({"item_id": id, "output_index": place, "content_index": 0, "delta": piece.text, "logprobs": []}),
        );
        opened + &delta
    }

    fn calls(&mut self, _index: u32, calls: &[Call]) -> String {
        let mut frames = self.close_text("completed");
        for (n, call) in calls.iter().enumerate() {
            let place = self.output.len();
            let begun = self.call_item(place, n, call, "", "in_progress");
            let item = self.call_item(place, n, call, &call.arguments, "completed");
            let id = item.get("id").cloned();
            frames += &self.event(
                "response.output_item.added",
                json!({"output_index": place, "item": begun}),
            );
            frames += &self.event(
                "response.function_call_arguments.delta",
                json!({"item_id": id, "output_index": place, "delta": call.arguments}),
            );
            frames += &self.event(
                "response.function_call_arguments.done",
                json!({"item_id": id, "output_index": place, "name": call.name, "arguments": call.arguments}),
            );
            frames += &self.event(
                "response.output_item.done",
                json!({"output_index": place, "item": item}),
            );
            self.output.push(item);
        }
        frames
    }

    fn end(&mut self, _index: u32, ended: Ended) -> String {
        self.ended = Some(ended);
        self.close_text(status(Some(&ended)))
    }

    fn closing(&mut self, usage: Usage) -> String {
        let output = std::mem::take(&mut self.output);
        let status = status(self.ended.as_ref());
        let response = self.object(status, &output, Some(usage));
        let name = match status {
            "incomplete" => "response.incomplete",
            _ => "response.completed",
        };
        self.event(name, json!({"response": response}))
    }

    fn error_frame(&mut self, e: &ApiError) -> String {
        let error = e.body().get("error").cloned().unwrap_or_default();
        let members = json!({
            "code": error.get("code"),
            "message": error.get("message"),
            "param": error.get("param"),
            "error": error,
        });
        self.event("error", members)
    }

    fn whole(&self, answers: &[Told], usage: Usage) -> Bytes {
        let mut output = Vec::new();
        let told = answers.first();
        let ended = told.and_then(|told| told.ended.as_ref());
        if let Some(told) = told {
            if !told.piece.text.is_empty() {
                output.push(self.text_item(0, status(ended), vec![part(&told.piece.text)]));
            }
            for (n, call) in told.calls.iter().enumerate() {
                output.push(self.call_item(output.len(), n, call, &call.arguments, "completed"));
            }
        }
        Bytes::from(self.object(status(ended), &output, Some(usage)).to_string())
    }
}
