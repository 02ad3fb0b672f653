//! RA-TLS: the evidence inside the TLS certificate, for clients that look there.
//!
//! A certificate is made before anybody asks, so nothing in it answers a challenge: it can be read (freshness `none`) and
//! never stands for the channel proof. This project's own client does not look at it.
//!
//! # Layout
//! A self-signed X.509 v3 certificate over an ECDSA P-256 key with one extension 2.23.133.5.4.9
//! (tcg-dice-conceptual-message-wrapper), not critical. Its value is one CBOR item (RFC 8949, deterministic): the record
//! `[type, value, ind]` of the conceptual message wrapper, where `type` is the bundle's media type, `value` the bundle's
//! bytes and `ind` is 4 (evidence).
//!
//! # Spec
//! TCG DICE Attestation Architecture 1.1 (the OID), draft-ietf-rats-msg-wrap (the record), CCC interoperable RA-TLS (the
//! CBOR stands in the extension as it is, and the extension is not critical).

mod certificate;
mod error;
mod wrapper;

pub use certificate::RatlsCertificate;
pub use error::RatlsError;
pub use wrapper::{unwrap, wrap};

/// tcg-dice-conceptual-message-wrapper.
pub const EVIDENCE_OID: [u64; 6] = [2, 23, 133, 5, 4, 9];
/// Longest certificate in bytes: TLS stacks take handshake messages of 64 KiB, and one holds it whole.
pub const CERTIFICATE_BYTES_MAX: usize = 60 << 10;
/// Longest bundle in a certificate, in bytes.
pub const BUNDLE_BYTES_MAX: usize = 56 << 10;
