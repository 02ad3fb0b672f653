//! Deltas: what a tenant's fine-tuning changed in a base model, as one sign a weight and one scale a matrix (BitDelta, arXiv
//! 2402.10193). [`make`] takes one from two models, [`apply`] puts one onto a copy of the base. Format: `enclave/delta/SPEC.md`.
//!
//! Exact: the same base and delta give the same bytes everywhere, so the result has a weights root like any other model.
//!
//! Never: a file changed before everything was checked; a tensor of another size or encoding than the delta was made for.
//!
//! ```no_run
//! # fn main() -> Result<(), hanzo_delta::DeltaError> {
//! hanzo_delta::make("base".as_ref(), "fine".as_ref(), "delta.safetensors".as_ref())?;
//! hanzo_delta::apply("copy-of-base".as_ref(), "delta.safetensors".as_ref())?;
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod apply;
mod error;
mod float;
mod make;

pub use apply::{Applied, apply};
pub use error::DeltaError;
pub use make::{Made, make};

/// What the file of a delta is called in a pack.
pub use hanzo_model::DELTA_FILE;
/// What ends the name of a scale.
const SCALE: &str = ".scale";
/// Elements that are worked on at a time; a multiple of 8.
const BLOCK_ELEMENTS: usize = 1 << 18;
