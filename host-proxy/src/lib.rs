//! The untrusted host proxy: it carries opaque bytes between clients and the guest.
//!
//! It looks into no byte it carries except, where it is told to route by name, the server name that TLS sends in the clear;
//! it holds no key and names no crate that could decrypt (`tests/tidy`, rule 2).
//! A hostile proxy can delay, drop or count connections; that is all the design leaves it.
//!
//! ```no_run
//! # async fn run() -> Result<(), hanzo_proxy::ProxyError> {
//! let options = hanzo_proxy::ProxyOptions {
//!     listen: "127.0.0.1:8443".parse()?,
//!     guest: "127.0.0.1:9443".parse()?,
//!     ..hanzo_proxy::ProxyOptions::default()
//! };
//! hanzo_proxy::serve(options, std::future::pending(), |at| eprintln!("listening on {at}")).await
//! # }
//! ```
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

mod address;
mod admission;
mod args;
pub mod config;
mod discover;
mod error;
mod forward;
mod handover;
mod health;
mod metrics;
mod pipe;
mod pool;
pub mod proxy_protocol;
mod route;
mod serve;
pub mod sni;
mod socket;
mod socket_file;
mod state;
mod worker;

pub use address::Address;
pub use args::{ProxyArgs, check, report, run};
pub use error::ProxyError;
pub use metrics::{MetricsAddress, MetricsListener};
pub use serve::{ProxyOptions, serve, serve_config};
