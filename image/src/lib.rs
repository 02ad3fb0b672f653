//! The guest's image: made from pinned inputs to the same bytes everywhere, checked by making it again, and booted.
//!
//! [`build()`] puts a directory together: Debian's kernel, one archive with the static guest as `/init`, the modules it
//! needs and the measured configuration, the command line, and a manifest with the digest of everything that went in and
//! came out. [`verify`](verify::verify) makes the same image again and names the first difference.
//! [`predict`](predict::predict) writes down what its boot will measure. [`run`](run::run) boots it under QEMU with a
//! software TPM.
//!
//! What it never does: take a package whose SHA-256 is not the pinned one, leave a half-written image behind, or write
//! anything of the building machine (paths, users, times, locale, number of processors) into an image.
//!
//! # Spec
//! DESIGN section 4 ("Config", "Release manifest") and section 5, flow 3; SPEC.md beside this crate.
#![forbid(unsafe_code)]
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        reason = "tests say so by failing"
    )
)]

pub mod assemble;
pub mod board;
pub mod cli;
pub mod confidential;
pub mod cpio;
pub mod deb;
pub mod elf;
pub mod error;
pub mod fetch;
pub mod firmware;
pub mod frames;
pub mod inputs;
pub mod kernel;
pub mod manifest;
pub mod matrix;
pub mod module;
pub mod output;
pub mod predict;
pub mod profile;
pub mod recipe;
pub mod reference;
pub mod release;
pub mod run;
pub mod sbom;
pub mod tpm;
pub mod uki;
pub mod verify;

pub use assemble::{Parts, build};
pub use error::ImageError;
pub use inputs::Inputs;
pub use manifest::Manifest;
pub use recipe::Recipe;

pub use hanzo_init::{Network, Profile, Role};
