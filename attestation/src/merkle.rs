//! Merkle trees of RFC 6962 section 2.1 over SHA-256: root, inclusion path, and its check (RFC 9162 section 2.1.3.2).

use crate::digest::Digest256;
use aws_lc_rs::digest::{Context, SHA256};

/// The hash of a leaf: `SHA-256(0x00 || data)`, data given in parts.
pub fn leaf_hash(parts: &[&[u8]]) -> Digest256 {
    let mut context = Context::new(&SHA256);
    context.update(&[0]);
    for part in parts {
        context.update(part);
    }
    finish(context)
}

/// The hash of two subtrees: `SHA-256(0x01 || left || right)`.
pub fn node_hash(left: &Digest256, right: &Digest256) -> Digest256 {
    let mut context = Context::new(&SHA256);
    context.update(&[1]);
    context.update(&left.0);
    context.update(&right.0);
    finish(context)
}

fn finish(context: Context) -> Digest256 {
    let mut out = [0; 32];
    out.copy_from_slice(context.finish().as_ref());
    Digest256(out)
}

/// The root over leaf hashes; of no leaves: `SHA-256("")`.
pub fn root(leaves: &[Digest256]) -> Digest256 {
    match leaves {
        [] => Digest256::of(b""),
        [one] => *one,
        many => {
            let (left, right) = many.split_at(split(many.len()));
            node_hash(&root(left), &root(right))
        }
    }
}

/// The largest power of two below `n`, for `n >= 2`.
fn split(n: usize) -> usize {
    n.next_power_of_two() / 2
}

/// The sibling hashes from leaf `index` up to the root; `None` if there is no such leaf.
pub fn inclusion_path(leaves: &[Digest256], index: usize) -> Option<Vec<Digest256>> {
    if index >= leaves.len() {
        return None;
    }
    let mut path = Vec::new();
    let (mut rest, mut at) = (leaves, index);
    while rest.len() > 1 {
        let (left, right) = rest.split_at(split(rest.len()));
        if at < left.len() {
            path.push(root(right));
            rest = left;
        } else {
            path.push(root(left));
            at -= left.len();
            rest = right;
        }
    }
    path.reverse();
    Some(path)
}

/// The root that `leaf` at `index` of `size` leaves and this path lead to; `None` if index, size and path length do
/// not fit each other.
pub fn root_from_path(leaf: Digest256, index: u64, size: u64, path: &[Digest256]) -> Option<Digest256> {
    if index >= size {
        return None;
    }
    let (mut node, mut last, mut hash) = (index, size - 1, leaf);
    for sibling in path {
        if last == 0 {
            return None;
        }
        if node & 1 == 1 || node == last {
            hash = node_hash(sibling, &hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    (last == 0).then_some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_match_the_reference_values_of_certificate_transparency() {
        // Test vectors of google/certificate-transparency's merkle_tree_test: leaves "", 00, 10, 2021, ...
        assert_eq!(
            leaf_hash(&[b""]).to_string(),
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
        );
        let leaves = [leaf_hash(&[b""]), leaf_hash(&[&[0]]), leaf_hash(&[&[0x10]])];
        assert_eq!(
            root(&leaves[..2]).to_string(),
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"
        );
        assert_eq!(
            root(&leaves).to_string(),
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"
        );
    }

    #[test]
    fn every_leaf_of_every_small_tree_proves_itself_and_nothing_else() {
        for size in 1..=17_usize {
            let leaves: Vec<_> = (0..size).map(|i| leaf_hash(&[&[i as u8]])).collect();
            let expected = root(&leaves);
            for index in 0..size {
                let path = inclusion_path(&leaves, index).unwrap();
                assert_eq!(
                    root_from_path(leaves[index], index as u64, size as u64, &path),
                    Some(expected)
                );
                if size > 1 {
                    let other = (index + 1) % size;
                    assert_ne!(
                        root_from_path(leaves[index], other as u64, size as u64, &path),
                        Some(expected)
                    );
                    assert_eq!(
                        root_from_path(leaves[index], index as u64, size as u64, &path[1..]),
                        None
                    );
                }
                let mut long = path.clone();
                long.push(expected);
                assert_eq!(root_from_path(leaves[index], index as u64, size as u64, &long), None);
            }
            assert_eq!(inclusion_path(&leaves, size), None);
        }
    }
}
