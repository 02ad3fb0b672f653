//! One measured thing in both banks.

use hanzo_attestation::digest::{Digest256, Digest384};

/// The digests of one measured thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digests {
    /// In the SHA-256 bank.
    pub sha256: Digest256,
    /// In the SHA-384 bank, and for TDX.
    pub sha384: Digest384,
}

impl Digests {
    /// Of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self::of_parts(&[bytes])
    }

    /// Of `parts`, one after the other.
    pub fn of_parts(parts: &[&[u8]]) -> Self {
        Self {
            sha256: crate::sha256(parts),
            sha384: crate::sha384(parts),
        }
    }
}
