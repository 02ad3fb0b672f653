//! One answer of the engine: frames checked one by one, counts checked at the end.

use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::Deserialize;

use super::lines::DataLines;
use super::{Connection, EngineError};

/// Longest text of one token's frame.
const DELTA_BYTES_MAX: usize = 16 << 10;
/// Longest text of an answer, for each token that it may have: twice what the longest tokens of known vocabularies have.
const TEXT_BYTES_PER_TOKEN: u64 = 256;
/// Bytes of one frame, on average over an answer.
const FRAME_BYTES: u64 = 4 << 10;
/// Bytes more for each token whose log probability is listed, on average.
const LISTED_BYTES: u64 = 256;
/// Longest token.
const TOKEN_BYTES_MAX: usize = 1 << 10;
const LOGPROB_LEAST: f64 = -9999.0;

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

/// A token and how likely it was.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TokenLogprob {
    pub(crate) token: String,
    pub(crate) logprob: f64,
    pub(crate) bytes: Option<Vec<u8>>,
    /// Other likely tokens in its place; they have none themselves.
    pub(crate) top: Vec<TokenLogprob>,
}

/// Text of the answer, with the tokens that it came in where they were asked for.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Piece {
    pub(crate) text: String,
    pub(crate) logprobs: Vec<TokenLogprob>,
}

impl Piece {
    pub(crate) fn text(text: String) -> Self {
        Self {
            text,
            logprobs: Vec::new(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.text.is_empty() && self.logprobs.is_empty()
    }

    pub(crate) fn append(&mut self, other: Self) {
        self.text.push_str(&other.text);
        self.logprobs.extend(other.logprobs);
    }
}

/// What came next.
#[derive(Debug, PartialEq)]
pub(crate) enum Step {
    /// A piece of the answer, never empty.
    Piece(Piece),
    /// The end; nothing follows. The number is that of the stop text, where the engine says it.
    End(Finish, Option<usize>, Usage),
}

/// What an answer must agree with.
pub(super) struct Expected {
    pub(super) prompt_tokens: u64,
    pub(super) max_tokens: u64,
    /// Whether tokens come with their log probabilities, and with how many others.
    pub(super) logprobs: Option<usize>,
    pub(super) stops: Vec<String>,
}

// Members that other engines add (id, model …) are not taken over.
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
    #[serde(default)]
    delta: Option<Delta>,
    /// Of completions.
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    logprobs: Option<Logprobs>,
    #[serde(default)]
    finish_reason: Option<String>,
    /// Some engines say which stop text it was.
    #[serde(default)]
    stop_reason: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Delta {
    #[serde(default)]
    content: Option<String>,
    #[serde(default)]
    role: Option<String>,
}

#[derive(Deserialize)]
struct Logprobs {
    #[serde(default)]
    content: Option<Vec<SaidLogprob>>,
}

#[derive(Deserialize)]
struct SaidLogprob {
    token: String,
    /// Null where an engine has no number for "never".
    logprob: Option<f64>,
    #[serde(default)]
    bytes: Option<Vec<u8>>,
    #[serde(default)]
    top_logprobs: Vec<SaidLogprob>,
}

impl SaidLogprob {
    /// `None` for what no token is.
    fn checked(self, top_max: usize) -> Option<TokenLogprob> {
        // What OpenAI writes for "never".
        let logprob = self.logprob.unwrap_or(LOGPROB_LEAST);
        let bytes = self.bytes.as_ref().map_or(0, Vec::len);
        let sound = self.token.len() <= TOKEN_BYTES_MAX
            && bytes <= TOKEN_BYTES_MAX
            && logprob.is_finite()
            && logprob < 1e-3
            && self.top_logprobs.len() <= top_max;
        if !sound {
            return None;
        }
        let top = self.top_logprobs.into_iter().map(|one| one.checked(0));
        Some(TokenLogprob {
            token: self.token,
            logprob: logprob.clamp(LOGPROB_LEAST, 0.0),
            bytes: self.bytes,
            top: top.collect::<Option<_>>()?,
        })
    }
}

/// An answer that is being generated. Dropping it cancels the engine.
pub(crate) struct Answer {
    body: Incoming,
    lines: DataLines,
    check: Check,
    _connection: Connection,
}

impl Answer {
    pub(super) fn new(body: Incoming, connection: Connection, expected: Expected) -> Self {
        let listed = expected.logprobs.map_or(0, |others| others as u64 + 1);
        let frame = FRAME_BYTES.saturating_add(LISTED_BYTES.saturating_mul(listed));
        Self {
            body,
            lines: DataLines::new(expected.max_tokens.saturating_add(16).saturating_mul(frame)),
            check: Check::new(expected),
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

    /// Tokens that came so far, until the end tells: frames that kept to the protocol. The last one counts where it has text, for
    /// an end token may have none of its own.
    pub(crate) fn tokens(&self) -> u64 {
        self.check.sound.min(self.check.expected.max_tokens)
    }
}

/// The protocol's rules over the payloads of one answer.
struct Check {
    expected: Expected,
    /// Frames that stand for a token, empty ones included.
    frames: u64,
    /// Those of them that broke no rule, without a last one that has no text.
    sound: u64,
    /// Those with text.
    texts: u64,
    /// Bytes of it.
    text_bytes: u64,
    /// Tokens that came with a log probability.
    logprobs: u64,
    finish: Option<Finish>,
    stop: Option<usize>,
    usage: Option<Usage>,
}

impl Check {
    fn new(expected: Expected) -> Self {
        Self {
            expected,
            frames: 0,
            sound: 0,
            texts: 0,
            text_bytes: 0,
            logprobs: 0,
            finish: None,
            stop: None,
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
        let (said, role) = match (choice.delta, choice.text) {
            (Some(delta), None) => (delta.content, delta.role),
            (None, Some(text)) => (Some(text), None),
            _ => return breach("a choice that is neither chat nor completion"),
        };
        let text = said.unwrap_or_default();
        self.text_bytes = self.text_bytes.saturating_add(text.len() as u64);
        let most = self.expected.max_tokens.saturating_mul(TEXT_BYTES_PER_TOKEN);
        if text.len() > DELTA_BYTES_MAX {
            return breach("a frame with too much text");
        }
        if self.text_bytes > most.saturating_add(DELTA_BYTES_MAX as u64) {
            return breach("more text than its tokens can have");
        }
        self.finish = match choice.finish_reason.as_deref() {
            None => None,
            Some("stop") => Some(Finish::Stop),
            Some("length") => Some(Finish::Length),
            Some(_) => return breach("an unknown finish_reason"),
        };
        let stops = &self.expected.stops;
        let named = choice.stop_reason.as_ref().and_then(serde_json::Value::as_str);
        self.stop = named.and_then(|named| stops.iter().position(|stop| stop == named));
        let opening = role.is_some() && text.is_empty() && self.finish.is_none() && self.frames == 0;
        if opening {
            return Ok(None);
        }
        self.frames += 1;
        if self.frames > self.expected.max_tokens.saturating_add(1) {
            return breach("more frames than max_tokens");
        }
        self.texts += u64::from(!text.is_empty());
        if self.texts > self.expected.max_tokens {
            return breach("more frames than max_tokens");
        }
        let Ok(logprobs) = self.logprobs(choice.logprobs) else {
            return breach("log probabilities that no token has");
        };
        let piece = Piece { text, logprobs };
        self.sound += u64::from(self.finish.is_none() || !piece.is_empty());
        Ok((!piece.is_empty()).then_some(Step::Piece(piece)))
    }

    /// One for each frame, where they were asked for; otherwise what comes is left out.
    fn logprobs(&mut self, said: Option<Logprobs>) -> Result<Vec<TokenLogprob>, ()> {
        let Some(top_max) = self.expected.logprobs else {
            return Ok(Vec::new());
        };
        let said = said.and_then(|l| l.content).unwrap_or_default();
        self.logprobs += said.len() as u64;
        if self.logprobs > self.frames {
            return Err(());
        }
        said.into_iter().map(|one| one.checked(top_max).ok_or(())).collect()
    }

    fn end(&mut self) -> Result<Step, EngineError> {
        let breach = |what| Err(EngineError::Protocol { what });
        let Some(finish) = self.finish else {
            return breach("an end without finish_reason");
        };
        let Some(usage) = self.usage else {
            return breach("an end without usage");
        };
        if usage.prompt_tokens != self.expected.prompt_tokens {
            return breach("prompt_tokens that differ from /tokenize");
        }
        // One frame per token; the last frame may carry one or none.
        let counted = (self.frames.saturating_sub(1)..=self.frames).contains(&usage.completion_tokens);
        if !counted || usage.completion_tokens < self.texts || usage.completion_tokens > self.expected.max_tokens {
            return breach("completion_tokens that differ from the frames");
        }
        // "length" excuses an answer from its schema, so it is believed where the length was reached and nowhere else.
        if finish == Finish::Length && usage.completion_tokens < self.expected.max_tokens {
            return breach("an end by length before max_tokens");
        }
        // The end token may have none.
        if self.expected.logprobs.is_some() && self.logprobs.saturating_add(1) < usage.completion_tokens {
            return breach("tokens without the log probabilities that were asked for");
        }
        Ok(Step::End(finish, self.stop, usage))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(max_tokens: u64, logprobs: Option<usize>) -> Check {
        Check::new(Expected {
            prompt_tokens: 5,
            max_tokens,
            logprobs,
            stops: vec!["x".into(), "y".into()],
        })
    }

    fn run(max_tokens: u64, payloads: &[&str]) -> Result<(String, Usage), &'static str> {
        let mut check = check(max_tokens, None);
        let mut text = String::new();
        for payload in payloads {
            match check.payload(payload.as_bytes()) {
                Ok(None) => {}
                Ok(Some(Step::Piece(piece))) => text.push_str(&piece.text),
                Ok(Some(Step::End(_, _, usage))) => return Ok((text, usage)),
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
        let full = long.replacen("xx", "x", 1);
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
            (
                &[A, &last(5, 1).replace("stop", "length"), "[DONE]"],
                "an end by length before max_tokens",
            ),
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
            (&[&full, &full], "more text than its tokens can have"),
        ] {
            assert_eq!(run(3, payloads), Err(what));
        }
    }

    #[test]
    fn tokens_of_an_answer_that_fails_are_frames_that_broke_no_rule() {
        let text = last(5, 9).replace("{}", r#"{"content":"z"}"#);
        for (payloads, tokens) in [
            (&[A, EMPTY, A, "hello"][..], 3),
            (&[ROLE, A, A, "[DONE]"], 2),
            (&[A, A, &last(5, 9), "[DONE]"], 2),
            (&[A, A, &text, "[DONE]"], 3),
            (&[A, A, A, A, A], 4),
        ] {
            let mut check = check(4, None);
            let last = payloads.iter().map(|payload| check.payload(payload.as_bytes())).last();
            assert!(matches!(last, Some(Err(_))), "{payloads:?}");
            assert_eq!(check.sound, tokens, "{payloads:?}");
        }
    }

    #[test]
    fn log_probabilities_are_counted_and_bounded() {
        let frame = |entry: &str| {
            format!(r#"{{"choices":[{{"index":0,"delta":{{"content":"a"}},"logprobs":{{"content":[{entry}]}}}}]}}"#)
        };
        let entry = r#"{"token":"a","logprob":-0.5,"bytes":[97],"top_logprobs":[{"token":"b","logprob":null}]}"#;
        let Ok(Some(Step::Piece(piece))) = check(9, Some(1)).payload(frame(entry).as_bytes()) else {
            panic!()
        };
        assert_eq!(
            (piece.logprobs[0].logprob, piece.logprobs[0].top[0].logprob),
            (-0.5, LOGPROB_LEAST)
        );
        let Ok(Some(Step::Piece(piece))) = check(9, None).payload(frame(entry).as_bytes()) else {
            panic!()
        };
        assert!(piece.logprobs.is_empty(), "nobody asked");
        let long = format!(r#"{{"token":"{}","logprob":-1}}"#, "x".repeat(TOKEN_BYTES_MAX + 1));
        for bad in [
            r#"{"token":"a","logprob":0.5}"#.to_owned(),
            long,
            format!("{entry},{entry}"),
            entry.replace("top_logprobs\":[", "top_logprobs\":[{\"token\":\"c\",\"logprob\":-1},"),
        ] {
            let got = check(9, Some(1)).payload(frame(&bad).as_bytes());
            let what = "log probabilities that no token has";
            assert_eq!(got, Err(EngineError::Protocol { what }), "{bad}");
        }
        let mut silent = check(9, Some(0));
        for payload in [A, A, &last(5, 2)] {
            let _ = silent.payload(payload.as_bytes());
        }
        let what = "tokens without the log probabilities that were asked for";
        assert_eq!(silent.payload(b"[DONE]"), Err(EngineError::Protocol { what }));
    }

    #[test]
    fn a_stop_text_is_named_only_if_it_was_given() {
        for (said, stop) in [(r#""y""#, Some(1)), (r#""z""#, None), ("5", None), ("null", None)] {
            let mut check = check(9, None);
            let payload = format!(
                r#"{{"choices":[{{"index":0,"text":"a","finish_reason":"stop","stop_reason":{said}}}],"usage":{{"prompt_tokens":5,"completion_tokens":1}}}}"#
            );
            check.payload(payload.as_bytes()).unwrap();
            let Ok(Some(Step::End(_, got, _))) = check.payload(b"[DONE]") else {
                panic!()
            };
            assert_eq!(got, stop, "{said}");
        }
    }
}
