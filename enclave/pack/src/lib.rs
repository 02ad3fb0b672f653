//! Model packs: all files of one model, sealed in chunks under one data key, opened only as the whole that its root
//! names (DESIGN section 4, "Model pack"; format in `enclave/pack/SPEC.md`).
//!
//! [`seal`] runs at the operator, [`open`] in the guest. A pack is opened for a *weights root* that the measured
//! configuration and the grant name: the sealed file table must lead to that root before a file is written, every chunk
//! must authenticate at its own place and match its own leaf, and the files appear in one rename or not at all.
//!
//! Never: a partly opened model; an overwritten directory; a name that is a path; a pack key used twice with one nonce
//! (32 fresh random salt bytes a pack; the header, salt included, is under the key derivation).
//!
//! ```no_run
//! # fn main() -> Result<(), hanzo_pack::PackError> {
//! # let dek = hanzo_pqc::Dek::from_bytes(zeroize::Zeroizing::new([7; 32]));
//! let sealed = hanzo_pack::seal("model".as_ref(), &dek, "model.pack".as_ref(), &|_| ())?;
//! let opened = hanzo_pack::open("model.pack".as_ref(), &dek, &sealed.weights_root, "/run/models".as_ref(), &|_| ())?;
//! println!("{}", opened.dir.display());
//! # Ok(())
//! # }
//! ```
//!
//! Specs: NIST SP 800-38D (AES-GCM), RFC 5869 (HKDF), RFC 6962 section 2.1 (Merkle tree).
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

mod cipher;
mod error;
#[cfg(test)]
mod forged;
mod header;
mod open;
mod parallel;
mod root;
mod seal;
mod source;
mod staging;
mod table;

pub use error::PackError;
pub use header::{CHUNK_BYTES, HEADER_BYTES};
pub use open::{CheckedPack, OpenedPack, check, open};
pub use root::weights_root;
pub use seal::{SealedPack, seal};
pub use table::{FILES_MAX, FileName, PackedFile, TABLE_BYTES_MAX};

/// How far sealing, opening or hashing has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Plaintext bytes done.
    pub done_bytes: u64,
    /// Plaintext bytes in all.
    pub total_bytes: u64,
}

/// Called from the worker threads after each chunk.
pub type OnProgress<'a> = &'a (dyn Fn(Progress) + Sync);
