//! IGVM: one file with everything a launch loads, page by page, and with the registers of the first processor.
//!
//! The file says which directives belong to which platform by a bit mask; a digest is that of the directives of one. There is no
//! kernel hash table: kernel, initrd and command line are pages like others.
//!
//! # Layout
//! Fixed header: "IGVM", u32 format (1 or 2), u32 offset and u32 size of the variable headers, u32 file size, u32 CRC-32 over
//! fixed and variable headers with itself as zero; format 2 adds u32 architecture (0: x64) and u32 page size (4096). Variable
//! headers are `{u32 type, u32 length}` and `length` bytes, padded to 8. Offsets of page contents count from the file's start.
//!
//! Written here and not taken from the `igvm` crate: its 0.5.0 panics on malformed files (`measured-boot/SPEC.md` section 8).
//!
//! # Spec
//! microsoft/igvm, `igvm_defs` 0.5.0.

mod crc;
mod error;
mod measure;
mod read;

pub use error::IgvmError;
pub use measure::{Loader, ZeroPages};
pub use read::{Directive, Igvm, PageContents, PageFlags, Platform};

/// Longest file in bytes.
pub const IGVM_BYTES_MAX: usize = 64 << 20;
