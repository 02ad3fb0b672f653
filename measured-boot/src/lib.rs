//! What a machine will measure, computed from what it will boot.
//!
//! Firmware, kernel, initrd, command line and the shape of the virtual machine go in; the SNP launch digest, TDX's MRTD and
//! RTMRs and a vTPM's PCRs come out. Nothing here reads files, clocks or random sources: bytes are arguments.
#![forbid(unsafe_code)]

mod cursor;
mod hash;

pub use hash::{sha256, sha384};
