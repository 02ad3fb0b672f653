//! From a model directory to a mapped model.

use std::io;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use hanzo_engine_process::{EngineOptions, gguf};
use llama_cpp_2::context::params::LlamaContextParams;
use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::model::params::LlamaModelParams;
use llama_cpp_2::token::LlamaToken;
use llama_cpp_2::{LogOptions, list_llama_ggml_backend_devices, send_logs_to_tracing};
use tracing_subscriber::filter::LevelFilter;

use crate::adapter::{Adapter, Lora};
use crate::batch::STEP_TOKENS;
use crate::error::LlamaError;
use crate::model_dir::{self, ENCODERS};
use crate::template::Template;
use crate::vocabulary;

/// Answers at a time unless told otherwise. Each has key-value memory for a whole context of its own.
const STREAMS: usize = 4;
/// Most answers at a time: a step must have room for a token of each.
const STREAMS_MAX: usize = 64;
/// The library divides its memory into parts of a multiple of this.
const CONTEXT_STEP: usize = 256;
/// Tokens of one input of a model that makes vectors, unless told otherwise: it is computed in one step, whose buffers grow with
/// the square of it.
const INPUT_TOKENS: usize = 2048;

/// A model and the shape of the computation on it.
pub(crate) struct Loaded {
    pub model: LlamaModel,
    /// What all of it is computed with.
    pub adapter: Option<Adapter>,
    /// A model that makes vectors needs none.
    pub template: Option<Template>,
    /// It makes vectors, and no answers.
    pub embeds: bool,
    pub context_tokens: usize,
    pub streams: usize,
    pub threads: usize,
}

/// The library is set up once in a process and never torn down.
static LIBRARY: Mutex<Option<LlamaBackend>> = Mutex::new(None);
/// Which kernels the library chose for this processor.
static KERNELS: OnceLock<String> = OnceLock::new();

/// `avx2`, `avx512` or `amx`; `unknown` before the library is set up.
pub(crate) fn kernels() -> &'static str {
    KERNELS.get().map_or("unknown", String::as_str)
}

/// Sets the library up. Its only word on the choice is in its log (`kernels.c`).
fn set_up() -> Option<LlamaBackend> {
    let said = Said::default();
    let writer = said.clone();
    let listener = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::INFO)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let library = tracing::subscriber::with_default(listener, || {
        // What it says while it loads may be logged; `Worker` silences it before the first prompt.
        send_logs_to_tracing(LogOptions::default());
        let library = LlamaBackend::init().ok();
        let _ = list_llama_ggml_backend_devices();
        library
    });
    let said = said.0.lock().unwrap_or_else(PoisonError::into_inner);
    let said = String::from_utf8_lossy(&said);
    let line = said.lines().find(|line| line.contains("ggml::kernels"));
    let chosen = ["amx", "avx512", "avx2"]
        .into_iter()
        .find(|set| line.is_some_and(|line| line.split_whitespace().any(|word| word == *set)));
    let _ = KERNELS.set(chosen.unwrap_or("unknown").to_owned());
    library
}

/// What the library said.
#[derive(Clone, Default)]
struct Said(Arc<Mutex<Vec<u8>>>);

impl io::Write for Said {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Runs `with` on the library, set up.
pub(crate) fn library<T>(with: impl FnOnce(&mut LlamaBackend) -> T) -> Option<T> {
    let mut library: MutexGuard<'_, _> = LIBRARY.lock().unwrap_or_else(PoisonError::into_inner);
    if library.is_none() {
        *library = set_up();
    }
    library.as_mut().map(with)
}

/// Checks the files, then lets the library map them.
///
/// # Errors
/// [`LlamaError`]: what is missing, malformed or not for this engine, before the library sees any of it; then its own refusal.
pub(crate) fn load(options: &EngineOptions, lora: Option<&Lora>) -> Result<Loaded, LlamaError> {
    let (weights, template_file) = model_dir::check(&options.model_dir)?;
    let failed = |what: &str| LlamaError::Load {
        path: weights.clone(),
        what: what.into(),
    };
    gguf::read(&weights, &model_dir::ACCEPTED)?;
    let text = template_file.as_deref().map(model_dir::template_text).transpose()?;
    // Mapped, not read: in the guest the file is memory already.
    let params = LlamaModelParams::default().with_n_gpu_layers(0).with_use_mmap(true);
    let mut model = library(|library| LlamaModel::load_from_file(library, &weights, &params))
        .ok_or_else(|| failed("the library could not be set up"))?
        .map_err(|error| failed(&error.to_string()))?;
    let adapter = lora.map(|lora| lora.load(&mut model)).transpose()?;
    let embeds = makes_vectors(&model).map_err(failed)?;
    if let Some(why) = vocabulary::refusal(&model, embeds) {
        return Err(failed(&why));
    }
    let vocab = model.vocab();
    let text_of = |token: LlamaToken| match token.0 {
        ..0 => String::new(),
        _ => vocab
            .text(token)
            .map(|text| text.to_string_lossy().into_owned())
            .unwrap_or_default(),
    };
    let (bos, eos) = (text_of(vocab.bos()), text_of(vocab.eos()));
    if !embeds && vocab.eos().0 < 0 && vocab.eot().0 < 0 {
        return Err(failed("the vocabulary names no end token; answers could not end"));
    }
    // The directory's, whose hash is in the keyset; else the one in the weights, whose root is.
    let text = text.or_else(|| model.chat_template(None).ok()?.to_string().ok());
    let template = match text {
        Some(text) => {
            let file = template_file.as_deref().unwrap_or(&weights);
            Some(Template::compile(text, file, bos, eos)?)
        }
        None if embeds => None,
        None => {
            return Err(LlamaError::ModelDir {
                path: options.model_dir.clone(),
                what: "no chat template".into(),
            });
        }
    };
    let trained = model.n_ctx_train() as usize;
    // What the guest says of the model is what runs: a context that is quietly shorter would end answers early.
    if let Some(asked) = options.context_tokens.filter(|asked| *asked > trained) {
        return Err(failed(&format!(
            "`--context-tokens {asked}`: the model was trained on {trained}; ask for at most that"
        )));
    }
    let threads = options
        .threads
        .or_else(|| std::thread::available_parallelism().ok().map(usize::from));
    Ok(Loaded {
        adapter,
        template,
        context_tokens: options
            .context_tokens
            .unwrap_or(if embeds { trained.min(INPUT_TOKENS) } else { trained }),
        embeds,
        streams: options.streams.unwrap_or(STREAMS).clamp(1, STREAMS_MAX),
        threads: threads.unwrap_or(1).max(1),
        model,
    })
}

/// Whether the file says how its states become one vector (`{architecture}.pooling_type`): 1 their mean, 2 the first, 3 the last.
fn makes_vectors(model: &LlamaModel) -> Result<bool, &'static str> {
    let architecture = model.meta_val_str("general.architecture").unwrap_or_default();
    match model.meta_val_str(&format!("{architecture}.pooling_type")).as_deref() {
        Ok("1" | "2" | "3") => Ok(true),
        Ok("4") => Err("a model that ranks (`pooling_type` 4); expected one that answers, or makes vectors"),
        _ if ENCODERS.contains(&architecture.as_str()) => {
            Err("an encoder that does not say how it makes vectors; expected `pooling_type` 1, 2 or 3 in the file")
        }
        _ => Ok(false),
    }
}

/// The parameters for vectors: one input a step, whole.
pub(crate) fn vector_params(input_tokens: usize, threads: usize) -> Option<LlamaContextParams> {
    let tokens = u32::try_from(input_tokens).ok()?;
    let threads = i32::try_from(threads).ok()?;
    let params = LlamaContextParams::default()
        .with_n_ctx(Some(NonZeroU32::new(tokens)?))
        .with_n_batch(tokens)
        .with_n_ubatch(tokens)
        .with_n_seq_max(1)
        .with_embeddings(true)
        .with_n_threads(threads)
        .with_n_threads_batch(threads);
    Some(params)
}

/// The context's parameters for `streams` answers of `context_tokens` each.
pub(crate) fn context_params(context_tokens: usize, streams: usize, threads: usize) -> Option<LlamaContextParams> {
    let each = context_tokens.checked_next_multiple_of(CONTEXT_STEP)?;
    let all = u32::try_from(each.checked_mul(streams)?).ok()?;
    let step = u32::try_from(STEP_TOKENS).ok()?;
    let threads = i32::try_from(threads).ok()?;
    let params = LlamaContextParams::default()
        .with_n_ctx(Some(NonZeroU32::new(all)?))
        .with_n_batch(step)
        .with_n_ubatch(step)
        .with_n_seq_max(u32::try_from(streams).ok()?)
        // Each answer computes over its own part of the memory and never over another's, not even masked.
        .with_kv_unified(false)
        .with_n_threads(threads)
        .with_n_threads_batch(threads);
    Some(params)
}
