//! The guest's inference API: OpenAI-shaped requests in, checked engine output and signed receipts out.
//!
//! [`router`] serves OpenAI's chats, completions, responses and embeddings, Anthropic's messages, models, receipts, health and
//! metrics behind the attested channel. The engine is another process behind a Unix socket, and its output is hostile
//! input: every frame is bounded, parsed strictly and written anew, counts are checked, and a breach ends the answer with an
//! error and a receipt that says `failed`.
//!
//! Never: an engine byte passed through unparsed; a prompt or an answer in a log, an error text or a metric; a response whose
//! end left before its receipt was durable; a URL of the client fetched; a parameter accepted and ignored that changes the
//! answer.
//!
//! Clock and randomness come with the [`ServingState`]. Formats: `enclave/inference/SPEC.md`.
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

mod access;
mod aci;
mod answer;
mod body;
mod callers;
mod callers_table;
mod calls;
mod dialect;
mod embeddings;
mod endpoints;
mod engine;
mod error;
mod json;
mod leftover;
mod log;
mod metrics;
mod narrowed;
mod openapi;
mod orders;
mod queue;
mod request;
mod router;
mod routes;
mod schema;
mod state;
mod supply;

pub use access::{AccessOptions, Uptime};
pub use aci::{AciReport, AciReportError, AciServing};
pub use engine::EngineError;
pub use error::ApiError;
pub use hanzo_receipts::Transport;
pub use router::router;
pub use routes::AnswerFloor;
pub use state::{Clock, EngineEndpoint, EngineOrder, OrderEngines, Random, ServingError, ServingOptions, ServingState};
pub use supply::{EngineClass, EngineUse, OpenEngine, OpenError, Opening};
