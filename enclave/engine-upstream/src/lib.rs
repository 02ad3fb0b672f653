//! An OpenAI-compatible server of the operator's choice (llama-server, vLLM) as an engine: started here, in the same sandbox,
//! spoken to over a Unix socket, believed in nothing.
//!
//! [`run`] binds the engine's socket, starts the server, confines itself and serves the engine protocol. Prompts become ids by the
//! server's own tokenizer; every answer is asked for by these ids, at `/v1/completions`. Responses are read within [`Bounds`] and
//! against closed lists of members ([`Breach`] names what is refused). When the server ends, so does this process.
//!
//! It never reaches a network, writes a file, or logs a request.
//!
//! # Spec
//! `enclave/engine-upstream/SPEC.md`.
#![forbid(unsafe_code)]

mod answer;
mod args;
mod breach;
mod dialect;
mod engine;
mod error;
mod events;
mod http;
mod server;

pub use args::{EngineArgs, EngineCommand, main_with_args};
pub use breach::Breach;
pub use dialect::Dialect;
pub use engine::{Upstream, UpstreamOptions};
pub use error::UpstreamError;
pub use http::Bounds;
pub use server::{EXIT_UPSTREAM, run};
