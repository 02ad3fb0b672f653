//! What stops this engine. What stops one request is [`hanzo_engine_process::GenerateError`].

use std::path::PathBuf;

use hanzo_engine_process::{GgufError, ServeError};

/// Why the engine process does not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum LlamaError {
    /// The model directory does not hold a model.
    #[error(
        "{}: {what}; expected model.gguf and, unless that holds one, a chat template in chat_template.jinja or tokenizer_config.json; make one with `hanzo-engine prepare`",
        path.display()
    )]
    ModelDir {
        /// The directory.
        path: PathBuf,
        /// What is missing or wrong.
        what: String,
    },
    /// The GGUF file is not sound, or not for this engine.
    #[error(transparent)]
    Gguf(#[from] GgufError),
    /// The chat template does not compile. Loading happens before any prompt exists.
    #[error("{}: the chat template does not compile: {what}", path.display())]
    Template {
        /// The file.
        path: PathBuf,
        /// The template library's reason, with a line.
        what: String,
    },
    /// llama.cpp did not load the model; its own lines say why.
    #[error("loading {}: {what}", path.display())]
    Load {
        /// The file.
        path: PathBuf,
        /// Which step, and the library's answer.
        what: String,
    },
    /// The adapter is not one for this model; the library's own lines say why.
    #[error("adapter {}: {what}", path.display())]
    Adapter {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The process could not be confined, or cannot serve.
    #[error(transparent)]
    Serve(#[from] ServeError),
}

impl LlamaError {
    /// A stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::ModelDir { .. } => "engine.model_dir",
            Self::Gguf(error) => error.code(),
            Self::Template { .. } => "engine.template",
            Self::Load { .. } => "engine.load",
            Self::Adapter { .. } => "engine.adapter",
            Self::Serve(error) => error.code(),
        }
    }
}
