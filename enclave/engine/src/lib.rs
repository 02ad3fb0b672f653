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

mod api;
mod args;
pub mod convert;
mod error;
pub mod isolation;
mod model;
mod options;
mod sampling;
mod serve;
mod text;
mod wire;

pub use args::{EngineArgs, EngineCommand, main_with_args};
pub use error::{EngineError, GenerateError};
pub use model::{Answer, Engine, Finish, Generation, Message, Role, Token};
pub use options::EngineOptions;
pub use sampling::{STOP_BYTES_MAX, STOPS_MAX, Sampling};
pub use serve::{EXIT_PANIC, run};
