//! One answer of the engine: frames checked one by one, counts checked at the end.

use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::Deserialize;

use super::lines::DataLines;
use super::{Connection, EngineError};

/// Longest text of one token's frame.
const DELTA_BYTES_MAX: usize = 16 << 10;
/// Bytes of one frame, on average over an answer.
const FRAME_BYTES: u64 = 4 << 10;

/// Why the engine stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finish {
    /// The model's end or a stop text.
    Stop,
    /// `max_tokens`.
    Length,
}

impl Finish {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
        }
    }
}

/// Token counts, checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) struct Usage {
    pub(crate) prompt_tokens: u64,
    pub(crate) completion_tokens: u64,
}

/// What came next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Text of the answer, never empty.
    Text(String),
    /// The end; nothing follows.
    End(Finish, Usage),
}

// Members that other engines add (id, model, logprobs …) are not taken over.
#[derive(Deserialize)]
struct Frame {
    #[serde(default)]
    choices: Vec<Choice>,
    /// The engine gave up; what it says goes nowhere.
    #[serde(default)]
    error: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    usage: Option<Usage>,
}

#[derive(Deserialize)]
struct Choice {
    index: u64,
    delta: Delta,
    #[serde(default)]
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Delta {
    #[serde(default)]
    content: Option<String>,
    #[serde(default)]
    role: Option<String>,
}

/// An answer that is being generated. Dropping it cancels the engine.
pub(crate) struct Answer {
    body: Incoming,
    lines: DataLines,
    check: Check,
    _connection: Connection,
}

impl Answer {
    pub(super) fn new(body: Incoming, connection: Connection, prompt_tokens: u64, max_tokens: u64) -> Self {
        Self {
            body,
            lines: DataLines::new(max_tokens.saturating_add(16).saturating_mul(FRAME_BYTES)),
            check: Check::new(prompt_tokens, max_tokens),
            _connection: connection,
        }
    }

    /// The next step. After [`Step::End`] or an error there is none.
    pub(crate) async fn next(&mut self) -> Result<Step, EngineError> {
        loop {
            while let Some(payload) = self.lines.next()? {
                if let Some(step) = self.check.payload(&payload)? {
                    return Ok(step);
                }
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref() {
                        self.lines.push(data)?;
                    }
                }
                // The connection broke, or the stream ended without its end.
                Some(Err(_)) | None => return Err(EngineError::Failed),
            }
        }
    }

    /// Tokens that came so far: frames, until the end tells.
    pub(crate) fn tokens(&self) -> u64 {
        self.check.frames.min(self.check.max_tokens)
    }
}

/// The protocol's rules over the payloads of one answer.
struct Check {
    prompt_tokens: u64,
    max_tokens: u64,
    /// Frames that stand for a token, empty ones included.
    frames: u64,
    /// Those with text.
    texts: u64,
    finish: Option<Finish>,
    usage: Option<Usage>,
}

impl Check {
    fn new(prompt_tokens: u64, max_tokens: u64) -> Self {
        Self {
            prompt_tokens,
            max_tokens,
            frames: 0,
            texts: 0,
            finish: None,
            usage: None,
        }
    }

    fn payload(&mut self, payload: &[u8]) -> Result<Option<Step>, EngineError> {
        let breach = |what| Err(EngineError::Protocol { what });
        if payload == b"[DONE]" {
            return self.end().map(Some);
        }
        let Ok(frame) = serde_json::from_slice::<Frame>(payload) else {
            return breach("a frame that is not of its shape");
        };
        if frame.error.is_some() {
            return Err(EngineError::Failed);
        }
        if let Some(usage) = frame.usage
            && self.usage.replace(usage).is_some_and(|before| before != usage)
        {
            return breach("usage that changes");
        }
        let mut choices = frame.choices.into_iter();
        let (Some(choice), None) = (choices.next(), choices.next()) else {
            // Engines that report usage in a frame of its own.
            return match self.finish.is_some() && self.usage.is_some() {
                true => Ok(None),
                false => breach("a frame without its one choice"),
            };
        };
        if self.finish.is_some() {
            return breach("a frame after the finish_reason");
        }
        if choice.index != 0 {
            return breach("a choice that was not asked for");
        }
        let text = choice.delta.content.unwrap_or_default();
        if text.len() > DELTA_BYTES_MAX {
            return breach("a frame with too much text");
        }
        self.finish = match choice.finish_reason.as_deref() {
            None => None,
            Some("stop") => Some(Finish::Stop),
            Some("length") => Some(Finish::Length),
            Some(_) => return breach("an unknown finish_reason"),
        };
        let opening = choice.delta.role.is_some() && text.is_empty() && self.finish.is_none() && self.frames == 0;
        if opening {
            return Ok(None);
        }
        self.frames += 1;
        if self.frames > self.max_tokens.saturating_add(1) {
            return breach("more frames than max_tokens");
        }
        if text.is_empty() {
            return Ok(None);
        }
        self.texts += 1;
        if self.texts > self.max_tokens {
            return breach("more frames than max_tokens");
        }
        Ok(Some(Step::Text(text)))
    }

    fn end(&mut self) -> Result<Step, EngineError> {
        let breach = |what| Err(EngineError::Protocol { what });
        let Some(finish) = self.finish else {
            return breach("an end without finish_reason");
        };
        let Some(usage) = self.usage else {
            return breach("an end without usage");
        };
        if usage.prompt_tokens != self.prompt_tokens {
            return breach("prompt_tokens that differ from /tokenize");
        }
        // One frame per token; the last frame may carry one or none.
        let counted = (self.frames.saturating_sub(1)..=self.frames).contains(&usage.completion_tokens);
        if !counted || usage.completion_tokens < self.texts || usage.completion_tokens > self.max_tokens {
            return breach("completion_tokens that differ from the frames");
        }
        Ok(Step::End(finish, usage))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(max_tokens: u64, payloads: &[&str]) -> Result<(String, Usage), &'static str> {
        let mut check = Check::new(5, max_tokens);
        let mut text = String::new();
        for payload in payloads {
            match check.payload(payload.as_bytes()) {
                Ok(None) => {}
                Ok(Some(Step::Text(t))) => text.push_str(&t),
                Ok(Some(Step::End(_, usage))) => return Ok((text, usage)),
                Err(EngineError::Protocol { what }) => return Err(what),
                Err(_) => return Err("failed"),
            }
        }
        Err("no end")
    }

    const A: &str = r#"{"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}],"usage":null}"#;
    const EMPTY: &str = r#"{"choices":[{"index":0,"delta":{"content":""},"finish_reason":null}]}"#;
    const ROLE: &str =
        r#"{"id":"x","choices":[{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null}]}"#;

    fn last(prompt: u64, completion: u64) -> String {
        format!(
            r#"{{"choices":[{{"index":0,"delta":{{}},"finish_reason":"stop"}}],"usage":{{"prompt_tokens":{prompt},"completion_tokens":{completion}}}}}"#
        )
    }

    #[test]
    fn honest_answers_are_taken() {
        let usage = |completion_tokens| Usage {
            prompt_tokens: 5,
            completion_tokens,
        };
        assert_eq!(run(9, &[A, A, &last(5, 2), "[DONE]"]), Ok(("aa".into(), usage(2))));
        assert_eq!(
            run(9, &[A, A, &last(5, 3), "[DONE]"]),
            Ok(("aa".into(), usage(3))),
            "the end counts"
        );
        assert_eq!(
            run(9, &[ROLE, A, EMPTY, &last(5, 2), "[DONE]"]),
            Ok(("a".into(), usage(2)))
        );
        let other_engine = [
            A,
            r#"{"choices":[{"index":0,"delta":{},"finish_reason":"length"}]}"#,
            r#"{"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":1,"total_tokens":6}}"#,
            "[DONE]",
        ];
        assert_eq!(run(1, &other_engine), Ok(("a".into(), usage(1))));
    }

    #[test]
    fn breaches_are_named() {
        let long = format!(
            r#"{{"choices":[{{"index":0,"delta":{{"content":"{}"}}}}]}}"#,
            "x".repeat(DELTA_BYTES_MAX + 1)
        );
        for (payloads, what) in [
            (
                &[A, &last(6, 1), "[DONE]"][..],
                "prompt_tokens that differ from /tokenize",
            ),
            (
                &[A, &last(5, 9), "[DONE]"],
                "completion_tokens that differ from the frames",
            ),
            (
                &[A, A, A, &last(5, 1), "[DONE]"],
                "completion_tokens that differ from the frames",
            ),
            (&[A, A, A, A, &last(5, 4), "[DONE]"], "more frames than max_tokens"),
            (&[A, &last(5, 1), A], "a frame after the finish_reason"),
            (&[A, "[DONE]"], "an end without finish_reason"),
            (
                &[
                    r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
                    "[DONE]",
                ],
                "an end without usage",
            ),
            (&["hello"], "a frame that is not of its shape"),
            (&[r#"{"choices":[]}"#], "a frame without its one choice"),
            (
                &[r#"{"choices":[{"index":1,"delta":{"content":"a"}}]}"#],
                "a choice that was not asked for",
            ),
            (
                &[r#"{"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}"#],
                "an unknown finish_reason",
            ),
            (&[&long], "a frame with too much text"),
        ] {
            assert_eq!(run(3, payloads), Err(what));
        }
    }
}
