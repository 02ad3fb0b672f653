//! One loaded model and the answers it gives.
//!
//! Loading reads named files of one local directory and nothing else: no cache, no token, no network. Prefix cache, paged
//! attention and request logging of the library are off.

mod load;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use candle_core::Tensor;
use either::Either;
use mistralrs::core::llguidance::toktrie::TokEnv;
use mistralrs::{
    Constraint, CustomLogitsProcessor, Model, NormalRequest, Request, RequestMessage, Response, SamplingParams,
    TextMessageRole, TextMessages,
};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::{EngineError, GenerateError};
use crate::options::EngineOptions;
use crate::sampling::{Picker, Sampling};
use crate::text::Assembler;

/// Who speaks in a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Instructions.
    System,
    /// The person.
    User,
    /// The model.
    Assistant,
}

/// One message of a chat; text alone.
#[derive(Clone, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub content: String,
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// The model's end token, or a stop string.
    Stop,
    /// `max_tokens`, or the end of the context.
    Length,
}

impl Finish {
    /// As OpenAI writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
        }
    }
}

/// One token of an answer. Its text may be empty: an end token, half a character, a possible stop string.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// The token's id.
    pub id: u32,
    /// Text that became certain with it.
    pub text: String,
    /// Set on the last token.
    pub finish: Option<Finish>,
}

/// An answer in the making. Dropping it cancels the computation at the next token.
pub struct Generation {
    /// Tokens of the prompt, template included.
    pub prompt_tokens: usize,
    tokens: UnboundedReceiver<Result<Token, GenerateError>>,
}

impl Generation {
    /// The next token; `None` after the last one or an error.
    pub async fn next(&mut self) -> Option<Result<Token, GenerateError>> {
        self.tokens.recv().await
    }
}

/// A whole answer with its times, for benchmarks.
#[derive(Clone, PartialEq)]
pub struct Answer {
    /// The text.
    pub text: String,
    /// The ids, end token included.
    pub ids: Vec<u32>,
    /// Why it ended.
    pub finish: Finish,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// From the call to the first token.
    pub time_to_first_token: Duration,
    /// From the first token to the last.
    pub decode_time: Duration,
}

impl Answer {
    /// Tokens a second after the first.
    pub fn tokens_per_second(&self) -> f64 {
        (self.ids.len().saturating_sub(1)) as f64 / self.decode_time.as_secs_f64().max(1e-9)
    }
}

/// A loaded model.
pub struct Engine {
    model: Model,
    tokens: TokEnv,
    eos: Arc<[u32]>,
    context_tokens: usize,
    turns: Arc<Semaphore>,
    waiting: AtomicUsize,
    queue: usize,
}

impl Engine {
    /// Loads the model directory of `options`. Needs a multi-threaded tokio runtime.
    ///
    /// # Errors
    /// [`EngineError`]: not a model directory, unsound files, or the library's reason.
    pub async fn load(options: &EngineOptions) -> Result<Self, EngineError> {
        if let Some(threads) = options.threads {
            // Fails only if a pool exists already, whose size then stays.
            let _ = rayon::ThreadPoolBuilder::new()
                .num_threads(threads.max(1))
                .build_global();
        }
        let loaded = load::load(&options.model_dir, options.streams.max(1)).await?;
        let context_tokens = options.context_tokens.unwrap_or(usize::MAX).min(loaded.context_tokens);
        Ok(Self {
            model: loaded.model,
            tokens: loaded.tokens,
            eos: loaded.eos.into(),
            context_tokens,
            turns: Arc::new(Semaphore::new(options.streams.max(1))),
            waiting: AtomicUsize::new(0),
            queue: options.queue,
        })
    }

    /// Tokens the context holds, prompt and answer together.
    pub fn context_tokens(&self) -> usize {
        self.context_tokens
    }

    /// Ids of `messages` under the model's chat template, ending where the assistant speaks.
    ///
    /// # Errors
    /// [`GenerateError::Template`] when the template refuses them.
    pub async fn tokenize_messages(&self, messages: &[Message]) -> Result<Vec<u32>, GenerateError> {
        let mut chat = TextMessages::new();
        for message in messages {
            let role = match message.role {
                Role::System => TextMessageRole::System,
                Role::User => TextMessageRole::User,
                Role::Assistant => TextMessageRole::Assistant,
            };
            chat = chat.add_message(role, &message.content);
        }
        let ids = self.model.tokenize(Either::Left(chat), None, true, true, None).await;
        ids.map_err(|_| GenerateError::Template)
    }

    /// Ids of plain text, without template or added special tokens.
    ///
    /// # Errors
    /// [`GenerateError::Refused`] when the library cannot tokenise it.
    pub async fn tokenize_text(&self, text: String) -> Result<Vec<u32>, GenerateError> {
        let ids = self.model.tokenize(Either::Right(text), None, false, false, None).await;
        ids.map_err(|_| GenerateError::Refused)
    }

    /// Begins an answer to `messages`.
    ///
    /// # Errors
    /// Template, context length, parameters out of range, or too many waiting.
    pub async fn chat(&self, messages: &[Message], sampling: Sampling) -> Result<Generation, GenerateError> {
        sampling.validate()?;
        let ids = self.tokenize_messages(messages).await?;
        self.generate(ids, sampling).await
    }

    /// Begins an answer to a prompt given as token ids. Waits for its turn.
    ///
    /// # Errors
    /// Context length, parameters out of range, or too many waiting.
    pub async fn generate(&self, prompt: Vec<u32>, sampling: Sampling) -> Result<Generation, GenerateError> {
        sampling.validate()?;
        let prompt_tokens = prompt.len();
        if prompt.is_empty() {
            return Err(GenerateError::EmptyPrompt);
        }
        if prompt_tokens >= self.context_tokens {
            return Err(GenerateError::ContextLength {
                prompt_tokens,
                context_tokens: self.context_tokens,
            });
        }
        let max_tokens = sampling.max_tokens.min(self.context_tokens - prompt_tokens);
        let turn = self.turn().await?;

        let (picked, picks) = mpsc::unbounded_channel();
        let (responses_in, responses) = mpsc::channel(1);
        let (out, tokens) = mpsc::unbounded_channel();
        let cancelled = Arc::new(AtomicBool::new(false));
        let end = self.eos.first().copied().ok_or(GenerateError::Refused)?;
        let tap = Tap {
            picker: Picker::new(&sampling),
            picked,
            cancelled: Arc::clone(&cancelled),
            end,
        };
        let request = Request::Normal(Box::new(NormalRequest {
            messages: RequestMessage::CompletionTokens(prompt),
            sampling_params: SamplingParams {
                temperature: Some(0.0),
                max_len: Some(max_tokens),
                ..SamplingParams::neutral()
            },
            response: responses_in,
            return_logprobs: false,
            is_streaming: false,
            id: 0,
            constraint: Constraint::None,
            suffix: None,
            tools: None,
            tool_choice: None,
            logits_processors: Some(vec![Arc::new(tap) as Arc<dyn CustomLogitsProcessor>]),
            return_raw_logits: false,
            web_search_options: None,
            model_id: None,
            truncate_sequence: false,
        }));
        let sender = self
            .model
            .inner()
            .get_sender(None)
            .map_err(|_| GenerateError::Refused)?;
        sender.send(request).await.map_err(|_| GenerateError::Refused)?;
        let follow = Follow {
            words: self.tokens.clone(),
            eos: Arc::clone(&self.eos),
            text: Assembler::new(sampling.stop),
            max_tokens,
            out,
            cancelled,
            _turn: turn,
        };
        tokio::spawn(follow.run(picks, Answerable(Some(responses))));
        Ok(Generation { prompt_tokens, tokens })
    }

    /// Answers `messages` whole and takes the times, in process: the other side of an end-to-end benchmark.
    ///
    /// # Errors
    /// As [`Engine::chat`], or the first error of the answer.
    pub async fn measure(
        &self,
        messages: &[Message],
        sampling: Sampling,
        on_token: &mut dyn FnMut(&Token),
    ) -> Result<Answer, GenerateError> {
        let start = Instant::now();
        let mut generation = self.chat(messages, sampling).await?;
        let (mut text, mut ids, mut first) = (String::new(), Vec::new(), None);
        while let Some(token) = generation.next().await {
            let token = token?;
            let first = *first.get_or_insert_with(Instant::now);
            on_token(&token);
            text.push_str(&token.text);
            ids.push(token.id);
            if let Some(finish) = token.finish {
                return Ok(Answer {
                    text,
                    ids,
                    finish,
                    prompt_tokens: generation.prompt_tokens,
                    time_to_first_token: first - start,
                    decode_time: first.elapsed(),
                });
            }
        }
        Err(GenerateError::EndedEarly)
    }

    async fn turn(&self) -> Result<OwnedSemaphorePermit, GenerateError> {
        if let Ok(turn) = Arc::clone(&self.turns).try_acquire_owned() {
            return Ok(turn);
        }
        let waiting = Waiting::enter(&self.waiting);
        if waiting.before >= self.queue {
            return Err(GenerateError::Busy {
                waiting: waiting.before,
            });
        }
        Arc::clone(&self.turns)
            .acquire_owned()
            .await
            .map_err(|_| GenerateError::Refused)
    }
}

/// Counts a caller in the queue for as long as it lives, also when the caller goes away.
struct Waiting<'a> {
    count: &'a AtomicUsize,
    before: usize,
}

impl<'a> Waiting<'a> {
    fn enter(count: &'a AtomicUsize) -> Self {
        Self {
            count,
            before: count.fetch_add(1, Ordering::SeqCst),
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Sits where the library samples: chooses the token, reports it, and leaves the library no other choice.
struct Tap {
    picker: Picker,
    picked: UnboundedSender<u32>,
    cancelled: Arc<AtomicBool>,
    end: u32,
}

impl CustomLogitsProcessor for Tap {
    fn apply(&self, logits: &Tensor, context: &[u32]) -> candle_core::Result<Tensor> {
        let values: Vec<f32> = logits.to_vec1()?;
        // A cancelled answer ends with the end token: the library then frees the sequence in its ordinary way.
        // So does one with unusable logits; the sender is not used, and the follower reports the missing token.
        let choice = if self.cancelled.load(Ordering::SeqCst) {
            None
        } else {
            self.picker.pick(&values, context.len())
        };
        if let Some(id) = choice {
            let _ = self.picked.send(id);
        }
        let mut only = vec![f32::NEG_INFINITY; values.len()];
        if let Some(slot) = only.get_mut(choice.unwrap_or(self.end) as usize) {
            *slot = 0.0;
        }
        Tensor::from_vec(only, values.len(), logits.device())
    }
}

/// The library's reply channel. The library panics when it cannot deliver, so a receiver whose follower is dropped early
/// (a runtime shutting down) is leaked instead of closed.
struct Answerable(Option<mpsc::Receiver<Response>>);

impl Answerable {
    async fn recv(&mut self) -> Option<Response> {
        let response = match &mut self.0 {
            Some(receiver) => receiver.recv().await,
            None => None,
        };
        self.0 = None;
        response
    }
}

impl Drop for Answerable {
    fn drop(&mut self) {
        std::mem::forget(self.0.take());
    }
}

/// Follows one answer to its end, also after its reader has gone: the library must always find someone to answer to.
struct Follow {
    words: TokEnv,
    eos: Arc<[u32]>,
    text: Assembler,
    max_tokens: usize,
    out: UnboundedSender<Result<Token, GenerateError>>,
    cancelled: Arc<AtomicBool>,
    _turn: OwnedSemaphorePermit,
}

impl Follow {
    async fn run(mut self, mut picks: UnboundedReceiver<u32>, mut responses: Answerable) {
        let mut count = 0;
        let mut open = true;
        loop {
            tokio::select! {
                biased;
                Some(id) = picks.recv() => {
                    if !open {
                        continue;
                    }
                    count += 1;
                    let token = self.token(id, count);
                    open = token.finish.is_none();
                    if self.out.send(Ok(token)).is_err() {
                        open = false;
                    }
                    if !open {
                        self.cancelled.store(true, Ordering::SeqCst);
                    }
                }
                response = responses.recv() => {
                    if open {
                        let error = match response {
                            Some(Response::ValidationError(_)) => GenerateError::Refused,
                            Some(Response::InternalError(_) | Response::CompletionModelError(..)) => GenerateError::ModelFailed,
                            _ => GenerateError::EndedEarly,
                        };
                        let _ = self.out.send(Err(error));
                    }
                    return;
                }
                () = self.out.closed(), if open => {
                    open = false;
                    self.cancelled.store(true, Ordering::SeqCst);
                }
            }
        }
    }

    fn token(&mut self, id: u32, count: usize) -> Token {
        let ended = self.eos.contains(&id);
        let full = count >= self.max_tokens;
        let bytes = if ended {
            Vec::new()
        } else {
            self.words.tok_trie().decode_ext(&[id], false)
        };
        let piece = self.text.push(&bytes, ended || full);
        let finish = match (ended || piece.stopped, full) {
            (true, _) => Some(Finish::Stop),
            (false, true) => Some(Finish::Length),
            (false, false) => None,
        };
        Token {
            id,
            text: piece.text,
            finish,
        }
    }
}

/// Whether `dir` looks like a model directory; says what is missing otherwise.
pub(crate) fn check_dir(dir: &Path) -> Result<(), EngineError> {
    load::form(dir).map(|_| ())
}
