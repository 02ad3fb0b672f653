//! What stops an engine, and what stops one request.

use std::path::PathBuf;

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
    /// The socket could not be made.
    #[error("socket {}: {what}: {source}", path.display())]
    Socket {
        /// The socket.
        path: PathBuf,
        /// What was being done.
        what: &'static str,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The process could not be confined.
    #[error(transparent)]
    Isolation(#[from] crate::isolation::IsolationError),
    /// Threads or the runtime could not be started.
    #[error("starting the runtime: {0}")]
    Runtime(String),
}

impl EngineError {
    /// A stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::ModelDir { .. } => "engine.model_dir",
            Self::Model(error) => error.code(),
            Self::Load { .. } => "engine.load",
            Self::Socket { .. } => "engine.socket",
            Self::Isolation(error) => error.code(),
            Self::Runtime(_) => "engine.runtime",
        }
    }
}

/// Why one request got no answer, or not a whole one. No variant carries prompt or answer text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GenerateError {
    /// The prompt leaves no room for an answer.
    #[error(
        "the prompt has {prompt_tokens} tokens; the context holds {context_tokens}, at least one of them for the answer; send a shorter prompt"
    )]
    ContextLength {
        /// Tokens in the prompt, template included.
        prompt_tokens: usize,
        /// Tokens in the context.
        context_tokens: usize,
    },
    /// A parameter outside its range.
    #[error("{parameter} is out of range: expected {expected}")]
    Parameter {
        /// The parameter.
        parameter: &'static str,
        /// Its range.
        expected: &'static str,
    },
    /// No tokens to begin from.
    #[error("the prompt is empty")]
    EmptyPrompt,
    /// The chat template refused the messages (roles out of order, for instance).
    #[error(
        "the model's chat template does not accept these messages; most templates want an optional system message, then user and assistant in turn"
    )]
    Template,
    /// Too many callers wait already.
    #[error("{waiting} requests wait already; try again later")]
    Busy {
        /// Callers in the queue.
        waiting: usize,
    },
    /// The library refused the request.
    #[error("the inference library refused the request")]
    Refused,
    /// The model failed in the middle (out of memory, or not-a-number in the logits).
    #[error("the model failed while computing")]
    ModelFailed,
    /// The library stopped without saying why.
    #[error("the stream ended without a finish reason")]
    EndedEarly,
}

impl GenerateError {
    /// The code on the wire.
    pub fn code(&self) -> &'static str {
        match self {
            Self::ContextLength { .. } => "context_length",
            Self::Parameter { .. } => "invalid_parameter",
            Self::EmptyPrompt => "empty_prompt",
            Self::Template => "template",
            Self::Busy { .. } => "busy",
            Self::Refused => "refused",
            Self::ModelFailed => "model_failed",
            Self::EndedEarly => "ended_without_finish_reason",
        }
    }

    /// The HTTP status.
    pub fn status(&self) -> u16 {
        match self {
            Self::ContextLength { .. } | Self::Parameter { .. } | Self::EmptyPrompt | Self::Template => 400,
            Self::Busy { .. } => 503,
            Self::Refused | Self::ModelFailed | Self::EndedEarly => 500,
        }
    }
}
