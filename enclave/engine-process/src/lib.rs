//! What every inference engine of this workspace shares, whatever library it computes with: the engine protocol served on
//! a Unix socket, the confinement of the process, and the choice of the next token.
//!
//! An engine implements [`Engine`] and calls [`run`] first thing in `main`: the socket is bound, the process is confined
//! ([`isolation`]), then threads start, the model loads and requests are answered. Tokens are chosen by [`Picker`] from
//! (seed, position) alone, text is put together by [`Assembler`], and a caller waits its turn at [`Turns`].
//!
//! It never reaches a network, writes a file, logs a request, or fetches what a request names: content is text.
//!
//! # Spec
//! `enclave/inference/SPEC.md`, "Engine protocol".
#![forbid(unsafe_code)]

mod api;
mod chat;
mod cpu;
mod error;
pub mod gguf;
pub mod isolation;
mod logprobs;
mod measure;
mod options;
mod sampling;
mod serve;
mod text;
mod turns;
mod wire;

pub use chat::{Abilities, Ask, CalledFunction, Engine, Finish, Generation, Message, Prompt, Role, Token, ToolCall};
pub use error::{GenerateError, GgufError, ServeError};
pub use logprobs::{Likely, Logprob, TOP_LOGPROBS_MAX, likely};
pub use measure::{Answer, measure};
pub use options::EngineOptions;
pub use sampling::{Picker, STOP_BYTES_MAX, STOPS_MAX, Sampling};
pub use serve::{EXIT_PANIC, log_to_stderr, run, run_beside};
pub use text::{Assembler, Piece};
pub use turns::{Turn, Turns};
