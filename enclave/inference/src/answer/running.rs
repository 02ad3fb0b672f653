//! The answers of one request, one after the other, as the engine gives them and the guest reads them.

use hanzo_receipts::Sampling;
use tokio::time::{Instant, timeout_at};

use super::Job;
use crate::calls::{Call, Reader};
use crate::engine::{Answer, Counted, EngineError, Finish, Generate, On, Piece, Step, Usage};
use crate::error::ApiError;
use crate::request::{Ask, Prompt};
use crate::state::Serving;

/// Most tokens, likely others included, whose log probabilities one answer lists.
const LISTED_MAX: u64 = 1 << 18;

/// What comes next of a request.
pub(super) enum Event {
    /// An answer begins.
    Begin(u32),
    /// A piece of it.
    Piece(u32, Piece),
    /// All its calls.
    Calls(u32, Vec<Call>),
    /// Its end.
    End(u32, Ended),
    /// The end of the last one.
    Done(Usage),
}

/// How one answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) finish: Finish,
    /// True if it made calls.
    pub(crate) called: bool,
    /// Which stop text ended it, where the engine says so.
    pub(crate) stop: Option<usize>,
    pub(crate) usage: Usage,
}

/// The engine's work for a job, with what the receipt will say of it.
pub(super) struct Running {
    prompts: Vec<Fitting>,
    pub(super) sampling: Sampling,
    pub(super) prompt_tokens: u64,
    current: Option<(Answer, Reader)>,
    index: u32,
    begun: bool,
    waiting: Vec<Event>,
    ended_tokens: u64,
}

/// A prompt that fits.
struct Fitting {
    tokens: u64,
    /// Of each answer to it.
    max_tokens: u64,
    /// What the engine is asked in its place.
    ids: Option<Prompt>,
}

impl Running {
    /// Tokens of all answers so far.
    pub(super) fn tokens(&self) -> u64 {
        let now = self.current.as_ref().map_or(0, |(answer, _)| answer.tokens());
        self.ended_tokens.saturating_add(now)
    }

    /// As [`Running::tokens`], where all that came was also given on.
    pub(super) fn given_tokens(&self) -> Option<u64> {
        self.waiting.is_empty().then(|| self.tokens())
    }
}

impl Job {
    fn serving(&self) -> &Serving {
        &self.begun.serving
    }

    fn deadline(&self) -> Instant {
        self.begun.deadline
    }

    /// Counts the prompts, checks that the answers fit, starts the engine. Failing here leaves no receipt: nothing was
    /// answered.
    pub(super) async fn start(&mut self) -> Result<Running, ApiError> {
        let deadline = self.deadline();
        let begin = async {
            let mut prompts = Vec::new();
            let (mut prompt_tokens, mut most) = (0_u64, 0);
            for prompt in &self.ask.prompts {
                let tools = self.ask.tools.objects();
                let count = self.serving().engine.count_tokens(prompt, &tools).await;
                let Counted { count, ids } = count.map_err(|e| named(e, &self.ask))?;
                let context = self.serving().context_tokens;
                let room = context.saturating_sub(count);
                let listed = self.ask.logprobs.map(|others| LISTED_MAX / (u64::from(others) + 1));
                let max_tokens = self.ask.max_tokens.unwrap_or(room.min(listed.unwrap_or(room)));
                if let Some(most) = listed.filter(|most| max_tokens > *most) {
                    return Err(ApiError::TooMany {
                        param: "max_tokens".into(),
                        most,
                        got: max_tokens,
                    });
                }
                if max_tokens == 0 || max_tokens > room {
                    return Err(ApiError::Context {
                        param: self.ask.prompt_param,
                        prompt: count,
                        max_tokens: max_tokens.max(1),
                        context,
                    });
                }
                prompts.push(Fitting {
                    tokens: count,
                    max_tokens,
                    ids,
                });
                prompt_tokens = prompt_tokens.saturating_add(count);
                most = most.max(max_tokens);
            }
            let (answers, is_given) = (self.ask.answers().into(), self.ask.max_tokens.is_some());
            let most = self.begun.share.hold(prompt_tokens, answers, most, is_given)?;
            for prompt in &mut prompts {
                prompt.max_tokens = most.min(prompt.max_tokens);
            }
            let mut running = Running {
                prompts,
                sampling: self.ask.sampling(most),
                prompt_tokens,
                current: None,
                index: 0,
                begun: false,
                waiting: Vec::new(),
                ended_tokens: 0,
            };
            self.ask_engine(&mut running).await?;
            Ok(running)
        };
        timeout_at(deadline, begin).await.unwrap_or(Err(ApiError::Timeout))
    }

    /// Starts the engine on answer `running.index`.
    async fn ask_engine(&self, running: &mut Running) -> Result<(), ApiError> {
        let which = (running.index / self.ask.answers_each.max(1)) as usize;
        let (Some(prompt), Some(fitting)) = (self.ask.prompts.get(which), running.prompts.get(which)) else {
            return Err(ApiError::Engine(EngineError::Failed));
        };
        let generate = Generate {
            prompt: On::of(fitting.ids.as_ref().unwrap_or(prompt)),
            max_tokens: fitting.max_tokens,
            temperature: running.sampling.temperature_micros as f64 / 1e6,
            top_p: running.sampling.top_p_micros as f64 / 1e6,
            seed: self.ask.seed_of(running.index),
            stop: &self.ask.stop,
            stream: true,
            tools: self.ask.tools.objects(),
            json_schema: self.ask.enforced(),
            logprobs: self.ask.logprobs.map(|_| true),
            top_logprobs: self.ask.logprobs,
        };
        let answer = self.serving().engine.generate(&generate, fitting.tokens).await;
        let answer = answer.map_err(|e| named(e, &self.ask))?;
        running.current = Some((answer, Reader::new(&self.ask)));
        running.begun = false;
        Ok(())
    }

    pub(super) async fn next(&self, running: &mut Running) -> Result<Event, ApiError> {
        match timeout_at(self.deadline(), self.step(running)).await {
            Ok(step) => step,
            Err(_) => Err(ApiError::Timeout),
        }
    }

    async fn step(&self, running: &mut Running) -> Result<Event, ApiError> {
        loop {
            // Kept in reverse.
            if let Some(event) = running.waiting.pop() {
                return Ok(event);
            }
            let index = running.index;
            let Some((answer, reader)) = &mut running.current else {
                if index >= self.ask.answers() {
                    return Ok(Event::Done(Usage {
                        prompt_tokens: running.prompt_tokens,
                        completion_tokens: running.ended_tokens,
                    }));
                }
                self.ask_engine(running).await?;
                continue;
            };
            let step = answer.next().await?;
            if !running.begun {
                running.begun = true;
                running.waiting.push(Event::Begin(index));
            }
            match step {
                Step::Piece(piece) => {
                    if let Some(piece) = reader.push(piece) {
                        running.waiting.insert(0, Event::Piece(index, piece));
                    }
                }
                Step::End(finish, stop, usage) => {
                    let reader = running.current.take().map(|(_, reader)| reader);
                    running.ended_tokens = running.ended_tokens.saturating_add(usage.completion_tokens);
                    running.index += 1;
                    let rest = reader.map(|reader| reader.end(finish)).transpose()?;
                    let (piece, calls) = rest.map_or((None, Vec::new()), |rest| (rest.piece, rest.calls));
                    let ended = Ended {
                        finish,
                        called: !calls.is_empty(),
                        stop,
                        usage,
                    };
                    let mut events = Vec::new();
                    events.append(&mut running.waiting);
                    events.extend(piece.map(|piece| Event::Piece(index, piece)));
                    if ended.called {
                        events.push(Event::Calls(index, calls));
                    }
                    events.push(Event::End(index, ended));
                    events.reverse();
                    running.waiting = events;
                }
            }
        }
    }
}

/// An engine's refusal in the caller's own words.
pub(crate) fn named(error: EngineError, ask: &Ask) -> ApiError {
    match error {
        EngineError::Lacks { member: "json_schema" } => ApiError::Unsupported {
            param: ask.enforced_param().into(),
            hint: ": this model's engine cannot keep an answer to a schema",
        },
        EngineError::Lacks { member } => ApiError::Unsupported {
            param: member.into(),
            hint: ": this model's engine does not do it",
        },
        EngineError::Schema => ApiError::Schema {
            param: ask.enforced_param().into(),
            what: "this model's engine cannot keep an answer to that schema; simplify it",
        },
        EngineError::Context | EngineError::Template => ApiError::Prompt {
            param: ask.prompt_param,
            error,
        },
        EngineError::Absent => ApiError::ModelLacks {
            model: ask.model.clone(),
            what: "answers of this kind (a model that makes vectors serves /v1/embeddings alone)",
        },
        other => ApiError::Engine(other),
    }
}
