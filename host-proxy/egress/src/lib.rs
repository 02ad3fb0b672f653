//! The host's broker of connections outside: a guest asks for a name and a port, the operator's list says yes or no, bytes pass.
//!
//! TLS passes through: it ends in the guest and at the name. What this process says authorises nothing in the guest, whose measured
//! configuration has a list of its own; the operator's list is for the operator, who answers for what leaves the machine. A hostile
//! broker can connect elsewhere, cut and count; the guest then sees another certificate, or an end that TLS did not announce.
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

mod carry;
pub mod config;
mod connection;
mod dial;
mod error;
mod metrics;
mod peers;
mod request;
mod serve;

pub use error::EgressError;
pub use serve::serve;
