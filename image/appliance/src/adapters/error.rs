//! Why an adapter is not served.

use std::path::PathBuf;

use hanzo_attestation::Digest256;

/// What makes one, for whoever has none.
const MAKE: &str = "expected a LoRA adapter in GGUF (llama.cpp's convert_lora_to_gguf.py makes it of a PEFT directory), a delta or a directory of `hanzo model delta make`, or a directory of `hanzo model adapter`";

/// Why an adapter is not served. Nothing was started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AdapterRefused {
    /// Another model or adapter has the name.
    #[error("--adapter {name}: another model or adapter of this run has that name: choose another NAME")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// Too many.
    #[error("--adapter: {got} models and adapters, at most {max} are served at once: leave some out")]
    Limit {
        /// How many.
        got: usize,
        /// How many there may be.
        max: usize,
    },
    /// No model of that name is served.
    #[error("--adapter {base}/{name}: no model {base} is served: expected one of {models}")]
    NoSuchBase {
        /// The adapter.
        name: String,
        /// What it should go on.
        base: String,
        /// What is there.
        models: String,
    },
    /// Several models, and nothing says on which of them it goes.
    #[error("--adapter {name}: which model does it go on? Write --adapter BASE/{name}=…, BASE one of {models}")]
    WhichBase {
        /// The adapter.
        name: String,
        /// What is there.
        models: String,
    },
    /// It cannot be read.
    #[error("--adapter {name}: cannot read {path}: {source}; behind the last @ stand callers, behind the last : a factor", path = path.display())]
    Unreadable {
        /// The adapter.
        name: String,
        /// Where it was looked for.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The file is something else.
    #[error("--adapter {name}: {path} is {got}: {MAKE}", path = path.display())]
    Foreign {
        /// The adapter.
        name: String,
        /// Which file.
        path: PathBuf,
        /// What it seems to be.
        got: &'static str,
    },
    /// It looks like one and is none, or damaged, or too large.
    #[error("--adapter {name}: {reason}; {MAKE}")]
    NotOne {
        /// The adapter.
        name: String,
        /// The reader's code.
        code: &'static str,
        /// The reader's reason.
        reason: String,
    },
    /// It was made for another base.
    #[error(
        "--adapter {name}: {path} was made for the model with weights root {expected}; {got}: serve the model that it was made for",
        path = path.display()
    )]
    OtherBase {
        /// The adapter.
        name: String,
        /// Where it is.
        path: PathBuf,
        /// The root that it names.
        expected: Digest256,
        /// What is served.
        got: String,
    },
    /// It changes what its base does not have.
    #[error(
        "--adapter {name}: matrix {matrix:?}: expected {expected}, got {got}: it was made for another model than {base}"
    )]
    Fit {
        /// The adapter.
        name: String,
        /// The model.
        base: String,
        /// Which matrix.
        matrix: String,
        /// What would fit.
        expected: String,
        /// What does not.
        got: String,
    },
    /// The engine that was chosen does not compute it.
    #[error("--adapter {name}: needs {needed}; got {got}")]
    Engine {
        /// The adapter.
        name: String,
        /// What it needs.
        needed: &'static str,
        /// What was chosen, and what to do.
        got: &'static str,
    },
    /// A factor where none applies.
    #[error("--adapter {name}: :SCALE is for LoRA files: leave it out; {why}")]
    Scale {
        /// The adapter.
        name: String,
        /// Why it has none.
        why: &'static str,
    },
}

impl AdapterRefused {
    /// Stable dotted code; of a file that is none the reader's.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::NameTaken { .. } => "up.adapter.name",
            Self::Limit { .. } => "up.adapter.limit",
            Self::NoSuchBase { .. } | Self::WhichBase { .. } => "up.adapter.base",
            Self::Unreadable { .. } => "up.adapter.io",
            Self::Foreign { .. } => "up.adapter.file",
            Self::NotOne { code, .. } => code,
            Self::OtherBase { .. } => "adapter.base",
            Self::Fit { .. } => "up.adapter.fit",
            Self::Engine { .. } => "up.adapter.engine",
            Self::Scale { .. } => "up.adapter.scale",
        }
    }
}
