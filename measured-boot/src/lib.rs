//! What a machine will measure, computed from what it will boot.
//!
//! Firmware, kernel, initrd, command line and the shape of the virtual machine go in; the SNP launch digest, TDX's MRTD and
//! RTMRs and a vTPM's PCRs come out. Nothing here reads files, clocks or random sources: bytes are arguments. Every file is
//! read as if its author were hostile: each offset and length is checked against the bytes that are there.
//!
//! Algorithms, byte layouts and where each fact comes from: `measured-boot/SPEC.md`.
//!
//! # Establishes
//! Which digest a processor reports for these inputs under these parameters.
//!
//! # Does not establish
//! That the inputs are good ones, or that a host runs with these parameters: what a value is for is written beside it.
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

mod cursor;
mod digests;
mod hash;

// What is launched: memory and registers that a processor measures before the first instruction.
pub mod firmware;
pub mod igvm;
pub mod matrix;
pub mod snp;
pub mod tdx;

// What the boot then measures, event by event, and what an event log tells of it.
pub mod acpi;
pub mod boot;
pub mod crtm;
pub mod efi;
pub mod event;
pub mod explain;
pub mod kernel;
pub mod pcr;
pub mod pe;
pub mod prediction;
pub mod replay;
pub mod rtmr;
pub mod uki;

pub use digests::Digests;
pub use hash::{sha256, sha384};
