//! One loaded model and the answers it gives.
//!
//! Loading reads named files of one local directory and nothing else: no cache, no token, no network. Prefix cache, paged
//! attention and request logging of the library are off.

mod load;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use candle_core::Tensor;
use either::Either;
use hanzo_engine_process::{
    Abilities, Answer, Ask, Assembler, EngineOptions, Finish, GenerateError, Generation, Message, Picker, Prompt, Role,
    Sampling, Token, Turn, Turns,
};
use mistralrs::core::llguidance::toktrie::TokEnv;
use mistralrs::{
    Constraint, CustomLogitsProcessor, Model, NormalRequest, Request, RequestMessage, Response, SamplingParams,
    TextMessageRole, TextMessages,
};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

use crate::error::EngineError;

/// Answers at a time unless told otherwise: on CPU one is fastest in all, batches gain nothing.
const STREAMS: usize = 1;

/// A loaded model.
pub struct Engine {
    model: Model,
    tokens: TokEnv,
    eos: Arc<[u32]>,
    context_tokens: usize,
    turns: Turns,
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
        let streams = options.streams.unwrap_or(STREAMS).max(1);
        let loaded = load::load(&options.model_dir, streams).await?;
        let context_tokens = options.context_tokens.unwrap_or(usize::MAX).min(loaded.context_tokens);
        Ok(Self {
            model: loaded.model,
            tokens: loaded.tokens,
            eos: loaded.eos.into(),
            context_tokens,
            turns: Turns::new(streams, options.queue),
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
                Role::Tool => TextMessageRole::Tool,
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
        let turn = self.turns.turn().await?;

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
        Ok(Generation::new(prompt_tokens, tokens))
    }

    /// Answers `messages` whole and takes the times, in process: the other side of an end-to-end benchmark.
    ///
    /// # Errors
    /// As [`Engine::generate`], or the first error of the answer.
    pub async fn measure(
        &self,
        messages: &[Message],
        sampling: Sampling,
        on_token: &mut (dyn FnMut(&Token) + Send),
    ) -> Result<Answer, GenerateError> {
        hanzo_engine_process::measure(self, messages, sampling, on_token).await
    }
}

impl hanzo_engine_process::Engine for Engine {
    fn context_tokens(&self) -> usize {
        self.context_tokens()
    }

    fn abilities(&self) -> Abilities {
        Abilities {
            raw_prompts: true,
            ..Abilities::CHATS
        }
    }

    async fn tokenize(&self, prompt: &Prompt) -> Result<Vec<u32>, GenerateError> {
        match prompt {
            Prompt::Chat { messages, .. } => self.tokenize_messages(messages).await,
            Prompt::Text(text) => self.tokenize_text(text.clone()).await,
            Prompt::Tokens(ids) => Ok(ids.clone()),
        }
    }

    async fn generate(&self, prompt: &Prompt, ask: Ask) -> Result<Generation, GenerateError> {
        ask.sampling.validate()?;
        let ids = hanzo_engine_process::Engine::tokenize(self, prompt).await?;
        let known = u32::try_from(self.tokens.tok_trie().vocab_size()).unwrap_or(0);
        if ids.iter().any(|id| *id >= known) {
            return Err(GenerateError::UnknownToken { known });
        }
        self.generate(ids, ask.sampling).await
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
    _turn: Turn,
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
        let finish = match (ended || piece.stop.is_some(), full) {
            (true, _) => Some(Finish::Stop),
            (false, true) => Some(Finish::Length),
            (false, false) => None,
        };
        Token {
            id,
            text: piece.text,
            finish,
            stop: piece.stop,
            logprob: None,
        }
    }
}

/// Whether `dir` looks like a model directory; says what is missing otherwise.
pub(crate) fn check_dir(dir: &Path) -> Result<(), EngineError> {
    load::form(dir).map(|_| ())
}
