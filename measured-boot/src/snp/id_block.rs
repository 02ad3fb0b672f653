//! The ID block: which launch digest a guest's owner expects, signed, and checked by the processor before the guest runs.
//!
//! It is the one place where SNP hardware knows a guest's version: the security version (guest SVN) and the key digests
//! that this block brings appear in every report. Private keys are no business of this crate: it builds the bytes to sign
//! ([`IdBlock::bytes`], [`IdKey::bytes`]), takes signatures in, and verifies.
//!
//! # Layout
//! ID block, 96 bytes: launch digest 48, family ID 16, image ID 16, u32 version (1), u32 guest SVN, u64 policy.
//! Authentication block, 4096 bytes: see [`AuthBlock`]. All numbers are little-endian, coordinates and signatures too.
//!
//! # Spec
//! SEV-SNP Firmware ABI (AMD 56860), "ID Block", "ID Authentication Information" and chapter 10, "ECDSA P-384".

mod auth;
mod error;
mod key;

pub use auth::{AUTH_BLOCK_BYTES, AuthBlock, KeyDigests};
pub use error::IdBlockError;
pub use key::{ID_KEY_BYTES, IdKey, IdSignature};

use hanzo_attestation::digest::Digest384;

use crate::cursor::View;

/// Length of an ID block.
pub const ID_BLOCK_BYTES: usize = 96;
/// Version of its format.
const VERSION: u32 = 1;

/// What a guest's owner expects of a launch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdBlock {
    /// Launch digest; another is not started.
    pub launch_digest: Digest384,
    /// The owner's; appears in reports.
    pub family_id: [u8; 16],
    /// The owner's; appears in reports.
    pub image_id: [u8; 16],
    /// The image's security version: reports carry it, and a policy may set a floor (`guest_svn_minimum`).
    pub guest_svn: u32,
    /// The POLICY that the guest must be started with.
    pub policy: u64,
}

impl IdBlock {
    /// The block, which is also what the ID key signs.
    pub fn bytes(&self) -> [u8; ID_BLOCK_BYTES] {
        let mut out = [0; ID_BLOCK_BYTES];
        let parts: [&[u8]; 6] = [
            &self.launch_digest.0,
            &self.family_id,
            &self.image_id,
            &VERSION.to_le_bytes(),
            &self.guest_svn.to_le_bytes(),
            &self.policy.to_le_bytes(),
        ];
        for (to, from) in out.iter_mut().zip(parts.into_iter().flatten()) {
            *to = *from;
        }
        out
    }

    /// Reads a block.
    ///
    /// # Errors
    /// [`IdBlockError::Length`], [`IdBlockError::Version`].
    pub fn parse(bytes: &[u8]) -> Result<Self, IdBlockError> {
        let view = View(bytes);
        let wrong = IdBlockError::Length {
            what: "ID block",
            expected: ID_BLOCK_BYTES,
            got: bytes.len(),
        };
        let (Some(digest), Some(family_id), Some(image_id), Some(version), Some(guest_svn), Some(policy)) = (
            view.array(0),
            view.array(48),
            view.array(64),
            view.u32(80),
            view.u32(84),
            view.u64(88),
        ) else {
            return Err(wrong);
        };
        if bytes.len() != ID_BLOCK_BYTES {
            return Err(wrong);
        }
        if version != VERSION {
            return Err(IdBlockError::Version { got: version });
        }
        Ok(Self {
            launch_digest: Digest384(digest),
            family_id,
            image_id,
            guest_svn,
            policy,
        })
    }
}
