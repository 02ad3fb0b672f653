//! A loaded model and the requests to it.

use std::sync::{Arc, OnceLock, mpsc as std_mpsc};

use hanzo_engine_process::{
    Abilities, Ask, Engine, EngineOptions, GenerateError, Generation, Message, Picker, Prompt, Turns,
};
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::token::LlamaToken;
use serde_json::Value as Json;
use tokio::sync::{Semaphore, mpsc, oneshot};
use zeroize::Zeroizing;

use crate::adapter::Lora;
use crate::embedder::{Embedder, Inputs};
use crate::error::LlamaError;
use crate::grammar::{Grammar, Grammars};
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
    jobs: Jobs,
    context_tokens: usize,
}

/// The way to the thread that computes.
enum Jobs {
    Answers(std_mpsc::Sender<Job>),
    Vectors(std_mpsc::Sender<Inputs>),
}

/// What turns messages into ids; shared with blocking tasks.
struct Read {
    model: Arc<LlamaModel>,
    template: Option<Template>,
    /// Made at the first schema.
    grammars: OnceLock<Option<Grammars>>,
}

impl Llama {
    /// Loads the model directory of `options` and starts the thread that computes.
    ///
    /// # Errors
    /// [`LlamaError`]: not a model directory, unsound files, or the library's refusal.
    pub async fn load(options: &EngineOptions) -> Result<Self, LlamaError> {
        Self::load_with(options, None).await
    }

    /// The same, with an adapter on all that it computes.
    ///
    /// # Errors
    /// As [`Llama::load`]; [`LlamaError::Adapter`].
    pub async fn load_with(options: &EngineOptions, lora: Option<Lora>) -> Result<Self, LlamaError> {
        let ended = |what: &str| LlamaError::Load {
            path: options.model_dir.clone(),
            what: what.into(),
        };
        let loading = options.clone();
        let loaded = tokio::task::spawn_blocking(move || load::load(&loading, lora.as_ref()))
            .await
            .map_err(|_| ended("the task that loads ended"))??;
        let Loaded {
            model,
            adapter,
            template,
            embeds,
            context_tokens,
            streams,
            threads,
        } = loaded;
        let model = Arc::new(model);
        let (ready, is_ready) = oneshot::channel();
        let computed = Arc::clone(&model);
        let thread = std::thread::Builder::new().name("llama".into());
        let (jobs, places) = if embeds {
            let (jobs, taken) = std_mpsc::channel();
            let started =
                thread.spawn(move || Embedder::run((&computed, adapter), (context_tokens, threads), taken, ready));
            started.map_err(|error| ended(&error.to_string()))?;
            (Jobs::Vectors(jobs), 1)
        } else {
            let shape = Shape {
                context_tokens,
                streams,
                threads,
            };
            let (jobs, taken) = std_mpsc::channel();
            let started = thread.spawn(move || Worker::run((&computed, adapter), shape, taken, ready));
            started.map_err(|error| ended(&error.to_string()))?;
            (Jobs::Answers(jobs), streams)
        };
        match is_ready.await {
            Ok(true) => (),
            _ => {
                return Err(ended(
                    "the library made no context; is there memory for its keys and values? fewer `--streams` or `--context-tokens` need less",
                ));
            }
        }
        let kernels = load::kernels();
        tracing::info!(kernels, places, threads, embeds, "computing on llama.cpp");
        Ok(Self {
            texts: Arc::new(Semaphore::new(TEXTS_AT_ONCE)),
            text_bytes_max: longest_token(&model).saturating_mul(context_tokens),
            read: Arc::new(Read {
                model,
                template,
                grammars: OnceLock::new(),
            }),
            turns: Turns::new(places, options.queue),
            jobs,
            context_tokens,
        })
    }

    /// Refuses ids that are none, or too many for `room` more.
    fn check_ids(&self, ids: &[u32], room: usize) -> Result<(), GenerateError> {
        if ids.is_empty() {
            return Err(GenerateError::EmptyPrompt);
        }
        let known = u32::try_from(self.read.model.n_vocab()).unwrap_or(0);
        if ids.iter().any(|id| *id >= known) {
            return Err(GenerateError::UnknownToken { known });
        }
        if ids.len() + room > self.context_tokens {
            return Err(GenerateError::ContextLength {
                prompt_tokens: ids.len(),
                context_tokens: self.context_tokens,
            });
        }
        Ok(())
    }

    /// Runs `work` on what reads texts and schemas, once there is a place.
    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Read) -> T + Send + 'static,
    ) -> Result<T, GenerateError> {
        let place = Arc::clone(&self.texts).acquire_owned().await;
        let place = place.map_err(|_| GenerateError::Refused)?;
        let read = Arc::clone(&self.read);
        let working = tokio::task::spawn_blocking(move || {
            let done = work(&read);
            drop(place);
            done
        });
        working.await.map_err(|_| GenerateError::Refused)
    }

    /// Ids of a text. Text that no context could hold is not looked at.
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
        self.read(move |read| of(read, &text)).await
    }

    async fn grammar(&self, schema: Json) -> Result<Grammar, GenerateError> {
        let compiled = self.read(move |read| {
            let grammars = read.grammars.get_or_init(|| Grammars::of(&read.model.vocab()));
            grammars.as_ref().ok_or(GenerateError::Schema)?.compile(&schema)
        });
        compiled.await?
    }
}

impl Read {
    fn render(&self, messages: &[Message], tools: &[Json]) -> Result<String, GenerateError> {
        let template = self.template.as_ref();
        let template = template.ok_or(GenerateError::Unsupported { what: "chats" })?;
        template.render(messages, tools)
    }

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

    /// Ids of a text that is no chat, with what the tokenizer puts around one.
    fn plain(&self, text: &str) -> Vec<u32> {
        tokens(self.model.vocab().tokenize(text.as_bytes(), true, true)).collect()
    }
}

fn tokens(tokens: Vec<LlamaToken>) -> impl Iterator<Item = u32> {
    tokens.into_iter().filter_map(|token| u32::try_from(token.0).ok())
}

impl Engine for Llama {
    fn context_tokens(&self) -> usize {
        self.context_tokens
    }

    fn abilities(&self) -> Abilities {
        let answers = matches!(self.jobs, Jobs::Answers(_));
        Abilities {
            chats: answers,
            tools: answers,
            schemas: answers,
            logprobs: answers,
            raw_prompts: answers,
            embeddings: !answers,
        }
    }

    async fn tokenize(&self, prompt: &Prompt) -> Result<Vec<u32>, GenerateError> {
        match prompt {
            Prompt::Chat { messages, tools } => {
                let text = Zeroizing::new(self.read.render(messages, tools)?);
                self.ids(text, Read::prompt).await
            }
            Prompt::Text(text) => self.ids(Zeroizing::new(text.clone()), Read::plain).await,
            Prompt::Tokens(ids) => Ok(ids.clone()),
        }
    }

    async fn generate(&self, prompt: &Prompt, ask: Ask) -> Result<Generation, GenerateError> {
        let Jobs::Answers(jobs) = &self.jobs else {
            return Err(GenerateError::Unsupported { what: "answers" });
        };
        let Ask {
            sampling,
            schema,
            logprobs,
        } = ask;
        sampling.validate()?;
        let ids = Zeroizing::new(self.tokenize(prompt).await?);
        self.check_ids(&ids, 1)?;
        let grammar = match schema {
            Some(schema) => Some(self.grammar(schema).await?),
            None => None,
        };
        let prompt_tokens = ids.len();
        let max_tokens = sampling.max_tokens.min(self.context_tokens - prompt_tokens);
        let turn = self.turns.turn().await?;
        let (out, tokens) = mpsc::unbounded_channel();
        let job = Job {
            picker: Picker::new(&sampling),
            stop: sampling.stop,
            ids,
            max_tokens,
            grammar,
            logprobs,
            marks: matches!(prompt, Prompt::Chat { tools, .. } if !tools.is_empty()),
            out,
            turn,
        };
        jobs.send(job).map_err(|_| GenerateError::Refused)?;
        Ok(Generation::new(prompt_tokens, tokens))
    }

    async fn embed(&self, inputs: &[Prompt]) -> Result<(Vec<Vec<f32>>, usize), GenerateError> {
        let Jobs::Vectors(jobs) = &self.jobs else {
            return Err(GenerateError::Unsupported { what: "embeddings" });
        };
        let mut all = Vec::with_capacity(inputs.len());
        let mut count = 0;
        for input in inputs {
            let ids = Zeroizing::new(self.tokenize(input).await?);
            self.check_ids(&ids, 0)?;
            count += ids.len();
            all.push(ids);
        }
        let turn = self.turns.turn().await?;
        let (out, vectors) = oneshot::channel();
        let inputs = Inputs { ids: all, out, turn };
        jobs.send(inputs).map_err(|_| GenerateError::Refused)?;
        let vectors = vectors.await.map_err(|_| GenerateError::EndedEarly)??;
        Ok((vectors, count))
    }
}
