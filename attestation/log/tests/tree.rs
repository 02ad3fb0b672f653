//! Roots and proofs: reference values, every small size, every flipped bit.

use hanzo_attestation::Digest256;
use hanzo_log::tree::{consistency_proof, inclusion_path, leaf_hash, root, verify_consistency, verify_inclusion};
use hanzo_log::{Frontier, LogError};

/// Leaves and roots of google/certificate-transparency's merkle_tree_test.
const LEAVES: [&str; 8] = [
    "",
    "00",
    "10",
    "2021",
    "3031",
    "40414243",
    "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
];
const ROOTS: [&str; 9] = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

fn leaves(count: u64) -> Vec<Digest256> {
    (0..count).map(|n| leaf_hash(&[&n.to_be_bytes()])).collect()
}

fn flipped(hash: Digest256, bit: usize) -> Digest256 {
    let mut bytes = hash.0;
    bytes[bit / 8] ^= 1 << (bit % 8);
    Digest256(bytes)
}

#[test]
fn roots_are_those_of_certificate_transparency() {
    let hashes: Vec<_> = LEAVES.map(|l| leaf_hash(&[&hex::decode(l).unwrap()])).to_vec();
    let mut frontier = Frontier::default();
    for (size, expected) in ROOTS.iter().enumerate() {
        assert_eq!(root(&hashes[..size]).to_string(), *expected, "{size} leaves");
        assert_eq!(frontier.root().to_string(), *expected, "{size} leaves appended");
        if let Some(leaf) = hashes.get(size) {
            frontier.push(*leaf).unwrap();
        }
    }
}

#[test]
fn every_leaf_of_every_size_up_to_64_is_proven_and_every_change_refused() {
    let all = leaves(64);
    for size in 1..=64_u64 {
        let tree = &all[..size as usize];
        let expected = root(tree);
        for index in 0..size {
            let leaf = tree[index as usize];
            let path = inclusion_path(tree, index as usize).unwrap();
            verify_inclusion(leaf, index, size, &path, &expected).unwrap();
            let refused = |leaf, index, size, path: &[Digest256], root: &Digest256| {
                let result = verify_inclusion(leaf, index, size, path, root);
                assert_eq!(result, Err(LogError::Inclusion { index, size }));
            };
            refused(flipped(leaf, 7), index, size, &path, &expected);
            refused(leaf, index, size, &path, &flipped(expected, 200));
            refused(leaf, index + size, size, &path, &expected);
            let mut longer = path.clone();
            longer.push(expected);
            refused(leaf, index, size, &longer, &expected);
            if size > 1 {
                refused(leaf, (index + 1) % size, size, &path, &expected);
                refused(leaf, index, size, &path[1..], &expected);
            }
        }
    }
}

#[test]
fn every_pair_of_sizes_up_to_64_is_consistent_and_every_change_refused() {
    let all = leaves(64);
    for new in 0..=64_u64 {
        let new_root = root(&all[..new as usize]);
        for old in 0..=new {
            let old_root = root(&all[..old as usize]);
            let proof = consistency_proof(&all[..new as usize], old as usize).unwrap();
            verify_consistency(old, &old_root, new, &new_root, &proof).unwrap();
            let refused = |old, old_root: &Digest256, new, new_root: &Digest256, proof: &[Digest256]| {
                let result = verify_consistency(old, old_root, new, new_root, proof);
                assert_eq!(result, Err(LogError::Consistency { old, new }));
            };
            if old > 0 {
                refused(old, &flipped(old_root, 3), new, &new_root, &proof);
                refused(old, &old_root, new, &flipped(new_root, 255), &proof);
            }
            let mut longer = proof.clone();
            longer.push(new_root);
            refused(old, &old_root, new, &new_root, &longer);
            if !proof.is_empty() {
                refused(old, &old_root, new, &new_root, &proof[1..]);
                refused(old, &old_root, new, &new_root, &proof[..proof.len() - 1]);
                refused(old + 1, &old_root, new, &new_root, &proof);
            }
            if old != new {
                refused(new, &new_root, old, &old_root, &proof);
            }
        }
        assert_eq!(consistency_proof(&all[..new as usize], new as usize + 1), None);
    }
}

#[test]
fn every_flipped_bit_of_a_proof_is_refused() {
    let all = leaves(37);
    let new_root = root(&all);
    for index in [0, 17, 36] {
        let path = inclusion_path(&all, index).unwrap();
        for (n, bit) in (0..path.len()).flat_map(|n| (0..256).map(move |bit| (n, bit))) {
            let mut bad = path.clone();
            bad[n] = flipped(bad[n], bit);
            verify_inclusion(all[index], index as u64, 37, &bad, &new_root).unwrap_err();
        }
    }
    for old in [1, 6, 16, 32, 33, 36] {
        let old_root = root(&all[..old]);
        let proof = consistency_proof(&all, old).unwrap();
        for (n, bit) in (0..proof.len()).flat_map(|n| (0..256).map(move |bit| (n, bit))) {
            let mut bad = proof.clone();
            bad[n] = flipped(bad[n], bit);
            verify_consistency(old as u64, &old_root, 37, &new_root, &bad).unwrap_err();
        }
    }
}

#[test]
fn a_frontier_survives_its_bytes_and_names_what_it_completes() {
    let all = leaves(300);
    let mut frontier = Frontier::default();
    for (n, leaf) in all.iter().enumerate() {
        for done in frontier.push(*leaf).unwrap() {
            let span = 1 << done.height;
            let from = done.index as usize * span;
            assert_eq!(done.hash, root(&all[from..from + span]), "leaf {n}");
            assert_eq!(from + span, n + 1);
        }
        let bytes = frontier.to_bytes();
        assert_eq!(Frontier::from_bytes(n as u64 + 1, &bytes), Ok(frontier.clone()));
        let code = |size, bytes: &[u8]| Frontier::from_bytes(size, bytes).map_err(|e| e.code());
        assert_eq!(code(n as u64 + 1, &bytes[1..]), Err("log.frontier"));
        assert_eq!(code(u64::MAX, &bytes), Err("log.frontier"));
    }
    assert_eq!(frontier.root(), root(&all));
}
