//! Rego resource policies of the CoCo key broker, as a rule that can only narrow a release.
//!
//! A [`Module`] is checked Rego text: `package policy` with a rule `allow`. [`Module::allows`] evaluates it over the claims
//! of one attestation and the resource that is asked for. `true` is yes; everything else (`false`, undefined, another type,
//! an error, too many steps) is a typed no.
//!
//! # Bounds
//! Text 64 KiB, input 256 KiB, [`STEPS_MAX`] evaluation steps, counted and not timed, so that the same question has the same
//! answer on every machine. There is no clock, no random source, no network and no environment for a module to look at:
//! those functions of Rego do not exist here. Functions that make a large value of small arguments do not exist either.
//!
//! # Does not establish
//! That a module which doubles a text in every line runs out of steps before memory: who may write policies can load the
//! broker. Each evaluation starts anew; nothing is kept from one to the next.
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

mod evaluate;
mod module;
mod steps;

pub use module::{INPUT_BYTES_MAX, Module, RegoError, Resource, STEPS_MAX, TEXT_BYTES_MAX};
