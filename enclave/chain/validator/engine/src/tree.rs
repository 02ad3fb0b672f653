//! Blocks that are not final yet, over the newest that is. Pure: what is missing is said, not fetched.

use std::collections::BTreeMap;

use hanzo_attestation::Digest256;
use hanzo_ledger::{Address, Block, BlockReject, SignedTx, State, VerifiedBlock};

use crate::wire::Wanted;

/// How far above the newest final block others are kept.
const AHEAD_MAX: u64 = 4096;
/// How many final blocks are kept, for those who come late.
pub(crate) const BEHIND: u64 = 64;
/// Most blocks that nobody asked for.
const UNASKED_MAX: usize = 64;

pub(crate) struct Tree {
    state: State,
    entries: BTreeMap<Digest256, Entry>,
    unasked: usize,
}

struct Entry {
    block: Block,
    checked: Option<Box<(VerifiedBlock, State)>>,
    asked: bool,
}

/// Why a block cannot be judged, or is refused.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// This block has to come first.
    Missing(Wanted),
    /// It is on a branch that can no longer be final.
    Dead,
    /// It, or a block below it, is wrong for ever.
    Invalid(BlockReject),
}

impl Tree {
    pub(crate) fn new(state: State) -> Self {
        Self {
            state,
            entries: BTreeMap::new(),
            unasked: 0,
        }
    }

    /// The state after the newest final block.
    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    pub(crate) fn block(&self, id: &Digest256) -> Option<&Block> {
        self.entries.get(id).map(|entry| &entry.block)
    }

    /// Keeps a final block, for those who come late.
    pub(crate) fn remember(&mut self, block: Block) {
        let (checked, asked) = (None, true);
        self.entries.insert(block.header.id(), Entry { block, checked, asked });
    }

    /// Keeps a block; false if there is no room or no use for it.
    pub(crate) fn insert(&mut self, block: Block, asked: bool) -> bool {
        let (id, height) = (block.header.id(), block.header.height);
        let newest = self.state.head().height;
        let of_use = height > newest && height <= newest.saturating_add(AHEAD_MAX);
        if let Some(entry) = self.entries.get_mut(&id) {
            if asked && !entry.asked {
                entry.asked = true;
                self.unasked = self.unasked.saturating_sub(1);
            }
            return true;
        }
        if block.header.network != *self.state.network() || !of_use || (!asked && self.unasked >= UNASKED_MAX) {
            return false;
        }
        self.unasked = self.unasked.saturating_add(usize::from(!asked));
        let checked = None;
        self.entries.insert(id, Entry { block, checked, asked });
        true
    }

    /// Blocks from the one after the newest final one up to `id`, which all are here.
    fn path(&self, id: &Digest256) -> Result<Vec<Digest256>, Stop> {
        let (tip, newest) = (self.state.tip(), self.state.head().height);
        let (mut path, mut at, mut height) = (Vec::new(), *id, 0);
        while at != tip {
            let Some(entry) = self.entries.get(&at) else {
                return Err(Stop::Missing(Wanted { id: at, height }));
            };
            let header = &entry.block.header;
            if header.height <= newest {
                return Err(Stop::Dead);
            }
            path.push(at);
            (at, height) = (header.parent, header.height.saturating_sub(1));
            if height <= newest && at != tip {
                return Err(Stop::Dead);
            }
        }
        path.reverse();
        Ok(path)
    }

    /// The state after `id`, with those blocks that were checked for it just now.
    ///
    /// # Establishes
    /// Every block from the newest final one to `id` applies to its parent's state, all signatures included.
    pub(crate) fn check(&mut self, id: &Digest256) -> Result<(&State, Vec<Digest256>), Stop> {
        let path = self.path(id)?;
        let (mut before, mut fresh) = (None::<Digest256>, Vec::new());
        for at in &path {
            let parent = match before.and_then(|b| self.entries.get(&b)) {
                Some(entry) => entry.checked.as_ref().map(|c| &c.1),
                None => Some(&self.state),
            };
            let (Some(entry), Some(parent)) = (self.entries.get(at), parent) else {
                return Err(Stop::Dead);
            };
            if entry.checked.is_none() {
                let step = |block: Block| {
                    let verified = block.verify(parent)?;
                    let applied = parent.apply(&verified)?;
                    let mut after = parent.clone();
                    after.commit(applied)?;
                    Ok((verified, after))
                };
                let checked = step(entry.block.clone()).map_err(Stop::Invalid)?;
                if let Some(entry) = self.entries.get_mut(at) {
                    entry.checked = Some(Box::new(checked));
                    if !entry.asked {
                        entry.asked = true;
                        self.unasked = self.unasked.saturating_sub(1);
                    }
                }
                fresh.push(*at);
            }
            before = Some(*at);
        }
        let last = path.last().and_then(|at| self.entries.get(at));
        match last {
            Some(entry) => match &entry.checked {
                Some(checked) => Ok((&checked.1, fresh)),
                None => Err(Stop::Dead),
            },
            None => Ok((&self.state, fresh)),
        }
    }

    /// Makes a block on top of `parent` and keeps it.
    pub(crate) fn propose(
        &mut self,
        parent: &Digest256,
        proposer: Address,
        time_ms: u64,
        candidates: &[SignedTx],
    ) -> Result<Digest256, Stop> {
        let (state, _) = self.check(parent)?;
        let verified = candidates.iter().filter_map(|tx| tx.clone().verify(state).ok());
        let proposal = state.propose(proposer, time_ms, verified).map_err(Stop::Invalid)?;
        let mut after = state.clone();
        after.commit(proposal.applied).map_err(Stop::Invalid)?;
        let block = proposal.block.to_block();
        let id = block.header.id();
        let entry = Entry {
            block,
            checked: Some(Box::new((proposal.block, after))),
            asked: true,
        };
        self.entries.insert(id, entry);
        Ok(id)
    }

    /// The blocks that become final with `id`, in order.
    pub(crate) fn finalizing(&mut self, id: &Digest256) -> Result<Vec<VerifiedBlock>, Stop> {
        self.check(id)?;
        let path = self.path(id)?;
        let checked = path.iter().filter_map(|at| self.entries.get(at)?.checked.as_ref());
        Ok(checked.map(|c| c.0.clone()).collect())
    }

    /// Goes on to a newer state, which others than the engine brought. Returns those blocks that are of no more use.
    pub(crate) fn go_on(&mut self, state: State) -> Vec<Digest256> {
        self.state = state;
        self.forget()
    }

    /// Goes on to `id`, a block that [`Tree::finalizing`] gave. Returns those that are of no more use.
    pub(crate) fn settle(&mut self, id: &Digest256) -> Vec<Digest256> {
        let Some(after) = self.entries.get_mut(id).and_then(|entry| entry.checked.take()) else {
            return Vec::new();
        };
        self.state = after.1;
        self.forget()
    }

    fn forget(&mut self) -> Vec<Digest256> {
        let newest = self.state.head().height;
        let oldest = newest.saturating_sub(BEHIND);
        let gone: Vec<_> = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.block.header.height < oldest)
            .map(|(id, _)| *id)
            .collect();
        for id in &gone {
            self.entries.remove(id);
        }
        for entry in self.entries.values_mut() {
            // Whatever stands beside or below the final block is kept for others alone.
            if entry.block.header.height <= newest {
                entry.checked = None;
            }
        }
        self.unasked = self.entries.values().filter(|entry| !entry.asked).count();
        gone
    }
}
