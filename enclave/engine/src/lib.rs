//! An inference engine in a process of its own: mistral.rs on CPU behind the engine protocol.
//!
//! Two halves share this crate. [`convert`] is the operator's: a published model becomes a model directory. The rest runs
//! in the guest: [`run`] binds a Unix socket, confines the process ([`isolation`]), loads the directory and answers
//! `GET /health`, `POST /tokenize` and `POST /v1/chat/completions`. [`Engine`] is the same engine in process, for
//! benchmarks and tests.
//!
//! It never reaches a network, writes a file, keeps a prompt after its answer, logs one, shares a cache between requests,
//! or fetches what a request names: content is text. It holds no keys. Its output is hostile input to whoever reads it.
//!
//! ```no_run
//! use std::path::Path;
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! hanzo_engine::convert::prepare(Path::new("model.gguf"), Path::new("model"), &mut |_| {})?;
//! hanzo_engine::run(hanzo_engine::EngineOptions::new("model", "/run/engine.sock"))?;
//! # Ok(()) }
//! ```
#![forbid(unsafe_code)]

mod args;
pub mod convert;
mod error;
mod model;

pub use args::{EngineArgs, EngineCommand, main_with_args};
pub use error::EngineError;
pub use hanzo_engine_process::{
    Answer, EXIT_PANIC, EngineOptions, Finish, GenerateError, Generation, Message, Role, STOP_BYTES_MAX, STOPS_MAX,
    Sampling, Token, isolation,
};
pub use model::Engine;

/// Runs the engine until SIGTERM or SIGINT ([`hanzo_engine_process::run`]).
///
/// # Errors
/// [`EngineError`]; the process should exit with a non-zero status then.
pub fn run(options: EngineOptions) -> Result<(), EngineError> {
    model::check_dir(&options.model_dir)?;
    let loading = options.clone();
    hanzo_engine_process::run(&options, move || async move { Engine::load(&loading).await })
}
