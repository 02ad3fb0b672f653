//! Roots and proofs out of stored subtrees: for whoever keeps a log that no longer fits in one hand.
//!
//! A log's tree is made of complete subtrees, each known by height and index. The caller reads them from wherever they lie
//! (a database, tiles); what is asked for is about two of them for every level. The proofs are those of [`crate::tree`].

use hanzo_attestation::Digest256;

use crate::tree::{self, node_hash};

/// A complete subtree: it spans `2^height` leaves, from leaf `index * 2^height` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Subtree {
    /// How many levels are in it besides its root.
    pub height: u32,
    /// Which of its height, from 0.
    pub index: u64,
}

/// The root over the first `size` leaves.
///
/// # Errors
/// Those of `read`.
pub fn root<E>(size: u64, read: &mut impl FnMut(Subtree) -> Result<Digest256, E>) -> Result<Digest256, E> {
    match size {
        0 => Ok(tree::root(&[])),
        _ => over(0, size, read),
    }
}

/// The path that proves leaf `index` in the tree of `size` leaves (RFC 9162 section 2.1.3.1); `None` if there is no such leaf.
///
/// # Errors
/// Those of `read`.
pub fn inclusion<E>(
    index: u64,
    size: u64,
    read: &mut impl FnMut(Subtree) -> Result<Digest256, E>,
) -> Result<Option<Vec<Digest256>>, E> {
    if index >= size {
        return Ok(None);
    }
    let mut path = Vec::new();
    let (mut start, mut end) = (0, size);
    while end - start > 1 {
        let middle = start + split(end - start);
        if index < middle {
            path.push(over(middle, end, read)?);
            end = middle;
        } else {
            path.push(over(start, middle, read)?);
            start = middle;
        }
    }
    path.reverse();
    Ok(Some(path))
}

/// What proves that the tree of `new` leaves extends that of `old` (RFC 9162 section 2.1.4.1); `None` if `old` is larger.
///
/// # Errors
/// Those of `read`.
pub fn consistency<E>(
    old: u64,
    new: u64,
    read: &mut impl FnMut(Subtree) -> Result<Digest256, E>,
) -> Result<Option<Vec<Digest256>>, E> {
    if old > new {
        return Ok(None);
    }
    let mut proof = Vec::new();
    if old == 0 || old == new {
        return Ok(Some(proof));
    }
    let (mut start, mut end) = (0, new);
    // Until the old tree's last part is a subtree of the new one: it is in the proof, unless it is the whole old tree.
    while end != old {
        let middle = start + split(end - start);
        if old <= middle {
            proof.push(over(middle, end, read)?);
            end = middle;
        } else {
            proof.push(over(start, middle, read)?);
            start = middle;
        }
    }
    if start > 0 {
        proof.push(over(start, end, read)?);
    }
    proof.reverse();
    Ok(Some(proof))
}

/// The root over leaves `start` to `end`, for parts as the tree's own splits make them.
fn over<E>(start: u64, end: u64, read: &mut impl FnMut(Subtree) -> Result<Digest256, E>) -> Result<Digest256, E> {
    let leaves = end - start;
    if leaves.is_power_of_two() {
        let height = leaves.trailing_zeros();
        return read(Subtree {
            height,
            index: start >> height,
        });
    }
    let middle = start + split(leaves);
    let left = over(start, middle, read)?;
    Ok(node_hash(&left, &over(middle, end, read)?))
}

/// The largest power of two below `leaves`, which is 2 or more.
fn split(leaves: u64) -> u64 {
    1 << (63 - (leaves - 1).leading_zeros())
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::tree::{consistency_proof, inclusion_path, leaf_hash};

    #[test]
    fn proofs_out_of_subtrees_are_those_over_all_leaves() {
        let leaves: Vec<Digest256> = (0_u8..70).map(|n| leaf_hash(&[&[n]])).collect();
        let mut read = |s: Subtree| {
            let start = (s.index << s.height) as usize;
            Ok::<_, Infallible>(tree::root(&leaves[start..start + (1 << s.height)]))
        };
        for size in 0..=leaves.len() {
            let all = &leaves[..size];
            assert_eq!(root(size as u64, &mut read), Ok(tree::root(all)));
            for index in 0..=size {
                let path = inclusion(index as u64, size as u64, &mut read);
                assert_eq!(path, Ok(inclusion_path(all, index)), "{index} of {size}");
                let proof = consistency(index as u64, size as u64, &mut read);
                assert_eq!(proof, Ok(consistency_proof(all, index)), "{index} to {size}");
            }
            let larger = consistency(size as u64 + 1, size as u64, &mut read);
            assert_eq!(larger, Ok(None));
        }
    }
}
