//! The state's Merkle tree: a compact sparse tree over 256-bit paths, whose root depends on the entries alone and not on the
//! order in which they came.
//!
//! # Layout
//! Of a set of (path, value digest): no entry: 32 zero bytes. One: `SHA-256(0x00 || path || value digest)`. More:
//! `SHA-256(0x01 || left || right)`, split by the bit at this depth, most significant first. (RFC 6962's prefixes.)

use std::sync::Arc;

use hanzo_attestation::Digest256;
use hanzo_attestation::merkle::{leaf_hash, node_hash};

use crate::codec::{List, canonical, variants};

/// Where an entry stands: SHA-256 of its key.
pub type Path = Digest256;

/// Hash of a tree without entries.
pub const EMPTY: Digest256 = Digest256([0; 32]);
/// Bits of a path.
pub const DEPTH_MAX: usize = 256;

/// A tree; copies share what they have in common.
#[derive(Clone, Default)]
pub struct Tree(Option<Arc<Node>>);

enum Node {
    Leaf {
        path: Path,
        value: Digest256,
        hash: Digest256,
    },
    Branch {
        left: Tree,
        right: Tree,
        hash: Digest256,
    },
}

fn bit(path: &Path, depth: usize) -> bool {
    let byte = path.0.get(depth / 8).copied().unwrap_or(0);
    byte & (0x80_u8 >> (depth % 8)) != 0
}

impl Tree {
    /// The hash of it all.
    pub fn root(&self) -> Digest256 {
        match self.0.as_deref() {
            None => EMPTY,
            Some(Node::Leaf { hash, .. } | Node::Branch { hash, .. }) => *hash,
        }
    }

    /// The tree after `changes`, which are sorted by path and without repeats; `None` takes an entry out.
    pub fn with(&self, changes: &[(Path, Option<Digest256>)]) -> Self {
        debug_assert!(changes.is_sorted_by(|a, b| a.0 < b.0));
        self.changed(changes, 0)
    }

    fn changed(&self, changes: &[(Path, Option<Digest256>)], depth: usize) -> Self {
        if changes.is_empty() {
            return self.clone();
        }
        let present = |(path, value): &(Path, Option<Digest256>)| value.map(|value| (*path, value));
        match self.0.as_deref() {
            None => Self::of(&changes.iter().filter_map(present).collect::<Vec<_>>(), depth),
            Some(Node::Leaf { path, value, .. }) => {
                let mut all: Vec<_> = changes.iter().filter_map(present).collect();
                if let Err(at) = changes.binary_search_by(|(p, _)| p.cmp(path)) {
                    // Not among the changes: its place among those that stay.
                    let at = changes.iter().take(at).filter(|(_, v)| v.is_some()).count();
                    all.insert(at, (*path, *value));
                }
                Self::of(&all, depth)
            }
            Some(Node::Branch { left, right, .. }) => {
                let (zeros, ones) = changes.split_at(changes.partition_point(|(path, _)| !bit(path, depth)));
                let below = depth.saturating_add(1);
                Self::join(left.changed(zeros, below), right.changed(ones, below))
            }
        }
    }

    /// Of entries that are sorted by path, alike in their first `depth` bits.
    pub(crate) fn of(entries: &[(Path, Digest256)], depth: usize) -> Self {
        match entries {
            [] => Self(None),
            [(path, value)] => Self(Some(Arc::new(Node::Leaf {
                path: *path,
                value: *value,
                hash: leaf_hash(&[&path.0, &value.0]),
            }))),
            many => {
                let (zeros, ones) = many.split_at(many.partition_point(|(path, _)| !bit(path, depth)));
                let below = depth.saturating_add(1);
                Self::join(Self::of(zeros, below), Self::of(ones, below))
            }
        }
    }

    fn join(left: Self, right: Self) -> Self {
        let alone = |tree: &Self| matches!(tree.0.as_deref(), None | Some(Node::Leaf { .. }));
        match (&left.0, &right.0) {
            (None, _) if alone(&right) => right,
            (_, None) if alone(&left) => left,
            _ => {
                let hash = node_hash(&left.root(), &right.root());
                Self(Some(Arc::new(Node::Branch { left, right, hash })))
            }
        }
    }

    /// Proves what stands at `path`, or that nothing does.
    pub fn prove(&self, path: &Path) -> TreeProof {
        let (mut siblings, mut at) = (Vec::new(), self);
        while let Some(Node::Branch { left, right, .. }) = at.0.as_deref() {
            let (next, sibling) = match bit(path, siblings.len()) {
                false => (left, right),
                true => (right, left),
            };
            siblings.push(sibling.root());
            at = next;
        }
        let end = match at.0.as_deref() {
            Some(Node::Leaf { path, value, .. }) => End::Leaf(Leaf {
                path: *path,
                value: *value,
            }),
            _ => End::Nothing(Nothing {}),
        };
        TreeProof {
            // Never longer than a path has bits.
            siblings: List::new(siblings).unwrap_or_default(),
            end,
        }
    }
}

/// What a path leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
enum End {
    Nothing(Nothing),
    Leaf(Leaf),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Nothing {}
canonical!(Nothing {});

#[derive(Debug, Clone, PartialEq, Eq)]
struct Leaf {
    path: Path,
    value: Digest256,
}
canonical!(Leaf { path, value });
variants!(End, "0 (nothing) or 1 (an entry)", { 0 => Nothing(Nothing), 1 => Leaf(Leaf) });

/// The hashes beside a path, from the root down, and what stands at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeProof {
    siblings: List<Digest256, DEPTH_MAX>,
    end: End,
}
canonical!(TreeProof { siblings, end });

/// What a proof shows about its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// An entry with a value of this digest.
    Present(Digest256),
    /// No entry.
    Absent,
}

impl TreeProof {
    /// What stands at `path` under `root`; `None` if this does not prove it.
    pub fn shows(&self, root: &Digest256, path: &Path) -> Option<Shown> {
        let depth = self.siblings.len();
        let (mut hash, shown) = match &self.end {
            End::Nothing(_) => (EMPTY, Shown::Absent),
            End::Leaf(leaf) if leaf.path == *path => {
                (leaf_hash(&[&leaf.path.0, &leaf.value.0]), Shown::Present(leaf.value))
            }
            End::Leaf(leaf) => {
                // Another entry, alone where this one would have to be.
                if (0..depth).any(|d| bit(&leaf.path, d) != bit(path, d)) {
                    return None;
                }
                (leaf_hash(&[&leaf.path.0, &leaf.value.0]), Shown::Absent)
            }
        };
        for (at, sibling) in self.siblings.iter().enumerate().rev() {
            hash = match bit(path, at) {
                false => node_hash(&hash, sibling),
                true => node_hash(sibling, &hash),
            };
        }
        (hash == *root).then_some(shown)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn path(n: u64) -> Path {
        Digest256::of(&n.to_be_bytes())
    }

    #[test]
    fn the_root_depends_on_the_entries_alone_and_every_path_proves_itself() {
        let (mut tree, mut plain, mut random) = (Tree::default(), BTreeMap::new(), 5_u64);
        for round in 0..200_u64 {
            let mut changes = BTreeMap::new();
            for n in 0..round % 9 {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                let gone = random % 5 < 2;
                changes.insert(path(random % 60), (!gone).then(|| path(round * 100 + n)));
            }
            for (path, value) in &changes {
                match value {
                    Some(value) => plain.insert(*path, *value),
                    None => plain.remove(path),
                };
            }
            tree = tree.with(&changes.into_iter().collect::<Vec<_>>());
            let all: Vec<_> = plain.iter().map(|(p, v)| (*p, Some(*v))).collect();
            assert_eq!(tree.root(), Tree::default().with(&all).root(), "round {round}");
            for n in 0..60 {
                let expected = plain.get(&path(n)).map_or(Shown::Absent, |v| Shown::Present(*v));
                assert_eq!(tree.prove(&path(n)).shows(&tree.root(), &path(n)), Some(expected));
            }
        }
        let none: Vec<_> = plain.keys().map(|p| (*p, None)).collect();
        assert_eq!(tree.with(&none).root(), EMPTY);
    }

    #[test]
    fn paths_that_begin_alike_are_told_apart_at_their_last_bit() {
        let (mut low, mut high) = ([0x55; 32], [0x55; 32]);
        (low[31], high[31]) = (0x54, 0x55);
        let (low, high) = (Digest256(low), Digest256(high));
        let both = Tree::default().with(&[(low, Some(low)), (high, Some(high))]);
        assert_eq!(both.prove(&low).siblings.len(), DEPTH_MAX);
        assert_eq!(both.prove(&high).shows(&both.root(), &high), Some(Shown::Present(high)));
        assert_eq!(
            both.with(&[(high, None)]).root(),
            Tree::default().with(&[(low, Some(low))]).root()
        );
        let absent = Tree::default().with(&[(low, Some(low))]);
        assert_eq!(absent.prove(&high).shows(&absent.root(), &high), Some(Shown::Absent));
        // Another entry's place proves nothing about a path that goes elsewhere.
        let far = Digest256([0xff; 32]);
        assert_eq!(both.prove(&low).shows(&both.root(), &far), None);
    }
}
