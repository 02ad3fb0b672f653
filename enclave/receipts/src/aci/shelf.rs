//! Where they are kept: in memory, few, and not for long.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use hanzo_verifier::receipt::ReceiptId;

/// Most that are kept; the oldest makes room. Some 2 kB each.
pub const KEPT_MAX: usize = 4096;
/// For how long, in seconds of the guest's clock.
pub const KEPT_S: u64 = 1200;

/// One, as it is kept.
pub(super) struct Entry {
    /// SHA-256 of the owner's secret.
    pub(super) owner: [u8; 32],
    pub(super) sealed: Vec<u8>,
    /// When its answer ended.
    pub(super) at: u64,
}

/// What is kept for all keysets of one boot, so that a keyset that follows gives what was signed under the one before.
#[derive(Default)]
pub struct AciShelf(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    entries: HashMap<[u8; 16], Entry>,
    /// In the order in which they came; one that was removed leaves its place.
    order: VecDeque<[u8; 16]>,
}

impl AciShelf {
    fn locked(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn put(&self, id: ReceiptId, entry: Entry) {
        let mut kept = self.locked();
        kept.forget_before(entry.at);
        while kept.order.len() >= KEPT_MAX {
            kept.forget_oldest();
        }
        kept.order.push_back(id.0);
        kept.entries.insert(id.0, entry);
    }

    pub(super) fn remove(&self, id: &ReceiptId) {
        self.locked().entries.remove(&id.0);
    }

    /// Whose it is, and what is sealed.
    pub(super) fn get(&self, id: &ReceiptId, now: u64) -> Option<([u8; 32], Vec<u8>)> {
        let mut kept = self.locked();
        kept.forget_before(now);
        let entry = kept.entries.get(&id.0)?;
        Some((entry.owner, entry.sealed.clone()))
    }

    /// How many are kept.
    pub fn len(&self) -> usize {
        self.locked().entries.len()
    }

    /// True if none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Kept {
    fn forget_oldest(&mut self) {
        if let Some(id) = self.order.pop_front() {
            self.entries.remove(&id);
        }
    }

    /// Forgets those whose time is over at `now`, and the places of those that are gone.
    fn forget_before(&mut self, now: u64) {
        while let Some(id) = self.order.front() {
            let is_over = |entry: &Entry| entry.at.saturating_add(KEPT_S) < now;
            if !self.entries.get(id).is_none_or(is_over) {
                break;
            }
            self.forget_oldest();
        }
    }
}
