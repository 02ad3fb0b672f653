//! What stops an engine process, and what stops one request.

use std::path::PathBuf;

/// Why the process does not serve, or no longer.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
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
    /// The processor lacks instructions that the program is made of.
    #[error(
        "this processor lacks {}; expected x86-64-v3 (Intel from Haswell, AMD from Zen): run it on one, or build it without `target-cpu` in .cargo/config.toml",
        missing.join(", ")
    )]
    Cpu {
        /// The flags, by the kernel's names.
        missing: Vec<&'static str>,
    },
    /// Threads or the runtime could not be started.
    #[error("starting the runtime: {0}")]
    Runtime(String),
}

impl ServeError {
    /// A stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Socket { .. } => "engine.socket",
            Self::Isolation(error) => error.code(),
            Self::Cpu { .. } => "engine.cpu",
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
    /// The prompt's text alone is longer than any that fits.
    #[error("the prompt has {bytes} bytes; no text of more than {bytes_max} fits the context; send a shorter prompt")]
    TextLength {
        /// Bytes of the rendered prompt.
        bytes: usize,
        /// Most bytes that the context could hold.
        bytes_max: usize,
    },
    /// A parameter outside its range.
    #[error("{parameter} is out of range: expected {expected}")]
    Parameter {
        /// The parameter.
        parameter: &'static str,
        /// Its range.
        expected: &'static str,
    },
    /// A member that this engine does not do.
    #[error("{member}: this engine does not do it; leave it out")]
    Lacks {
        /// The member.
        member: &'static str,
    },
    /// A route that this model does not do.
    #[error("this model does no {what}")]
    Unsupported {
        /// What it does not do.
        what: &'static str,
    },
    /// A schema that cannot be kept. Its text goes nowhere: it may quote the caller.
    #[error("json_schema: this engine cannot keep an answer to that schema; use simpler keywords, or fewer")]
    Schema,
    /// An id that the vocabulary does not hold.
    #[error("prompt: a token id is outside the vocabulary of {known} tokens")]
    UnknownToken {
        /// Tokens of the vocabulary.
        known: u32,
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
    /// The server that the engine is a client of said what it may not, or nothing.
    #[error("the server behind this engine: {what}")]
    Upstream {
        /// The code on the wire.
        code: &'static str,
        /// What is wrong; nothing of what it said.
        what: String,
    },
    /// The library stopped without saying why.
    #[error("the stream ended without a finish reason")]
    EndedEarly,
}

impl GenerateError {
    /// The code on the wire.
    pub fn code(&self) -> &'static str {
        match self {
            Self::ContextLength { .. } | Self::TextLength { .. } => "context_length",
            Self::Parameter { .. } => "invalid_parameter",
            Self::Lacks { .. } => "unsupported_parameter",
            Self::Unsupported { .. } => "unsupported",
            Self::Schema => "invalid_schema",
            Self::UnknownToken { .. } => "unknown_token",
            Self::EmptyPrompt => "empty_prompt",
            Self::Template => "template",
            Self::Busy { .. } => "busy",
            Self::Refused => "refused",
            Self::ModelFailed => "model_failed",
            Self::Upstream { code, .. } => code,
            Self::EndedEarly => "ended_without_finish_reason",
        }
    }

    /// The member that is wrong, where one is.
    pub fn param(&self) -> Option<&'static str> {
        match self {
            Self::Lacks { member } => Some(member),
            Self::Parameter { parameter, .. } => Some(parameter),
            Self::Schema => Some("json_schema"),
            Self::UnknownToken { .. } => Some("prompt"),
            _ => None,
        }
    }

    /// The HTTP status.
    pub fn status(&self) -> u16 {
        match self {
            Self::ContextLength { .. }
            | Self::TextLength { .. }
            | Self::Parameter { .. }
            | Self::Lacks { .. }
            | Self::Unsupported { .. }
            | Self::Schema
            | Self::UnknownToken { .. }
            | Self::EmptyPrompt
            | Self::Template => 400,
            Self::Busy { .. } => 503,
            Self::Refused | Self::ModelFailed | Self::EndedEarly => 500,
            Self::Upstream { .. } => 502,
        }
    }
}

/// Why a GGUF file is not taken.
#[derive(Debug, thiserror::Error)]
pub enum GgufError {
    /// The operating system refused (missing file, permission).
    #[error("{what} {}: {source}", path.display())]
    Io {
        /// What was being done.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// Not a GGUF file.
    #[error("{} is not a model: got {got}; expected a GGUF file (begins with the bytes `GGUF`)", path.display())]
    NotGguf {
        /// The path given.
        path: PathBuf,
        /// What was found there.
        got: String,
    },
    /// A GGUF version this build does not read.
    #[error("{}: GGUF version {got} at offset 4; expected 2 or 3; convert the file again with a current llama.cpp", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// The version it states.
        got: u32,
    },
    /// The file ends before what its own header announces.
    #[error("{}: truncated: {what} ends at byte {expected}, the file has {got}; fetch it again and compare its SHA-256", path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Which part is missing.
        what: String,
        /// Where that part would end.
        expected: u64,
        /// The file's length.
        got: u64,
    },
    /// A header field that no sound file has.
    #[error("{}: malformed {what}: got {got}, expected {expected}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The field.
        what: String,
        /// What it holds.
        got: String,
        /// What it should hold.
        expected: String,
    },
    /// An architecture the engine cannot run.
    #[error("{}: architecture `{got}` is not supported; expected one of {expected}", path.display())]
    Architecture {
        /// The file.
        path: PathBuf,
        /// `general.architecture` or `architectures[0]`.
        got: String,
        /// What this build runs.
        expected: String,
    },
    /// A tensor encoding the engine cannot read.
    #[error(
        "{}: tensor `{tensor}` has ggml type {got}, which this engine cannot read; use a file quantised as Q8_0, Q4_0 or a K-quant",
        path.display()
    )]
    TensorType {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// Its ggml type number.
        got: u32,
    },
}

impl GgufError {
    /// A stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Io { .. } => "gguf.io",
            Self::NotGguf { .. } => "gguf.not_gguf",
            Self::Version { .. } => "gguf.version",
            Self::Truncated { .. } => "gguf.truncated",
            Self::Malformed { .. } => "gguf.malformed",
            Self::Architecture { .. } => "gguf.architecture",
            Self::TensorType { .. } => "gguf.tensor_type",
        }
    }
}
