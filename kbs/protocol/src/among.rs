//! One signature over several grants: what a broker signs when many guests ask at once.
//!
//! A post-quantum signature costs more than everything else that a grant is made of. So the wraps that a broker decides on
//! together become leaves of a Merkle tree (RFC 6962 section 2.1, SHA-256), both signing keys sign its root, and each guest
//! gets its own leaf's path. A guest checks exactly as much as before: that this grant, with this wrap, is what the pinned
//! keys signed. Of the others it learns their number and some hashes, which are over the challenges' and encapsulations'
//! randomness and tell nothing.
//!
//! Above tier 2, where SHA-256 is not among the algorithms that may be relied on, every grant is signed alone.

use hanzo_attestation::Digest256;
use hanzo_attestation::jcs::{self, JcsError};
use hanzo_attestation::merkle;
use serde::{Deserialize, Serialize};

use crate::GrantError;

/// Where a wrap stands in the tree of those that were signed together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Among {
    /// Its leaf's place, from 0.
    pub index: u64,
    /// The siblings' hashes from the leaf up, at most 6.
    pub path: Vec<Digest256>,
    /// How many leaves there are, 2 to 64.
    pub size: u64,
}

impl Among {
    /// What was signed, if this wrap is where it says.
    ///
    /// # Errors
    /// [`GrantError::Among`] if place, size and path do not fit each other.
    pub(crate) fn leads_to(&self, signed_bytes: &[u8]) -> Result<SeveralSigned, GrantError> {
        if !(2..=SeveralSigned::SIZE_MAX as u64).contains(&self.size) {
            return Err(self.refused("2 to 64 grants under one signature"));
        }
        let leaf = merkle::leaf_hash(&[signed_bytes]);
        let root = merkle::root_from_path(leaf, self.index, self.size, &self.path);
        let root = root.ok_or_else(|| self.refused("a place among them and a path of that place's length"))?;
        Ok(SeveralSigned { root, size: self.size })
    }

    pub(crate) fn refused(&self, expected: &'static str) -> GrantError {
        GrantError::Among {
            expected,
            index: self.index,
            size: self.size,
            path: self.path.len(),
        }
    }
}

/// What is signed for several wraps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SeveralSigned {
    root: Digest256,
    size: u64,
}

impl SeveralSigned {
    /// Most wraps under one signature.
    pub const SIZE_MAX: usize = 64;
    /// Highest tier whose grants may share one.
    pub const TIER_MAX: u8 = 2;

    /// The tree over several [`crate::WrappedDek::signed_bytes`], in their order, and the place of each; `None` if they are
    /// fewer than 2 or more than [`SeveralSigned::SIZE_MAX`].
    pub fn over(each: &[Vec<u8>]) -> Option<(Self, Vec<Among>)> {
        if !(2..=Self::SIZE_MAX).contains(&each.len()) {
            return None;
        }
        let leaves: Vec<_> = each.iter().map(|bytes| merkle::leaf_hash(&[bytes])).collect();
        let size = leaves.len() as u64;
        let places = (0..leaves.len()).map(|at| {
            let path = merkle::inclusion_path(&leaves, at)?;
            let index = at as u64;
            Some(Among { index, path, size })
        });
        let root = merkle::root(&leaves);
        Some((Self { root, size }, places.collect::<Option<_>>()?))
    }

    /// The message of both signatures, in the domain `hanzo/grants/v1`: JCS of `{"root","size"}`.
    ///
    /// # Errors
    /// [`JcsError`], never for values of this type.
    pub fn canonical(&self) -> Result<Vec<u8>, JcsError> {
        jcs::to_vec("root over grants", self)
    }
}
