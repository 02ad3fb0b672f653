//! Engines: one process per model, started, watched, restarted a few times, and killed by process id.
//!
//! An engine gets a model directory, a socket path and an empty environment; no key, no evidence device. Whatever it is, it
//! runs in a [`sandbox`] and is hostile to the guest only in what it answers (`hanzo-inference` bounds that); here it is
//! something that may not start or may die. What it writes to stderr is kept in memory and reported only while it has not yet been ready: later lines
//! could hold somebody's prompt.

mod choice;
mod health;
mod pool;
mod process;
pub mod sandbox;
mod supervisor;
mod wanted;

use std::path::PathBuf;

pub(crate) use choice::choose;
pub(crate) use pool::{Pool, Reopen, Startable};
pub use supervisor::{EngineStopped, Engines};

/// What opened files and engines may use now, in bytes; `None` where the kernel does not say.
pub(crate) fn available_memory() -> Option<u64> {
    sandbox::limits::measured_memory().ok()
}

/// What one engine is started with.
#[derive(Debug, Clone)]
pub struct EngineJob {
    /// Model name, for messages.
    pub model: String,
    /// The engine's program and first arguments.
    pub command: Vec<String>,
    /// A server that the engine starts beside it, in the same sandbox.
    pub server: Option<EngineServer>,
    /// Opened, verified files.
    pub model_dir: PathBuf,
    /// An adapter that it puts on the model.
    pub adapter: Option<EngineAdapter>,
    /// Where it must listen; the directory is its own.
    pub socket: PathBuf,
    /// An empty directory for its root.
    pub root: PathBuf,
    /// Which of the guest's engines this is; each has a user of its own.
    pub index: u16,
    /// Which model's files it reads: engines on the same files have one group.
    pub group: u16,
    /// Tokens of prompt and answer together.
    pub context_tokens: u32,
    /// The least memory of its own that it needs, in bytes.
    pub least_memory_bytes: u64,
}

/// A LoRA adapter for an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineAdapter {
    /// Opened, verified files.
    pub dir: PathBuf,
    /// What its product is multiplied by, in millionths.
    pub scale_micros: u64,
}

/// A server behind an engine, as its sandbox shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineServer {
    /// Its program.
    pub program: PathBuf,
    /// Libraries and whatever else it reads and runs.
    pub files: Vec<PathBuf>,
}

/// Why there is no engine.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// No program was named.
    #[error("engine: the engine command is empty: name a program, e.g. hanzo-engine")]
    NoCommand,
    /// The configuration names an engine that this image does not hold.
    #[error(
        "engine for {model}: the configuration names {engine}, which this image does not hold: build the image with it, or leave `engine` out"
    )]
    Absent {
        /// Of which model.
        model: String,
        /// As the configuration writes it.
        engine: &'static str,
    },
    /// The configuration names an engine that cannot run the model's format.
    #[error(
        "engine for {model}: the configuration names {engine}, which runs GGUF alone, and the pack holds no model.gguf"
    )]
    Format {
        /// Of which model.
        model: String,
        /// As the configuration writes it.
        engine: &'static str,
    },
    /// A signed manifest names a server, which a configuration alone describes.
    #[error(
        "engine for {model}: its manifest names upstream, and its configuration no server: add engine = \"upstream\" and upstream to its entry"
    )]
    NoServer {
        /// Of which model.
        model: String,
    },
    /// An engine that takes no adapter.
    #[error(
        "engine for {model}: LoRA adapters run on llama.cpp alone, {engine} is named for it or its base: leave `engine` out, or serve the merged model"
    )]
    Adapter {
        /// Of which model.
        model: String,
        /// As the configuration writes it.
        engine: &'static str,
    },
    /// The server's program, or one of its files, is not there.
    #[error("engine for {model}: the server behind it: {}: {source}; expected an absolute path in this image, as `upstream` names it", path.display())]
    ServerFile {
        /// Of which model.
        model: String,
        /// As the configuration writes it.
        path: PathBuf,
        /// The reason.
        source: std::io::Error,
    },
    /// It could not be confined, or its program did not start then.
    #[error("engine for {model}: sandbox: {reason}")]
    Sandbox {
        /// Of which model.
        model: String,
        /// What the launcher said, with its code.
        reason: String,
    },
    /// It would run out of memory while it loads.
    #[error(
        "engine for {model}: needs at least {needed} bytes of memory beside the opened files, {available} may be used: give the machine more memory, or lower context_tokens"
    )]
    Memory {
        /// Of which model.
        model: String,
        /// The least it needs.
        needed: u64,
        /// What it may use.
        available: u64,
    },
    /// The launcher could not be started.
    #[error("engine for {model}: {program}: {source}")]
    Spawn {
        /// Of which model.
        model: String,
        /// What was to be run.
        program: String,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// It ended before it was ready.
    #[error("engine for {model}: ended before it was ready ({status}); its last lines: {last_lines}")]
    EndedEarly {
        /// Of which model.
        model: String,
        /// Exit status.
        status: String,
        /// From stderr, printable ASCII, at most 2000 characters.
        last_lines: String,
    },
    /// It did not become ready.
    #[error("engine for {model}: not ready within {limit_ms} ms; its last lines: {last_lines}")]
    NotReady {
        /// Of which model.
        model: String,
        /// The bound.
        limit_ms: u64,
        /// From stderr, printable ASCII, at most 2000 characters.
        last_lines: String,
    },
    /// It died more often than a boot allows.
    #[error("engine for {model}: ended {times} times in this boot ({status}): it is not started again")]
    GaveUp {
        /// Of which model.
        model: String,
        /// How often.
        times: u32,
        /// Of the last end.
        status: String,
    },
}

impl EngineError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoCommand => "engine.no_command",
            Self::Absent { .. } => "engine.absent",
            Self::Format { .. } => "engine.format",
            Self::NoServer { .. } => "engine.no_server",
            Self::Adapter { .. } => "engine.adapter",
            Self::ServerFile { .. } => "engine.server_file",
            Self::Sandbox { .. } => "engine.sandbox",
            Self::Memory { .. } => "engine.memory",
            Self::Spawn { .. } => "engine.spawn",
            Self::EndedEarly { .. } => "engine.ended_early",
            Self::NotReady { .. } => "engine.not_ready",
            Self::GaveUp { .. } => "engine.gave_up",
        }
    }
}
