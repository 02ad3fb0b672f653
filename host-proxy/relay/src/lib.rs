//! An Oblivious HTTP relay (RFC 9458, sections 2 and 6): it takes sealed messages from clients and gives them to one gateway, and
//! of a client nothing but the message.
//!
//! What goes on is the method, the configured path, the media type and the body; no address, no header, no query. All clients share
//! the connections to the gateway, so that these name nobody either. What comes back is the status, the media type and the body.
//! The relay cannot open what it carries. It knows who asks and when; the gateway knows what is asked. Whoever runs both knows both.
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        reason = "tests may"
    )
)]

mod answer;
pub mod config;
mod connection;
mod error;
mod gateway;
mod metrics;
mod paced;
mod refused;
mod request;
mod serve;
mod tls;
mod upload;

pub use error::RelayError;
pub use refused::Refused;
pub use serve::serve;
