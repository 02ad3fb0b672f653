//! What stands in a state, for those who know its root alone.

use hanzo_attestation::Digest256;

use crate::codec::{Canonical, DecodeError, Reader};
use crate::entry::{Key, VALUE_BYTES_MAX, Value};
use crate::state::digest_of;
use crate::tree::{DEPTH_MAX, Shown, TreeProof};

/// Longest proof in bytes.
pub const PROOF_BYTES_MAX: usize = VALUE_BYTES_MAX + 32 * DEPTH_MAX + 128;

/// A value, or none, and the way from there to the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    pub(crate) value: Option<Value>,
    pub(crate) tree: TreeProof,
}

impl Canonical for Proof {
    fn write(&self, out: &mut Vec<u8>) {
        self.value.is_some().write(out);
        if let Some(value) = &self.value {
            value.write(out);
        }
        self.tree.write(out);
    }

    fn read(from: &mut Reader<'_>, _what: &'static str) -> Result<Self, DecodeError> {
        let value = match bool::read(from, "Proof.value")? {
            true => Some(Value::read(from, "Proof.value")?),
            false => None,
        };
        let tree = TreeProof::read(from, "Proof.tree")?;
        Ok(Self { value, tree })
    }
}

/// The proof does not lead from its value to the root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("proof: it does not lead to the root {root}: it is of another state, key or value")]
pub struct NotProven {
    /// The root that was given.
    pub root: Digest256,
}

impl Proof {
    /// Reads a proof.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, DecodeError> {
        Self::from_bytes("proof", bytes, PROOF_BYTES_MAX)
    }

    /// What stands under `key` in the state of this root; `None`: nothing does.
    ///
    /// # Establishes
    /// The state with this root holds exactly this under `key`.
    ///
    /// # Does not establish
    /// That the root is final: that is a block's certificate.
    ///
    /// # Errors
    /// [`NotProven`].
    pub fn verify(&self, root: &Digest256, key: &Key) -> Result<Option<&Value>, NotProven> {
        let shown = self.tree.shows(root, &key.path());
        match (shown, &self.value) {
            (Some(Shown::Present(digest)), Some(value)) if digest == digest_of(value) && value.fits(key) => {
                Ok(Some(value))
            }
            (Some(Shown::Absent), None) => Ok(None),
            _ => Err(NotProven { root: *root }),
        }
    }
}
