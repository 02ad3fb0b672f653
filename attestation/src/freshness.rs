//! Freshness: the relying party draws a challenge; the guest may answer many with one hardware call.
//!
//! # Layout
//! The statement's nonce is always the RFC 6962 root (SHA-256) over the leaves of one window, leaf i =
//! `SHA-256(0x00 || challenge_i)`. A window of one challenge has the leaf as its root. The bundle carries the caller's
//! challenge and the path from it.

use serde::{Deserialize, Serialize};

use crate::digest::{Digest256, Nonce};
use crate::merkle;

/// Most challenges in one window: paths stay at most 16 hashes long.
pub const WINDOW_CHALLENGES_MAX: u64 = 1 << 16;

/// One caller's place in a window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FreshnessPath {
    /// What the caller drew.
    pub challenge: Nonce,
    /// Its place, from 0.
    pub index: u64,
    /// Sibling hashes from the leaf up.
    pub path: Vec<Digest256>,
    /// How many challenges the window holds.
    pub size: u64,
}

/// One window with all levels of its tree: each caller's path is looked up, not computed anew.
#[derive(Debug, Clone)]
pub struct Window {
    challenges: Vec<Nonce>,
    /// Leaves first, the root last.
    levels: Vec<Vec<Digest256>>,
}

impl Window {
    /// The window over these challenges, in this order; `None` for none, and for more than
    /// [`WINDOW_CHALLENGES_MAX`].
    pub fn new(challenges: Vec<Nonce>) -> Option<Self> {
        if challenges.is_empty() || challenges.len() as u64 > WINDOW_CHALLENGES_MAX {
            return None;
        }
        let mut levels = vec![leaves(&challenges)];
        while let Some(level) = levels.last().filter(|level| level.len() > 1) {
            let next = level.chunks(2).filter_map(|pair| match pair {
                [left, right] => Some(merkle::node_hash(left, right)),
                // The last of an odd number goes up as it is.
                [last] => Some(*last),
                _ => None,
            });
            levels.push(next.collect());
        }
        Some(Self { challenges, levels })
    }

    /// The statement's nonce: the root.
    pub fn nonce(&self) -> Nonce {
        let root = self.levels.last().and_then(|level| level.first());
        // There is a root, since there is a leaf.
        Nonce(root.map_or([0; 32], |root| root.0))
    }

    /// How many challenges it holds.
    pub fn size(&self) -> usize {
        self.challenges.len()
    }

    /// The place of challenge `index`; `None` if there is no such challenge.
    pub fn path(&self, index: usize) -> Option<FreshnessPath> {
        let siblings = self.levels.iter().enumerate().filter_map(|(height, level)| {
            let at = index >> height;
            // The root has no sibling, and an odd last node none on its level.
            if level.len() > 1 { level.get(at ^ 1) } else { None }
        });
        Some(FreshnessPath {
            challenge: *self.challenges.get(index)?,
            index: index as u64,
            path: siblings.copied().collect(),
            size: self.challenges.len() as u64,
        })
    }
}

/// The nonce that answers all of `challenges`.
pub fn window_nonce(challenges: &[Nonce]) -> Nonce {
    Nonce(merkle::root(&leaves(challenges)).0)
}

/// The path for challenge `index`; `None` if there is no such challenge.
pub fn window_path(challenges: &[Nonce], index: usize) -> Option<FreshnessPath> {
    let path = merkle::inclusion_path(&leaves(challenges), index)?;
    Some(FreshnessPath {
        challenge: *challenges.get(index)?,
        index: index as u64,
        path,
        size: challenges.len() as u64,
    })
}

fn leaves(challenges: &[Nonce]) -> Vec<Digest256> {
    challenges.iter().map(|c| merkle::leaf_hash(&[&c.0])).collect()
}

impl FreshnessPath {
    /// True if this path leads from its challenge to `nonce`.
    pub fn leads_to(&self, nonce: &Nonce) -> bool {
        self.size <= WINDOW_CHALLENGES_MAX
            && merkle::root_from_path(
                merkle::leaf_hash(&[&self.challenge.0]),
                self.index,
                self.size,
                &self.path,
            ) == Some(Digest256(nonce.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_challenge_of_a_window_finds_the_nonce_and_no_other_path_does() {
        let challenges: Vec<_> = (0..5).map(|i| Nonce([i; 32])).collect();
        let nonce = window_nonce(&challenges);
        for i in 0..5 {
            let path = window_path(&challenges, i).unwrap();
            assert!(path.leads_to(&nonce));
            let mut wrong_index = path.clone();
            wrong_index.index = (path.index + 1) % 5;
            assert!(!wrong_index.leads_to(&nonce));
            let mut other_leaf = path.clone();
            other_leaf.challenge = Nonce([9; 32]);
            assert!(!other_leaf.leads_to(&nonce));
            assert!(!path.leads_to(&window_nonce(&challenges[..4])), "another window");
        }
        // The raw challenge is never itself the nonce.
        assert_ne!(window_nonce(&challenges[..1]), challenges[0]);
    }

    fn challenges(count: usize) -> Vec<Nonce> {
        let drawn = |i: usize| Nonce(Digest256::of(&i.to_be_bytes()).0);
        (0..count).map(drawn).collect()
    }

    #[test]
    fn a_window_gives_the_paths_and_the_root_that_the_recursive_definition_gives() {
        for count in (1..=40).chain([63, 64, 65, 511, 512, 513]) {
            let drawn = challenges(count);
            let window = Window::new(drawn.clone()).unwrap();
            assert_eq!((window.nonce(), window.size()), (window_nonce(&drawn), count));
            for index in [0, count / 3, count / 2, count - 1] {
                assert_eq!(window.path(index), window_path(&drawn, index), "{index} of {count}");
            }
            assert_eq!(window.path(count), None);
        }
        assert!(Window::new(Vec::new()).is_none());
        let most = WINDOW_CHALLENGES_MAX as usize;
        let largest = Window::new(challenges(most)).unwrap();
        let last = largest.path(most - 1).unwrap();
        assert!(last.path.len() == 16 && last.leads_to(&largest.nonce()));
        assert!(Window::new(challenges(most + 1)).is_none());
    }

    #[test]
    fn a_path_holds_for_its_own_challenge_index_size_and_window_alone() {
        let window = Window::new(challenges(11)).unwrap();
        let nonce = window.nonce();
        let mut other_window = challenges(11);
        other_window[10] = Nonce([0xee; 32]);
        let other_window = Window::new(other_window).unwrap();
        for index in 0..11 {
            let good = window.path(index).unwrap();
            assert!(good.leads_to(&nonce));
            assert!(!good.leads_to(&other_window.nonce()), "another window's root");
            let refused = |why: &str, change: &dyn Fn(&mut FreshnessPath)| {
                let mut changed = good.clone();
                change(&mut changed);
                assert!(changed == good || !changed.leads_to(&nonce), "{why}: {index}");
            };
            let theirs = other_window.path(index).unwrap();
            refused("another window's path", &|p| p.path = theirs.path.clone());
            for other in 0..11 {
                let foreign = window.path(other).unwrap();
                refused("a path for another's challenge", &|p| p.path = foreign.path.clone());
                if other != index {
                    refused("another's challenge", &|p| p.challenge = foreign.challenge);
                    refused("another index", &|p| p.index = other as u64);
                }
            }
            for outside in [11, 12, 1 << 16, u64::MAX] {
                refused("an index outside", &|p| p.index = outside);
            }
            // Sizes of another depth, none, and more than a window holds. A size that gives this leaf the same path
            // says nothing else about it.
            for size in [0, 1, 2, 4, 8, 17, 64, (1 << 16) + 1, u64::MAX] {
                refused("another size", &|p| p.size = size);
            }
            refused("a shorter path", &|p| p.path.truncate(p.path.len() - 1));
            refused("a longer path", &|p| p.path.push(Digest256([0; 32])));
            refused("no path", &|p| p.path.clear());
            refused("a far longer path", &|p| p.path.resize(4096, Digest256([0; 32])));
            refused("its siblings turned around", &|p| p.path.reverse());
        }
    }

    #[test]
    fn a_node_of_the_tree_is_never_a_challenge() {
        // The attacker knows both children of the root and offers them, or either, as something that was drawn.
        let window = Window::new(challenges(4)).unwrap();
        let nonce = window.nonce();
        let [left, right] = [window.levels[1][0], window.levels[1][1]];
        for challenge in [left, right, Digest256(nonce.0)] {
            for (index, size, path) in [(0, 1, vec![]), (0, 2, vec![right]), (1, 2, vec![left])] {
                let forged = FreshnessPath {
                    challenge: Nonce(challenge.0),
                    index,
                    path,
                    size,
                };
                assert!(!forged.leads_to(&nonce), "{forged:?}");
            }
        }
        // Only the hash of a leaf is a leaf: the same tree one level shorter has another root.
        assert_ne!(
            merkle::root(&[left, right]),
            merkle::root(&leaves(&[Nonce(left.0), Nonce(right.0)]))
        );
    }

    #[test]
    fn its_written_form_has_exactly_four_members_each_once() {
        let path = Window::new(challenges(3)).unwrap().path(1).unwrap();
        let read = |text: &str| crate::jcs::from_slice::<FreshnessPath>("freshness", text.as_bytes(), 4096);
        let text = String::from_utf8(crate::jcs::to_vec("freshness", &path).unwrap()).unwrap();
        assert_eq!(read(&text).unwrap(), path);
        let refused = |text: String| {
            let error = read(&text).unwrap_err().to_string();
            assert!(error.starts_with("freshness"), "{text}: {error}");
        };
        refused(text.replacen("{", r#"{"also":1,"#, 1));
        refused(text.replacen(r#""index":1"#, r#""index":1,"index":1"#, 1));
        refused(text.replacen(",\"size\":3", "", 1));
        refused(text.replacen(r#""index":1"#, r#""index":-1"#, 1));
        refused(text.replacen(r#""index":1"#, r#""index":1.0"#, 1));
        refused(text.replacen(r#""size":3"#, r#""size":"3""#, 1));
        refused(text.replacen(r#""path":[""#, r#""path":["00"#, 1));
        refused(text.to_uppercase());
        refused(format!("{text} "));
    }
}
