//! The attested channel for clients: before one byte of a prompt leaves, the guest at the other end has been attested and
//! this very connection has been proven to end in it.
//!
//! [`AttestedClient`] draws a challenge, verifies the bundle that answers it, compares the TLS key with the attested
//! keyset and runs the channel proof on *every* connection, pooled and reconnected ones included. It attests again when
//! the verdict is too old, when the keyset ends and when a peer shows another keyset. [`connect::serve`] puts an ordinary
//! OpenAI endpoint on this machine in front of it; [`receipts`] checks what the guest signed about each answer.
//!
//! It never trusts a certificate authority, never resumes a session, never sends a request again once a byte of it may
//! have left, and never writes a prompt or an answer to disk.
//!
//! ```no_run
//! # async fn example(context: hanzo_verifier::VerifierContext) -> Result<(), hanzo_client::ClientError> {
//! use hanzo_client::{AttestedClient, ClientConfig};
//! let client = AttestedClient::new(ClientConfig::new("guest.example:8443".parse()?, context))?;
//! println!("tier {}", client.verdict().await?.result().tier());
//! # Ok(())
//! # }
//! ```
//!
//! [`SealedClient`] needs no connection to the guest at all: it seals requests to a key of the attested keyset (OHTTP), and
//! any relay may carry them. [`Client`] is either of them.
//!
//! Formats: DESIGN section 4, "Freshness", "Channel proof", "Receipt"; TLS 1.3 (RFC 8446), X25519MLKEM768
//! (draft-ietf-tls-ecdhe-mlkem), HPKE (RFC 9180), HTTP/1.1 (RFC 9112), server-sent events (WHATWG HTML 9.2).
#![forbid(unsafe_code)]

mod body;
mod call;
mod client;
pub mod connect;
mod connection;
mod endpoint;
mod error;
mod first_flight;
mod limits;
mod pinned;
pub mod receipts;
mod records;
mod releases;
mod request;
mod request_key;
mod route;
mod sealed;
mod sse;
pub mod state;
mod tls;
mod way;

pub use body::{AnswerBody, ProvenBody};
pub use call::{Answer, CHAT_PATH, ChatAnswer, RECEIPT_ID_HEADER};
pub use client::{AttestedClient, ClientConfig};
pub use connection::{Proven, Unproven};
pub use endpoint::Endpoint;
pub use error::ClientError;
pub use first_flight::FirstFlight;
pub use hanzo_attestation::padding::Padding;
pub use limits::Limits;
pub use pinned::{Clock, Pinned, system_clock};
pub use receipts::{ReceiptStatus, Tally};
pub use request::{ChannelRequest, OWNER_HEADER};
pub use request_key::RequestSigner;
pub use sealed::{Relay, RelayUrl, SealedBody, SealedClient, SealedConfig};
pub use sse::RECEIPT_FRAME_PREFIX;
pub use state::{OwnerSecret, StateDir, StateError};
pub use way::Client;
