//! Events of an answer to tokens, with every count checked.

use hanzo_engine_process::{Assembler, Finish, GenerateError, Token};
use serde::Deserialize;
use serde::de::IgnoredAny;
use tokio::sync::mpsc::UnboundedSender;

use crate::breach::Breach;
use crate::events::Events;

/// The id of a token whose id the server does not state.
const UNSTATED: u32 = u32::MAX;

/// One event. The list is closed: what is not here is refused.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Chunk {
    object: String,
    choices: Vec<Choice>,
    #[serde(default)]
    usage: Option<Usage>,
    #[serde(default, rename = "id")]
    _id: IgnoredAny,
    #[serde(default, rename = "created")]
    _created: IgnoredAny,
    #[serde(default, rename = "model")]
    _model: IgnoredAny,
    #[serde(default, rename = "system_fingerprint")]
    _system_fingerprint: IgnoredAny,
    #[serde(default, rename = "timings")]
    _timings: IgnoredAny,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Choice {
    index: u32,
    text: String,
    #[serde(default)]
    logprobs: Option<IgnoredAny>,
    #[serde(default)]
    finish_reason: Option<Reason>,
    #[serde(default, rename = "stop_reason")]
    _stop_reason: IgnoredAny,
    #[serde(default)]
    token_ids: Option<Vec<u32>>,
    #[serde(default)]
    prompt_token_ids: Option<Vec<u32>>,
    #[serde(default, rename = "prompt_logprobs")]
    _prompt_logprobs: Option<()>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Reason {
    Stop,
    Length,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(deny_unknown_fields)]
struct Usage {
    prompt_tokens: usize,
    completion_tokens: usize,
    total_tokens: usize,
    // How much of the prompt was computed before goes nowhere.
    #[serde(default, rename = "prompt_tokens_details")]
    _prompt_tokens_details: IgnoredAny,
}

/// What was asked, and what of the answer has been told so far.
pub(crate) struct Answer {
    pub(crate) ids: Vec<u32>,
    pub(crate) max_tokens: usize,
    pub(crate) states_ids: bool,
    pub(crate) assembler: Assembler,
    pub(crate) out: UnboundedSender<Result<Token, GenerateError>>,
    /// Tokens that the server has shown, and those of them that were told.
    seen: usize,
    told: usize,
    /// Text that waits for the end.
    held: Vec<u8>,
    finish: Option<Finish>,
    usage: Option<Usage>,
}

impl Answer {
    pub(crate) fn new(
        ids: Vec<u32>,
        max_tokens: usize,
        states_ids: bool,
        stops: Vec<String>,
        out: UnboundedSender<Result<Token, GenerateError>>,
    ) -> Self {
        Self {
            ids,
            max_tokens,
            states_ids,
            assembler: Assembler::new(stops),
            out,
            seen: 0,
            told: 0,
            held: Vec::new(),
            finish: None,
            usage: None,
        }
    }

    /// Tells every token of `events`, or the error that ends them.
    pub(crate) async fn follow(mut self, mut events: Events) {
        if let Err(breach) = self.read(&mut events).await {
            let _ = self.out.send(Err(breach.into()));
        }
    }

    async fn read(&mut self, events: &mut Events) -> Result<(), Breach> {
        loop {
            let Some(data) = events.next().await? else {
                return Err(Breach::EndedEarly);
            };
            if data.as_slice() == b"[DONE]" {
                break;
            }
            if self.take(&data)? {
                // A stop text: dropping the connection ends the computation.
                return Ok(());
            }
        }
        if events.next().await?.is_some() {
            return Err(Breach::Shape("an event stands after the end"));
        }
        self.end()
    }

    /// Whether a stop text was reached.
    fn take(&mut self, data: &[u8]) -> Result<bool, Breach> {
        let chunk: Chunk = match serde_json::from_slice(data) {
            Ok(chunk) => chunk,
            Err(_) if says_error(data) => return Err(Breach::Failed),
            Err(_) => return Err(Breach::Shape("an event with other members")),
        };
        if chunk.object != "text_completion" {
            return Err(Breach::Shape("`object` is not text_completion"));
        }
        let mut choices = chunk.choices.into_iter();
        let choice = choices.next();
        if choices.next().is_some() {
            return Err(Breach::Shape("an event has several choices"));
        }
        let stopped = match choice {
            Some(choice) => self.choice(choice)?,
            None if chunk.usage.is_none() => return Err(Breach::Shape("an event has neither choice nor usage")),
            None => false,
        };
        if let Some(usage) = chunk.usage {
            if self.finish.is_none() {
                return Err(Breach::Counts("usage before the end"));
            }
            if self.usage.replace(usage).is_some() {
                return Err(Breach::Counts("usage twice"));
            }
        }
        Ok(stopped)
    }

    fn choice(&mut self, choice: Choice) -> Result<bool, Breach> {
        if choice.index != 0 {
            return Err(Breach::Shape("a choice that nobody asked for"));
        }
        if choice.logprobs.is_some() {
            return Err(Breach::Shape("log probabilities that nobody asked for"));
        }
        if self.finish.is_some() {
            return Err(Breach::Shape("a choice stands after the end"));
        }
        if choice.prompt_token_ids.is_some_and(|ids| ids != self.ids) {
            return Err(Breach::Counts("it computed on another prompt"));
        }
        let ids = choice.token_ids.unwrap_or_default();
        let tokens = match (self.states_ids, ids.is_empty(), choice.text.is_empty()) {
            (true, true, false) => return Err(Breach::Counts("text without the ids of its tokens")),
            (true, ..) => ids.len(),
            (false, false, _) => return Err(Breach::Shape("ids that nobody asked for")),
            (false, true, is_empty) => usize::from(!is_empty),
        };
        self.seen = self.seen.saturating_add(tokens);
        if self.seen > self.max_tokens {
            return Err(Breach::Counts("more tokens than were asked for"));
        }
        self.finish = choice.finish_reason.map(|reason| match reason {
            Reason::Stop => Finish::Stop,
            Reason::Length => Finish::Length,
        });
        // The last token carries the end, which is known with the usage.
        if self.finish.is_some() || self.seen == self.max_tokens {
            self.held.extend_from_slice(choice.text.as_bytes());
            return Ok(false);
        }
        let Some(before) = tokens.checked_sub(1) else {
            return Ok(false);
        };
        let stated = |at: usize| ids.get(at).copied().unwrap_or(UNSTATED);
        for at in 0..before {
            self.tell(stated(at), String::new(), None, None);
        }
        let piece = self.assembler.push(choice.text.as_bytes(), false);
        let finish = piece.stop.as_ref().map(|_| Finish::Stop);
        self.tell(stated(before), piece.text, finish, piece.stop);
        Ok(finish.is_some())
    }

    fn end(&mut self) -> Result<(), Breach> {
        let (Some(finish), Some(usage)) = (self.finish, self.usage) else {
            return Err(Breach::Counts("no finish_reason or no usage"));
        };
        let count = usage.completion_tokens;
        if usage.prompt_tokens != self.ids.len() || usage.prompt_tokens.checked_add(count) != Some(usage.total_tokens) {
            return Err(Breach::Counts("other prompt or total tokens than were asked on"));
        }
        if count < self.seen || count > self.max_tokens || (self.states_ids && count != self.seen) {
            return Err(Breach::Counts("completion_tokens that differ from the answer"));
        }
        if finish == Finish::Length && count != self.max_tokens {
            return Err(Breach::Counts("length before max_tokens"));
        }
        let Some(before) = count.checked_sub(self.told).and_then(|left| left.checked_sub(1)) else {
            return Err(Breach::Counts("an end without a token"));
        };
        for _ in 0..before {
            self.tell(UNSTATED, String::new(), None, None);
        }
        let piece = self.assembler.push(&std::mem::take(&mut self.held), true);
        let finish = piece.stop.as_ref().map_or(finish, |_| Finish::Stop);
        self.tell(UNSTATED, piece.text, Some(finish), piece.stop);
        Ok(())
    }

    fn tell(&mut self, id: u32, text: String, finish: Option<Finish>, stop: Option<String>) {
        self.told += 1;
        // Nobody listens any more: the task that drives this is about to be dropped.
        let _ = self.out.send(Ok(Token {
            id,
            text,
            finish,
            stop,
            logprob: None,
        }));
    }
}

/// Both servers write `{"error": …}` when they fail after the head.
fn says_error(data: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Failure {
        #[serde(rename = "error")]
        _error: IgnoredAny,
    }
    serde_json::from_slice::<Failure>(data).is_ok()
}
