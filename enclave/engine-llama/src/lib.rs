//! llama.cpp on CPU in a process of its own, behind the engine protocol.
//!
//! [`run`] binds a Unix socket, confines the process, loads `model.gguf` of a model directory by mapping it, and answers.
//! One thread owns the library's context and computes all answers in progress together, a token of each at a time
//! (continuous batching); each has a part of the key-value memory to itself. Ids come from the vocabulary in the GGUF, the
//! chat template from the directory, the choice of a token from [`hanzo_engine_process::Picker`].
//!
//! It never reaches a network, writes a file, logs a request, or computes with what another request left behind. The library's
//! C and C++ code is reached through the safe functions of crate `llama-cpp-2` alone.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # use hanzo_engine_llama::{EngineOptions, ServeOptions, run};
//! run(ServeOptions {
//!     engine: EngineOptions::new("model", "/run/engine.sock"),
//!     adapter: None,
//!     adapter_scale_micros: 1_000_000,
//! })?;
//! # Ok(()) }
//! ```
#![forbid(unsafe_code)]

mod adapter;
mod args;
mod batch;
mod embedder;
mod engine;
mod error;
mod grammar;
mod load;
mod model_dir;
mod template;
mod tools;
mod vocabulary;
mod worker;

pub use adapter::Lora;
pub use args::{EngineArgs, EngineCommand, ServeOptions, main_with_args};
pub use engine::Llama;
pub use error::LlamaError;
pub use hanzo_engine_process::{
    Abilities, Answer, Ask, EXIT_PANIC, Engine, EngineOptions, Finish, GenerateError, Generation, Message, Prompt,
    Role, Sampling, Token, measure,
};

/// Runs the engine until SIGTERM or SIGINT ([`hanzo_engine_process::run`]).
///
/// # Errors
/// [`LlamaError`]; the process should exit with a non-zero status then.
pub fn run(options: ServeOptions) -> Result<(), LlamaError> {
    let lora = options.lora();
    let mut options = options.engine;
    model_dir::check(&options.model_dir)?;
    options.beside.extend(lora.iter().map(|lora| lora.file.clone()));
    let loading = options.clone();
    hanzo_engine_process::run(&options, move || async move { Llama::load_with(&loading, lora).await })
}
