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
}
