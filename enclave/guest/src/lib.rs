//! The guest: boots from a measured configuration, earns its keys, seals its keyset, and serves.
//!
//! [`run`] is the whole life of one guest: harden the process, read the measured configuration, make keys, get grants
//! from the broker that the configuration pins, open the store and the model packs, verify the GPUs, start the engines, seal the keyset,
//! make evidence over it, serve TLS. Any failure stops the boot with one reason ([`GuestError::code`]); nothing is ever
//! served with less.
//!
//! It reaches nobody but its key broker: at the host's word, or, if the configuration lists names, by those names over TLS that ends
//! here ([`egress`]).
//!
//! What it never does: believe the host (its clock, its address for the broker, its files beyond what was measured),
//! write plaintext anywhere but into a private directory in memory, resume a TLS session, or hand a key to the engine.
//!
//! The attester is handed in. The program `hanzo-guest` knows one: the processor it runs on.
//!
//! # Spec
//! DESIGN sections 4 ("Config", "Keyset", "Freshness", "Channel proof", "Grant") and 5, flow 1.
#![forbid(unsafe_code)]
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

pub mod account;
pub mod aci;
mod boot;
mod clock;
mod demand;
mod devices;
pub mod egress;
pub mod engine;
pub mod error;
pub mod evidence;
pub mod fence;
mod first;
pub mod grants;
pub mod kbs_http;
pub mod keys;
pub mod models;
pub mod options;
mod padding;
mod panics;
pub mod probe;
mod rotation;
mod run;
pub mod runtime_dir;
pub mod sealed;
pub mod sealing;
mod serve;
mod stop;
pub mod transport;
mod versions;
mod well_known;

pub use error::GuestError;
pub use options::{DeviceTrust, GuestOptions, OperatingLimits, PlaintextStorage};
pub use panics::hide_panic_messages;
pub use run::{Ready, run};
pub use transport::ListenAddress;
