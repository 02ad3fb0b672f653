//! EIP-3076 said again, plainly: every message that was ever told is kept, and each condition is a quantifier over all of them.

use hanzo_signer::interchange::{Interchange, SignedAttestation, SignedBlock, SigningRoot, ValidatorKey};

#[derive(Default, Clone)]
pub struct Validator {
    /// Each import is a period of its own; own signatures belong to the newest.
    blocks: Vec<Vec<SignedBlock>>,
    votes: Vec<Vec<SignedAttestation>>,
    forgotten_blocks: Vec<SignedBlock>,
    forgotten_votes: Vec<SignedAttestation>,
}

fn differ(a: &Option<SigningRoot>, b: &Option<SigningRoot>) -> bool {
    matches!((a, b), (Some(a), Some(b)) if a != b)
}

fn is_same(a: &Option<SigningRoot>, b: &Option<SigningRoot>) -> bool {
    a.is_some() && a == b
}

/// Whether two recorded attestations convict whoever signed both.
fn convict(a: &SignedAttestation, b: &SignedAttestation) -> bool {
    let is_double = a.target == b.target && (a.source != b.source || differ(&a.root, &b.root));
    let surrounds = |a: &SignedAttestation, b: &SignedAttestation| a.source < b.source && b.target < a.target;
    is_double || surrounds(a, b) || surrounds(b, a)
}

impl Validator {
    /// Whether what a file says is consistent with itself and with what is known; then it is known.
    pub fn import(&mut self, file: &Interchange, key: &ValidatorKey) -> bool {
        let mut next = self.clone();
        let entries = || file.entries.iter().filter(|entry| entry.key == *key);
        let (slot, target) = (self.last_forgotten_slot(), self.last_forgotten_target());
        let blocks: Vec<_> = entries().flat_map(|entry| entry.blocks.clone()).collect();
        let votes: Vec<_> = entries().flat_map(|entry| entry.attestations.clone()).collect();
        let old = votes.iter().filter(|vote| Some(vote.target) <= target);
        next.forgotten_votes.extend(old.cloned());
        next.blocks.push(blocks);
        next.votes.push(votes);
        // Of what is forgotten nobody can say any more whether it conflicts.
        let blocks: Vec<_> = next.blocks.iter().flatten().filter(|b| Some(b.slot) > slot).collect();
        let votes: Vec<_> = next
            .votes
            .iter()
            .flatten()
            .filter(|v| Some(v.target) > target)
            .collect();
        let double = blocks
            .iter()
            .any(|a| blocks.iter().any(|b| a.slot == b.slot && differ(&a.root, &b.root)));
        let slashable = votes.iter().any(|a| votes.iter().any(|b| convict(a, b)));
        if double || slashable {
            return false;
        }
        *self = next;
        true
    }

    fn last_forgotten_slot(&self) -> Option<u64> {
        self.forgotten_blocks.iter().map(|block| block.slot).max()
    }

    fn last_forgotten_target(&self) -> Option<u64> {
        self.forgotten_votes.iter().map(|vote| vote.target).max()
    }

    pub fn may_sign_block(&self, new: &SignedBlock) -> bool {
        let all = || self.blocks.iter().flatten();
        let is_repeat = all().any(|old| old.slot == new.slot && is_same(&old.root, &new.root));
        // Condition 1: slashable with what is known, or not known not to be.
        let slashable = all().any(|old| old.slot == new.slot && !is_same(&old.root, &new.root));
        // Condition 2, in every period.
        let below = self.blocks.iter().any(|period| {
            let lowest = period.iter().map(|block| block.slot).min();
            lowest.is_some_and(|lowest| new.slot <= lowest) && !is_repeat
        });
        let forgotten = Some(new.slot) <= self.last_forgotten_slot();
        !(slashable || below || forgotten)
    }

    pub fn may_sign_vote(&self, new: &SignedAttestation) -> bool {
        let all = || self.votes.iter().flatten();
        let same = |old: &SignedAttestation| {
            old.target == new.target && old.source == new.source && is_same(&old.root, &new.root)
        };
        let is_repeat = all().any(same);
        // Condition 3.
        let slashable = all().any(|old| convict(old, new) || (old.target == new.target && !same(old)));
        // Conditions 4 and 5, in every period.
        let below = self.votes.iter().any(|period| {
            let source = period.iter().map(|vote| vote.source).min();
            let target = period.iter().map(|vote| vote.target).min();
            source.is_some_and(|source| new.source < source)
                || (target.is_some_and(|target| new.target <= target) && !is_repeat)
        });
        let forgotten = Some(new.target) <= self.last_forgotten_target()
            || self.forgotten_votes.iter().any(|old| new.source < old.source);
        new.source <= new.target && !(slashable || below || forgotten)
    }

    pub fn signed_block(&mut self, block: &SignedBlock) {
        match self.blocks.iter_mut().rfind(|period| !period.is_empty()) {
            Some(period) => period.push(block.clone()),
            None => self.blocks.push(vec![block.clone()]),
        }
    }

    pub fn signed_vote(&mut self, vote: &SignedAttestation) {
        match self.votes.iter_mut().rfind(|period| !period.is_empty()) {
            Some(period) => period.push(vote.clone()),
            None => self.votes.push(vec![vote.clone()]),
        }
    }

    /// Whether signing it convicts, counting what was forgotten: what must never happen, whatever the rules say.
    pub fn block_convicts(&self, new: &SignedBlock) -> bool {
        let all = self.blocks.iter().flatten().chain(&self.forgotten_blocks);
        let mut all = all.filter(|old| old.slot == new.slot);
        all.any(|old| !is_same(&old.root, &new.root))
    }

    pub fn vote_convicts(&self, new: &SignedAttestation) -> bool {
        let mut all = self.votes.iter().flatten().chain(&self.forgotten_votes);
        all.any(|old| convict(old, new) || (old.target == new.target && !is_same(&old.root, &new.root)))
    }

    /// Its periods keep what is forgotten, for their lowest; nothing else is answered from it.
    pub fn prune(&mut self, slot: u64, target: u64) {
        let blocks = self.blocks.iter().flatten().filter(|block| block.slot <= slot);
        self.forgotten_blocks.extend(blocks.cloned());
        let votes = self.votes.iter().flatten().filter(|vote| vote.target <= target);
        self.forgotten_votes.extend(votes.cloned());
    }
}

/// The minimal form: greatest slot, source and target of everything that was told or signed.
#[derive(Default)]
pub struct Minimal {
    slots: Vec<u64>,
    sources: Vec<u64>,
    targets: Vec<u64>,
}

impl Minimal {
    pub fn import(&mut self, file: &Interchange, key: &ValidatorKey) {
        for entry in file.entries.iter().filter(|entry| entry.key == *key) {
            entry.blocks.iter().for_each(|block| self.signed_block(block));
            entry.attestations.iter().for_each(|vote| self.signed_vote(vote));
        }
    }

    pub fn may_sign_block(&self, new: &SignedBlock) -> bool {
        self.slots.iter().all(|slot| new.slot > *slot)
    }

    pub fn may_sign_vote(&self, new: &SignedAttestation) -> bool {
        new.source <= new.target
            && self.sources.iter().all(|source| new.source >= *source)
            && self.targets.iter().all(|target| new.target > *target)
    }

    pub fn signed_block(&mut self, block: &SignedBlock) {
        self.slots.push(block.slot);
    }

    pub fn signed_vote(&mut self, vote: &SignedAttestation) {
        self.sources.push(vote.source);
        self.targets.push(vote.target);
    }
}
