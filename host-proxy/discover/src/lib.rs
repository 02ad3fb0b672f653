//! Which guests stand behind a Kubernetes service, told to a host proxy over a Unix socket.
//!
//! It lists and watches the EndpointSlices of one service in one namespace with the pod's own credential, and needs the right to
//! `list` and `watch` `endpointslices` there and nothing else. It is a process of its own: the proxy, which faces the network,
//! holds no credential and links no TLS. What it says can stop service and do nothing else; clients verify whom they reach.
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

mod api;
mod args;
mod error;
mod follow;
mod publish;
mod slices;

pub use api::ApiServer;
pub use args::{DiscoverArgs, run};
pub use error::DiscoverError;
pub use follow::{Service, follow};
pub use publish::{Known, publish};
pub use slices::Port;
