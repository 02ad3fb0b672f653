//! The untrusted host proxy: it carries opaque bytes between clients and the guest.
//!
//! It never looks into a byte it carries, holds no key and names no crate that could decrypt (`tests/tidy`, rule 2).
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

mod address;
mod args;
mod error;
mod forward;
mod metrics;
mod serve;
mod transport;

pub use address::Address;
pub use args::{ProxyArgs, run};
pub use error::ProxyError;
pub use metrics::MetricsAddress;
pub use serve::{ProxyOptions, serve};
