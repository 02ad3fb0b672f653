//! Proofs over Merkle trees of RFC 6962: that a leaf is in a tree, and that one tree extends another.
//!
//! Hashes and roots are those of `hanzo-attestation`; this adds consistency, and checks that name what fails.

pub use hanzo_attestation::merkle::{inclusion_path, leaf_hash, node_hash, root};

use hanzo_attestation::Digest256;
use hanzo_attestation::merkle::root_from_path;

use crate::LogError;

/// Longest proof: a tree of 2^63 leaves has paths of 63 hashes, a consistency proof one more.
pub const PROOF_HASHES_MAX: usize = 64;

/// Checks that `leaf` is number `index` (from 0) of the tree of `size` leaves under `root`.
///
/// # Errors
/// [`LogError::Inclusion`].
pub fn verify_inclusion(
    leaf: Digest256,
    index: u64,
    size: u64,
    path: &[Digest256],
    root: &Digest256,
) -> Result<(), LogError> {
    let leads = path.len() <= PROOF_HASHES_MAX && root_from_path(leaf, index, size, path).as_ref() == Some(root);
    match leads {
        true => Ok(()),
        false => Err(LogError::Inclusion { index, size }),
    }
}

/// What proves that the tree over `leaves` extends the tree over the first `old` of them (RFC 9162 section 2.1.4.1); empty if
/// there is nothing to prove (`old` is 0 or all), `None` if there are not so many leaves.
pub fn consistency_proof(leaves: &[Digest256], old: usize) -> Option<Vec<Digest256>> {
    if old > leaves.len() {
        return None;
    }
    let mut proof = Vec::new();
    if old > 0 && old < leaves.len() {
        subproof(leaves, old, true, &mut proof);
    }
    Some(proof)
}

fn subproof(leaves: &[Digest256], old: usize, complete: bool, proof: &mut Vec<Digest256>) {
    if old == leaves.len() {
        if !complete {
            proof.push(root(leaves));
        }
        return;
    }
    let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
    if old <= left.len() {
        subproof(left, old, complete, proof);
        proof.push(root(right));
    } else {
        subproof(right, old - left.len(), false, proof);
        proof.push(root(left));
    }
}

/// Checks that the tree of `new` leaves under `new_root` extends the tree of `old` leaves under `old_root`
/// (RFC 9162 section 2.1.4.2). Every tree extends the empty one, and itself.
///
/// # Errors
/// [`LogError::Consistency`].
pub fn verify_consistency(
    old: u64,
    old_root: &Digest256,
    new: u64,
    new_root: &Digest256,
    proof: &[Digest256],
) -> Result<(), LogError> {
    let refused = LogError::Consistency { old, new };
    if old == 0 || old == new {
        let same = match old {
            0 => *old_root == root(&[]) && (new != 0 || new_root == old_root),
            _ => old_root == new_root,
        };
        return match same && proof.is_empty() {
            true => Ok(()),
            false => Err(refused),
        };
    }
    if old > new || proof.len() > PROOF_HASHES_MAX {
        return Err(refused);
    }
    match climb(old, *old_root, new, proof) {
        Some((from_old, from_new)) if from_old == *old_root && from_new == *new_root => Ok(()),
        _ => Err(refused),
    }
}

/// Both roots that the proof leads to, for `0 < old < new`; `None` if its length does not fit the sizes.
fn climb(old: u64, old_root: Digest256, new: u64, proof: &[Digest256]) -> Option<(Digest256, Digest256)> {
    // A complete left subtree is not in the proof: it is the old root.
    let (first, rest) = match old.is_power_of_two() {
        true => (old_root, proof),
        false => proof.split_first().map(|(first, rest)| (*first, rest))?,
    };
    let shift = (old - 1).trailing_ones();
    let (mut node, mut last) = ((old - 1) >> shift, (new - 1) >> shift);
    let (mut from_old, mut from_new) = (first, first);
    for hash in rest {
        if last == 0 {
            return None;
        }
        if node & 1 == 1 || node == last {
            from_old = node_hash(hash, &from_old);
            from_new = node_hash(hash, &from_new);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            from_new = node_hash(&from_new, hash);
        }
        node >>= 1;
        last >>= 1;
    }
    (last == 0).then_some((from_old, from_new))
}
