//! The attested channel, guest side: TLS 1.3 with X25519MLKEM768 alone, and the answer to channel proofs.
//!
//! The TLS certificate is made at boot and means nothing by itself: clients compare its key with the keyset that
//! evidence proves ([`TlsIdentity::spki_sha256`]), then let every single connection prove itself ([`ChannelKey`]). There
//! is no resumption and no early data, so every connection has an exporter secret of its own ([`Exporter`]).
//!
//! Clients that name a server get a second certificate over the same key, with evidence in it (RA-TLS): for those who look
//! there, and no proof of anything about their connection.
//!
//! This crate opens no socket: it is handed streams.
//!
//! # Spec
//! RFC 8446 section 7.5 (exporter), RFC 9180 section 5.3 (HPKE export), draft-ietf-tls-ecdhe-mlkem (X25519MLKEM768),
//! DESIGN section 4 "Channel proof".
#![forbid(unsafe_code)]
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

pub mod accept;
pub mod error;
pub mod identity;
pub mod proof;
pub mod tls;

pub use accept::{Accepted, Exporter};
pub use error::ChannelError;
pub use identity::TlsIdentity;
pub use proof::{ChannelKey, PendingProof};
pub use tls::server_config;
