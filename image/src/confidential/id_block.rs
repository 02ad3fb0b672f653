//! An ID block and its authentication, checked before a processor refuses them.

use std::fs;
use std::path::{Path, PathBuf};

use hanzo_measured_boot::matrix::{Measured, ReferenceMatrix};
use hanzo_measured_boot::snp::id_block::{AuthBlock, IdBlock, IdBlockError};

use crate::error::ImageError;

/// An ID block whose signatures hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedIdBlock {
    path: PathBuf,
    block: IdBlock,
    auth: AuthBlock,
    has_author: bool,
}

impl SignedIdBlock {
    /// Reads both files (96 and 4096 bytes) and verifies the signatures.
    ///
    /// # Establishes
    /// The ID key signed the block, and the author key, if there is one, the ID key. Whose keys they are is the policy's
    /// question (`id_keys`, `author_keys`).
    ///
    /// # Errors
    /// [`ImageError::Io`], [`ImageError::Measured`].
    pub fn read(block: &Path, auth: &Path) -> Result<Self, ImageError> {
        let file = |path: &Path| fs::read(path).map_err(ImageError::io(path));
        let refused = |path: &Path, error: IdBlockError| ImageError::Measured {
            path: path.to_owned(),
            code: error.code(),
            text: error.to_string(),
            help: "make both files again with the ID key",
        };
        let parsed = IdBlock::parse(&file(block)?).map_err(|e| refused(block, e))?;
        let signed = AuthBlock::parse(&file(auth)?).map_err(|e| refused(auth, e))?;
        let keys = signed.verify(&parsed).map_err(|e| refused(auth, e))?;
        Ok(Self {
            path: block.to_owned(),
            block: parsed,
            auth: signed,
            has_author: keys.author_key.is_some(),
        })
    }

    pub(super) fn block(&self) -> Vec<u8> {
        self.block.bytes().to_vec()
    }

    pub(super) fn auth(&self) -> Vec<u8> {
        self.auth.bytes()
    }

    pub(super) fn has_author(&self) -> bool {
        self.has_author
    }

    /// Whether the block is for this launch: the digest that the processor will have, and the policy that QEMU is told.
    pub(super) fn fits(&self, expected: &ReferenceMatrix, policy: u64) -> Result<(), ImageError> {
        let other = |expected, got| ImageError::Different {
            file: self.path.display().to_string(),
            how: format!("{expected}, the ID block says {got}: the processor would refuse the launch"),
        };
        let digest = expected.values().iter().find_map(|value| match value.measured {
            Measured::Snp { measurement } => Some(measurement),
            Measured::Tdx { .. } => None,
        });
        if digest != Some(self.block.launch_digest) {
            let measured = digest.map(|digest| digest.to_string()).unwrap_or_default();
            return Err(other(
                format!("this launch measures {measured}"),
                self.block.launch_digest.to_string(),
            ));
        }
        if self.block.policy != policy {
            return Err(other(
                format!("the guest's policy is {policy:#x}"),
                format!("{:#x}", self.block.policy),
            ));
        }
        Ok(())
    }
}
