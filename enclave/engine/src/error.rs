//! What stops this engine.

use std::path::PathBuf;

use hanzo_engine_process::ServeError;

/// Why the engine process does not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The model directory does not hold a model.
    #[error("{}: {what}; expected model.gguf with tokenizer.json, tokenizer_config.json and chat_template.jinja, or a safetensors directory; make one with `hanzo-engine prepare`", path.display())]
    ModelDir {
        /// The directory.
        path: PathBuf,
        /// What is missing or wrong.
        what: String,
    },
    /// The model's files are not sound.
    #[error(transparent)]
    Model(#[from] crate::convert::ConvertError),
    /// The inference library did not load the model.
    #[error("loading {}: {what}", path.display())]
    Load {
        /// The directory.
        path: PathBuf,
        /// The library's reason. Loading happens before any prompt exists.
        what: String,
    },
    /// The process could not be confined, or cannot serve.
    #[error(transparent)]
    Serve(#[from] ServeError),
}

impl EngineError {
    /// A stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::ModelDir { .. } => "engine.model_dir",
            Self::Model(error) => error.code(),
            Self::Load { .. } => "engine.load",
            Self::Serve(error) => error.code(),
        }
    }
}
