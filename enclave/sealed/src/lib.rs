//! Sealed messages: HTTP requests and answers that only the guest and its client can read, whoever carries them.
//!
//! * [`bhttp`] writes and reads HTTP messages as bytes (RFC 9292), whole or piece by piece.
//! * [`config`] is what a client must know about a key (RFC 9458 section 3), as the keyset and as the wire have it.
//! * [`ohttp`] seals one whole message (RFC 9458); [`chunked`] seals a stream of parts, and a cut stream does not look whole
//!   (draft-ietf-ohai-chunked-ohttp-08).
//! * [`padding`] makes lengths few: of messages, of streams' pieces, and of what crosses a channel of another kind.
//! * [`ehbp`] seals bodies alone, for clients that speak EHBP v0.3.1.
//!
//! Bytes in, bytes out: no socket, no clock, no task. Every decoder is bounded before it allocates, and refuses what its
//! format does not say. Whether a key is to be believed is decided elsewhere: it must stand in a verified keyset.
//!
//! ```
//! use hanzo_pqc::gcm::Gcm;
//! use hanzo_pqc::hpke::message::{MessageKem, MessageKey};
//! use hanzo_sealed::config::KeyConfig;
//! use hanzo_sealed::ohttp;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let key = MessageKey::from_seed(MessageKem::Xwing, &[7; 32])?;
//! let config = KeyConfig::new(0x2a, key.public_key().clone(), &[Gcm::Aes128]);
//! let (sealed, answer) = ohttp::seal_request(&config, Gcm::Aes128, b"a binary HTTP request")?;
//! let (request, back) = ohttp::open_request(&config, &key, &sealed)?;
//! assert_eq!(request.as_slice(), b"a binary HTTP request");
//! let sealed = back.seal(b"a binary HTTP response")?;
//! assert_eq!(answer.open(&sealed)?.as_slice(), b"a binary HTTP response");
//! # Ok(())
//! # }
//! ```
//!
//! Formats and errors: `SPEC.md` beside this crate.
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

pub mod bhttp;
mod buffer;
pub mod chunked;
pub mod config;
pub mod ehbp;
mod error;
pub mod ohttp;
pub mod padding;
mod response;
mod varint;

pub use error::SealedError;
