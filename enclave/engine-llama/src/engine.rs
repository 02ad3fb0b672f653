//! A loaded model and the requests to it.

use std::sync::{Arc, mpsc as std_mpsc};

use hanzo_engine_process::{Engine, EngineOptions, GenerateError, Generation, Message, Picker, Sampling, Turns};
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::token::LlamaToken;
use tokio::sync::{Semaphore, mpsc, oneshot};
use zeroize::Zeroizing;

use crate::error::LlamaError;
use crate::load::{self, Loaded};
use crate::template::Template;
use crate::vocabulary::longest_token;
use crate::worker::{Job, Shape, Worker};

/// Texts that become ids at the same time. One that is begun is finished even if its caller has left, so it keeps its place
/// until then: callers who come and go do not multiply the work.
const TEXTS_AT_ONCE: usize = 2;

/// A model on llama.cpp.
pub struct Llama {
    /// Places for [`TEXTS_AT_ONCE`].
    texts: Arc<Semaphore>,
    /// Bytes of text that no context can hold the tokens of.
    text_bytes_max: usize,
    read: Arc<Read>,
    turns: Turns,
    jobs: std_mpsc::Sender<Job>,
    context_tokens: usize,
}

/// What turns messages into ids; shared with blocking tasks.
struct Read {
    model: Arc<LlamaModel>,
    template: Template,
}

impl Llama {
    /// Loads the model directory of `options` and starts the thread that computes.
    ///
    /// # Errors
    /// [`LlamaError`]: not a model directory, unsound files, or the library's refusal.
    pub async fn load(options: &EngineOptions) -> Result<Self, LlamaError> {
        let ended = |what: &str| LlamaError::Load {
            path: options.model_dir.clone(),
            what: what.into(),
        };
        let loading = options.clone();
        let loaded = tokio::task::spawn_blocking(move || load::load(&loading))
            .await
            .map_err(|_| ended("the task that loads ended"))??;
        let Loaded {
            model,
            template,
            context_tokens,
            streams,
            threads,
        } = loaded;
        let model = Arc::new(model);
        let shape = Shape {
            context_tokens,
            streams,
            threads,
        };
        let (jobs, taken) = std_mpsc::channel();
        let (ready, is_ready) = oneshot::channel();
        let computed = Arc::clone(&model);
        std::thread::Builder::new()
            .name("llama".into())
            .spawn(move || Worker::run(&computed, shape, taken, ready))
            .map_err(|error| ended(&error.to_string()))?;
        match is_ready.await {
            Ok(true) => (),
            _ => {
                return Err(ended(
                    "the library made no context; is there memory for its keys and values? fewer `--streams` or `--context-tokens` need less",
                ));
            }
        }
        tracing::info!(streams, threads, "computing on llama.cpp");
        Ok(Self {
            texts: Arc::new(Semaphore::new(TEXTS_AT_ONCE)),
            text_bytes_max: longest_token(&model).saturating_mul(context_tokens),
            read: Arc::new(Read { model, template }),
            turns: Turns::new(streams, options.queue),
            jobs,
            context_tokens,
        })
    }

    /// Begins an answer to a prompt given as token ids. Waits for its turn.
    ///
    /// # Errors
    /// Context length, ids outside the vocabulary, parameters out of range, or too many waiting.
    pub async fn generate(&self, prompt: Vec<u32>, sampling: Sampling) -> Result<Generation, GenerateError> {
        let prompt = Zeroizing::new(prompt);
        sampling.validate()?;
        let prompt_tokens = prompt.len();
        if prompt.is_empty() {
            return Err(GenerateError::EmptyPrompt);
        }
        let known = u32::try_from(self.read.model.n_vocab()).unwrap_or(0);
        if prompt.iter().any(|id| *id >= known) {
            return Err(GenerateError::Refused);
        }
        if prompt_tokens >= self.context_tokens {
            return Err(GenerateError::ContextLength {
                prompt_tokens,
                context_tokens: self.context_tokens,
            });
        }
        let max_tokens = sampling.max_tokens.min(self.context_tokens - prompt_tokens);
        let turn = self.turns.turn().await?;
        let (out, tokens) = mpsc::unbounded_channel();
        let job = Job {
            picker: Picker::new(&sampling),
            stop: sampling.stop,
            ids: prompt,
            max_tokens,
            out,
            turn,
        };
        self.jobs.send(job).map_err(|_| GenerateError::Refused)?;
        Ok(Generation::new(prompt_tokens, tokens))
    }
}

impl Llama {
    /// Ids of a text, once there is a place. Text that no context could hold is not looked at.
    async fn ids(
        &self,
        text: Zeroizing<String>,
        of: impl FnOnce(&Read, &str) -> Vec<u32> + Send + 'static,
    ) -> Result<Vec<u32>, GenerateError> {
        if text.len() > self.text_bytes_max {
            return Err(GenerateError::TextLength {
                bytes: text.len(),
                bytes_max: self.text_bytes_max,
            });
        }
        let place = Arc::clone(&self.texts).acquire_owned().await;
        let place = place.map_err(|_| GenerateError::Refused)?;
        let read = Arc::clone(&self.read);
        let ids = tokio::task::spawn_blocking(move || {
            let ids = of(&read, &text);
            drop(place);
            ids
        });
        ids.await.map_err(|_| GenerateError::Refused)
    }
}

impl Read {
    /// Ids of a rendered prompt: what looks like a special token is one, as in llama.cpp's own server; a beginning token
    /// that the model wants and the template did not write is put before it.
    fn prompt(&self, text: &str) -> Vec<u32> {
        let vocab = self.model.vocab();
        let mut ids = Vec::new();
        if vocab.should_add_bos() && vocab.bos().0 >= 0 {
            let written = vocab.text(vocab.bos()).is_some_and(|bos| {
                let bos = bos.to_bytes();
                !bos.is_empty() && text.as_bytes().starts_with(bos)
            });
            if !written {
                ids.extend(u32::try_from(vocab.bos().0));
            }
        }
        ids.extend(tokens(vocab.tokenize(text.as_bytes(), false, true)));
        ids
    }
}

fn tokens(tokens: Vec<LlamaToken>) -> impl Iterator<Item = u32> {
    tokens.into_iter().filter_map(|token| u32::try_from(token.0).ok())
}

impl Engine for Llama {
    fn context_tokens(&self) -> usize {
        self.context_tokens
    }

    async fn tokenize_messages(&self, messages: &[Message]) -> Result<Vec<u32>, GenerateError> {
        let text = Zeroizing::new(self.read.template.render(messages)?);
        self.ids(text, Read::prompt).await
    }

    async fn tokenize_text(&self, text: String) -> Result<Vec<u32>, GenerateError> {
        let plain = |read: &Read, text: &str| {
            let ids = read.model.vocab().tokenize(text.as_bytes(), false, false);
            tokens(ids).collect()
        };
        self.ids(Zeroizing::new(text), plain).await
    }

    async fn chat(&self, messages: &[Message], sampling: Sampling) -> Result<Generation, GenerateError> {
        sampling.validate()?;
        let ids = self.tokenize_messages(messages).await?;
        self.generate(ids, sampling).await
    }
}
