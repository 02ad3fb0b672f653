//! The right edge of a growing tree: all that appending needs.

use hanzo_attestation::Digest256;

use crate::tree::{node_hash, root};
use crate::{LogError, SIZE_MAX};

/// A compact range over the leaves 0 to `size`: the roots of its complete subtrees, largest first. One hash for every bit
/// that is set in `size`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    subtrees: Vec<Digest256>,
}

/// A subtree that an append completed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Completed {
    /// Height: the subtree spans `2^height` leaves.
    pub height: u32,
    /// Which of its height, from 0.
    pub index: u64,
    /// Its root.
    pub hash: Digest256,
}

impl Frontier {
    /// How many leaves there are.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Appends a leaf (its hash); the subtrees that it completes, lowest first, the leaf itself among them.
    ///
    /// # Errors
    /// [`LogError::Full`] at [`SIZE_MAX`] leaves.
    pub fn push(&mut self, leaf: Digest256) -> Result<Vec<Completed>, LogError> {
        if self.size >= SIZE_MAX {
            return Err(LogError::Full);
        }
        let mut completed = vec![Completed {
            height: 0,
            index: self.size,
            hash: leaf,
        }];
        let mut hash = leaf;
        for height in 1..=self.size.trailing_ones() {
            let Some(left) = self.subtrees.pop() else { break };
            hash = node_hash(&left, &hash);
            completed.push(Completed {
                height,
                index: self.size >> height,
                hash,
            });
        }
        self.subtrees.push(hash);
        self.size += 1;
        Ok(completed)
    }

    /// The root over all leaves.
    pub fn root(&self) -> Digest256 {
        let mut right_to_left = self.subtrees.iter().rev();
        match right_to_left.next() {
            None => root(&[]),
            Some(last) => right_to_left.fold(*last, |hash, left| node_hash(left, &hash)),
        }
    }

    /// The subtrees' roots one after another, 32 bytes each, largest first.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.subtrees.iter().flat_map(|h| h.0).collect()
    }

    /// Reads what [`Frontier::to_bytes`] wrote for a tree of `size` leaves.
    ///
    /// # Errors
    /// [`LogError::Frontier`] for a length that does not fit `size`.
    pub fn from_bytes(size: u64, bytes: &[u8]) -> Result<Self, LogError> {
        let (hashes, rest) = bytes.as_chunks::<32>();
        if size > SIZE_MAX || !rest.is_empty() || hashes.len() as u64 != u64::from(size.count_ones()) {
            return Err(LogError::Frontier {
                size,
                bytes: bytes.len(),
            });
        }
        Ok(Self {
            size,
            subtrees: hashes.iter().copied().map(Digest256).collect(),
        })
    }
}
