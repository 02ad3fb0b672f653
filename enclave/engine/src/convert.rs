//! The operator's side: a published model in, a model directory for the engine out.
//!
//! A model directory is either
//! - `model.gguf`, `tokenizer.json`, `tokenizer_config.json` (special tokens), `chat_template.jinja`, or
//! - a safetensors directory: `config.json`, `tokenizer.json`, `tokenizer_config.json`, `*.safetensors` and, where they
//!   exist, `generation_config.json`, `model.safetensors.index.json`, `chat_template.jinja`.
//!
//! The same input gives the same bytes. Nothing is fetched. The directory appears complete or not at all.

mod error;
mod gguf;
pub(crate) mod header;
mod safetensors;
mod staging;
mod tokenizer;

use std::path::Path;

pub use error::ConvertError;
pub use gguf::{Encoding, prepare_gguf};
pub use safetensors::prepare_safetensors;

/// How far a preparation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// What is being done, for a person.
    pub step: &'static str,
    /// Bytes of the source done.
    pub done: u64,
    /// Bytes in all.
    pub total: u64,
}

/// What a preparation did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    /// Tensors re-encoded, because the engine has no vectorised kernel for their type.
    pub requantised: usize,
    /// Tensors in all.
    pub tensors: usize,
    /// Where the tokenizer came from.
    pub tokenizer: TokenizerSource,
}

/// Where `tokenizer.json` came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenizerSource {
    /// Written from the vocabulary, merges and pre-tokenizer name in the GGUF.
    Gguf,
    /// The user's own file.
    Supplied,
    /// None: the model makes vectors, and llama.cpp, which computes it, reads the vocabulary in the GGUF.
    Absent,
}

/// Prepares whatever `source` is, deciding by content: a GGUF file or a safetensors directory.
///
/// # Errors
/// Anything else is refused; see [`ConvertError`].
pub fn prepare(source: &Path, out_dir: &Path, progress: &mut dyn FnMut(Progress)) -> Result<Prepared, ConvertError> {
    prepare_with(source, out_dir, Encoding::default(), progress)
}

/// [`prepare`], with a choice of what slow matrices of a GGUF become.
///
/// # Errors
/// See [`ConvertError`].
pub fn prepare_with(
    source: &Path,
    out_dir: &Path,
    encoding: Encoding,
    progress: &mut dyn FnMut(Progress),
) -> Result<Prepared, ConvertError> {
    let metadata = std::fs::metadata(source).map_err(|error| ConvertError::Io {
        what: "opening the model",
        path: source.into(),
        source: error,
    })?;
    if metadata.is_dir() {
        prepare_safetensors(source, out_dir, progress)
    } else {
        prepare_gguf(source, out_dir, encoding, progress)
    }
}
