//! What the model wants to call, read out of its text.
//!
//! Models write calls as their chat template taught them. Three conventions are read: `<tool_call>{…}</tool_call>` (Hermes,
//! Qwen, SmolLM3), `[TOOL_CALLS][{…}]` (Mistral), and one object that is the whole answer, with or without `<|python_tag|>`
//! before it (Llama 3). A call counts only if it names a function that the request offered; all else stays text. Text goes on
//! as it comes, except where it may be the start of a call.

use serde_json::Value;

use crate::engine::{Finish, Piece};
use crate::error::ApiError;
use crate::json;
use crate::request::{Ask, Tools, Wanted};
use crate::schema::Schema;

/// Most calls of one answer: more is a loop.
const CALLS_MAX: usize = 64;
const MARKS: [&str; 3] = ["<tool_call>", "[TOOL_CALLS]", "<|python_tag|>"];

/// One call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) name: String,
    /// A JSON object.
    pub(crate) arguments: String,
}

/// What is left at the end of an answer.
#[derive(Debug, PartialEq)]
pub(crate) struct Rest {
    pub(crate) piece: Option<Piece>,
    pub(crate) calls: Vec<Call>,
}

enum Mode {
    /// The answer is text.
    Plain,
    /// The answer may hold calls.
    Watching(Tools),
    /// A call may have begun: nothing goes on before the end.
    Holding(Tools),
    /// The answer is one call.
    Forced(Tools),
    /// The answer is a document; it goes on as it comes.
    Document(Schema),
}

/// Reads one answer, piece by piece.
pub(crate) struct Reader {
    mode: Mode,
    /// What has not gone on; of a document, all of it.
    held: Piece,
    /// Whether anything but white space went on.
    spoke: bool,
}

impl Reader {
    pub(crate) fn new(ask: &Ask) -> Self {
        let mode = match (&ask.format, &ask.tools.wanted) {
            (Some(format), _) => Mode::Document(format.schema.clone()),
            (None, Wanted::Nothing) => Mode::Plain,
            (None, Wanted::Any) => Mode::Watching(ask.tools.clone()),
            (None, Wanted::Call | Wanted::This(_)) => Mode::Forced(ask.tools.clone()),
        };
        Self {
            mode,
            held: Piece::default(),
            spoke: false,
        }
    }

    /// Takes a piece; gives what may go on.
    pub(crate) fn push(&mut self, piece: Piece) -> Option<Piece> {
        match &self.mode {
            Mode::Plain => Some(piece),
            Mode::Document(_) => {
                self.held.text.push_str(&piece.text);
                Some(piece)
            }
            Mode::Holding(_) | Mode::Forced(_) => {
                self.held.append(piece);
                None
            }
            Mode::Watching(_) => {
                self.held.append(piece);
                self.watch()
            }
        }
    }

    fn watch(&mut self) -> Option<Piece> {
        let text = &self.held.text;
        let marked = MARKS.iter().filter_map(|mark| text.find(mark)).min();
        let bare = !self.spoke && text.trim_start().starts_with('{');
        if marked.is_some() || bare {
            self.mode = match std::mem::replace(&mut self.mode, Mode::Plain) {
                Mode::Watching(tools) => Mode::Holding(tools),
                other => other,
            };
        }
        let keep_from = match marked {
            Some(at) => at,
            None if bare => 0,
            // White space before a first brace, and the beginnings of marks.
            None if !self.spoke && text.trim().is_empty() => 0,
            None => text.len() - partial_mark(text),
        };
        let kept = self.held.text.split_off(keep_from);
        if self.held.text.is_empty() {
            self.held.text = kept;
            return None;
        }
        self.spoke |= !self.held.text.trim().is_empty();
        let on = std::mem::take(&mut self.held);
        self.held.text = kept;
        Some(on)
    }

    /// The end of the answer.
    ///
    /// # Errors
    /// [`ApiError::Unmet`] for an answer that is not what was asked for, unless `max_tokens` cut it off.
    pub(crate) fn end(self, finish: Finish) -> Result<Rest, ApiError> {
        let text_alone = |piece: Piece| Rest {
            piece: (!piece.is_empty()).then_some(piece),
            calls: Vec::new(),
        };
        match self.mode {
            Mode::Plain | Mode::Watching(_) => Ok(text_alone(self.held)),
            Mode::Document(schema) => {
                let good = || json::parse(self.held.text.trim().as_bytes()).is_ok_and(|value| schema.accepts(&value));
                match finish == Finish::Length || good() {
                    true => Ok(text_alone(Piece::default())),
                    false => Err(ApiError::Unmet {
                        what: "the answer is not a document that the schema allows",
                    }),
                }
            }
            Mode::Holding(tools) => Ok(match found(&self.held.text, &tools) {
                Some((before, calls)) => Rest {
                    piece: (!before.trim().is_empty()).then(|| Piece::text(before.to_owned())),
                    calls,
                },
                None => text_alone(self.held),
            }),
            Mode::Forced(tools) => match (forced(&self.held.text, &tools), finish) {
                (Some(call), _) => Ok(Rest {
                    piece: None,
                    calls: vec![call],
                }),
                // Half a call is none; that the tokens ran out is said by `finish_reason`.
                (None, Finish::Length) => Ok(text_alone(Piece::default())),
                (None, Finish::Stop) => Err(ApiError::Unmet {
                    what: "the answer is not the call that tool_choice asks for",
                }),
            },
        }
    }
}

/// How many bytes at the end may be the start of a mark.
fn partial_mark(text: &str) -> usize {
    let starts = |n: usize| {
        let tail = text.len().checked_sub(n).and_then(|at| text.get(at..));
        tail.is_some_and(|tail| MARKS.iter().any(|mark| mark.starts_with(tail)))
    };
    (1..MARKS.iter().map(|m| m.len()).max().unwrap_or(0))
        .rev()
        .find(|n| starts(*n))
        .unwrap_or(0)
}

/// The calls in `text` and what stands before them; `None` if there is none that can be taken.
fn found<'a>(text: &'a str, tools: &Tools) -> Option<(&'a str, Vec<Call>)> {
    let (before, calls) = if let Some((before, rest)) = text.split_once("<tool_call>") {
        (before, tagged(rest)?)
    } else if let Some((before, rest)) = text.split_once("[TOOL_CALLS]") {
        (before, listed(rest)?)
    } else {
        let (before, rest) = text.split_once("<|python_tag|>").unwrap_or(("", text));
        let rest = rest
            .trim()
            .trim_end_matches("<|eom_id|>")
            .trim_end_matches("<|eot_id|>");
        // Llama separates several by semicolons.
        let values: Option<Vec<Value>> = match object(rest) {
            Some(value) => Some(vec![value]),
            None => rest.split(';').map(|part| object(part.trim())).collect(),
        };
        (before, values?)
    };
    let calls: Vec<Call> = calls.iter().map(|value| call(value, tools)).collect::<Option<_>>()?;
    let most = if tools.parallel { CALLS_MAX } else { 1 };
    match calls.len() {
        0 => None,
        n if n > CALLS_MAX => None,
        _ => Some((before, calls.into_iter().take(most).collect())),
    }
}

fn tagged(rest: &str) -> Option<Vec<Value>> {
    rest.split("<tool_call>")
        .map(|one| object(one.split("</tool_call>").next().unwrap_or(one).trim()))
        .collect()
}

fn listed(rest: &str) -> Option<Vec<Value>> {
    match json::parse(rest.trim().as_bytes()).ok()? {
        Value::Array(list) => Some(list),
        one @ Value::Object(_) => Some(vec![one]),
        _ => None,
    }
}

fn object(text: &str) -> Option<Value> {
    json::parse(text.as_bytes()).ok().filter(Value::is_object)
}

/// `{"name", "arguments" or "parameters"}`, of a function that was offered.
fn call(value: &Value, tools: &Tools) -> Option<Call> {
    let name = value.get("name")?.as_str().filter(|name| tools.knows(name))?;
    let arguments = match value.get("arguments").or_else(|| value.get("parameters")) {
        None => "{}".to_owned(),
        Some(arguments @ Value::Object(_)) => arguments.to_string(),
        // Some models quote them.
        Some(Value::String(text)) => object(text)?.to_string(),
        Some(_) => return None,
    };
    Some(Call {
        name: name.to_owned(),
        arguments,
    })
}

fn forced(text: &str, tools: &Tools) -> Option<Call> {
    let value = object(text.trim())?;
    let allowed = tools.forced().is_some_and(|schema| schema.accepts(&value));
    allowed.then(|| call(&value, tools)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::ChatRequest;

    fn reader(extra: &str) -> Reader {
        let body = format!(
            r#"{{"model":"m","messages":[{{"role":"user","content":"Hi"}}],"tools":[
                {{"type":"function","function":{{"name":"f","parameters":{{"type":"object","properties":{{"x":{{"type":"integer"}}}},"required":["x"]}}}}}},
                {{"type":"function","function":{{"name":"g"}}}}]{extra}}}"#
        );
        Reader::new(&ChatRequest::parse(body.as_bytes()).ok().unwrap().ask)
    }

    /// What went on and what was called, whatever the pieces.
    fn read(extra: &str, text: &str, step: usize) -> (String, Vec<(String, String)>) {
        let mut reader = reader(extra);
        let chars: Vec<char> = text.chars().collect();
        let mut said = String::new();
        for piece in chars.chunks(step) {
            if let Some(piece) = reader.push(Piece::text(piece.iter().collect())) {
                said.push_str(&piece.text);
            }
        }
        let rest = reader.end(Finish::Stop).ok().unwrap();
        said.push_str(&rest.piece.map(|p| p.text).unwrap_or_default());
        (said, rest.calls.into_iter().map(|c| (c.name, c.arguments)).collect())
    }

    #[test]
    fn three_conventions_are_read_however_the_pieces_come() {
        let f = ("f".to_owned(), r#"{"x":1}"#.to_owned());
        let g = ("g".to_owned(), "{}".to_owned());
        for (text, said, calls) in [
            (
                "Let me see.<tool_call>\n{\"name\": \"f\", \"arguments\": {\"x\": 1}}\n</tool_call>\n<tool_call>\n{\"name\":\"g\",\"arguments\":{}}\n</tool_call>",
                "Let me see.",
                vec![f.clone(), g.clone()],
            ),
            (
                "[TOOL_CALLS] [{\"name\":\"f\",\"arguments\":{\"x\":1}},{\"name\":\"g\"}]",
                "",
                vec![f.clone(), g.clone()],
            ),
            (
                "<|python_tag|>{\"name\":\"f\",\"parameters\":{\"x\":1}}",
                "",
                vec![f.clone()],
            ),
            (
                " {\"name\":\"f\",\"parameters\":{\"x\":1}}<|eot_id|>",
                "",
                vec![f.clone()],
            ),
            (
                "{\"name\":\"f\",\"parameters\":{\"x\":1}}; {\"name\":\"g\"}",
                "",
                vec![f.clone(), g],
            ),
            ("{\"name\":\"f\",\"arguments\":\"{\\\"x\\\":1}\"}", "", vec![f]),
        ] {
            for step in [1, 2, 7, 500] {
                assert_eq!(
                    read("", text, step),
                    (said.to_owned(), calls.clone()),
                    "{text} by {step}"
                );
            }
        }
    }

    #[test]
    fn what_is_no_call_stays_text_to_the_last_byte() {
        for text in [
            "plain",
            "a <b> [TOOL] <|end",
            "<tool_call>{\"name\":\"unknown\",\"arguments\":{}}</tool_call>",
            "<tool_call>{\"name\":\"f\"",
            "<tool_call>{\"name\":\"f\",\"arguments\":5}</tool_call>",
            "<tool_call>{\"name\":\"f\",\"name\":\"g\",\"arguments\":{}}</tool_call>",
            "{\"answer\": 42}",
            "[TOOL_CALLS] nothing",
            "   ",
        ] {
            for step in [1, 3, 500] {
                assert_eq!(read("", text, step), (text.to_owned(), vec![]), "{text} by {step}");
            }
        }
    }

    #[test]
    fn endless_calls_are_text_and_one_at_a_time_is_one() {
        let one = "<tool_call>{\"name\":\"g\"}</tool_call>";
        assert_eq!(read("", &one.repeat(CALLS_MAX), 500).1.len(), CALLS_MAX);
        assert!(read("", &one.repeat(CALLS_MAX + 1), 500).1.is_empty());
        assert_eq!(read(r#","parallel_tool_calls":false"#, &one.repeat(3), 500).1.len(), 1);
    }

    #[test]
    fn a_forced_call_is_checked_again() {
        let end = |extra: &str, text: &str| {
            let mut reader = reader(extra);
            assert!(reader.push(Piece::text(text.into())).is_none());
            reader
                .end(Finish::Stop)
                .map(|rest| rest.calls.len())
                .map_err(|e| e.code())
        };
        let named = r#","tool_choice":{"type":"function","function":{"name":"f"}}"#;
        let any = r#","tool_choice":"required""#;
        let good = r#"{"name":"f","arguments":{"x":1}}"#;
        assert_eq!((end(named, good), end(any, good)), (Ok(1), Ok(1)));
        for bad in [
            r#"{"name":"g","arguments":{}}"#,
            r#"{"name":"f","arguments":{"x":"1"}}"#,
            r#"{"name":"f","arguments":{"#,
            "I would rather not",
        ] {
            assert_eq!(end(named, bad), Err("answer_not_as_asked"), "{bad}");
        }
        assert_eq!(end(any, r#"{"name":"g","arguments":{}}"#), Ok(1));
        // The tokens ran out: no call, and no error.
        let mut cut = reader(any);
        assert!(cut.push(Piece::text(r#"{"name":"f","argu"#.into())).is_none());
        let nothing = Rest {
            piece: None,
            calls: vec![],
        };
        assert_eq!(cut.end(Finish::Length).ok(), Some(nothing));
    }

    #[test]
    fn a_document_is_checked_again_unless_its_tokens_ran_out() {
        let document = || {
            let body = br#"{"model":"m","messages":[{"role":"user","content":"Hi"}],"response_format":{"type":"json_object"}}"#;
            Reader::new(&ChatRequest::parse(body).ok().unwrap().ask)
        };
        let end = |text: &str, finish| {
            let mut reader = document();
            assert_eq!(
                reader.push(Piece::text(text.into())).map(|p| p.text).as_deref(),
                Some(text)
            );
            reader.end(finish).map(|_| ()).map_err(|e| e.code())
        };
        assert_eq!(end(" {\"a\":1}\n", Finish::Stop), Ok(()));
        assert_eq!(end("{\"a\":", Finish::Length), Ok(()));
        for bad in ["{\"a\":", "[1]", "{\"a\":1,\"a\":2}", "no"] {
            assert_eq!(end(bad, Finish::Stop), Err("answer_not_as_asked"), "{bad}");
        }
    }
}
