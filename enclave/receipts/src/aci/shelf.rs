//! Where they are kept: in memory, few, and not for long. Where all places are taken, whoever holds most of them gives one up.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use hanzo_attestation::name::Name;
use hanzo_verifier::receipt::ReceiptId;

/// Most that are kept of all callers together. Some 2 kB each.
pub const KEPT_MAX: usize = 4096;
/// For how long, in seconds of the guest's clock.
pub const KEPT_S: u64 = 1200;

/// Whose places they take.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Holder {
    /// A caller of the table, under whatever owners it asks.
    Caller(Name),
    /// Where callers need not say who they are: SHA-256 of the owner's secret.
    Owner([u8; 32]),
}

/// One, as it is kept.
pub(super) struct Entry {
    /// SHA-256 of the owner's secret.
    pub(super) owner: [u8; 32],
    pub(super) holder: Holder,
    pub(super) sealed: Vec<u8>,
    /// When its answer ended.
    pub(super) at: u64,
}

/// What is kept for all keysets of one boot, so that a keyset that follows gives what was signed under the one before.
#[derive(Default)]
pub struct AciShelf(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    entries: HashMap<[u8; 16], (u64, Entry)>,
    /// Ids in the order in which they came.
    order: BTreeMap<u64, [u8; 16]>,
    /// Of each holder, its places in that order. None is empty.
    holders: HashMap<Holder, BTreeSet<u64>>,
    next: u64,
}

impl AciShelf {
    fn locked(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn put(&self, id: ReceiptId, entry: Entry) {
        let mut kept = self.locked();
        kept.forget_before(entry.at);
        kept.remove(&id.0);
        let place = kept.next;
        kept.next += 1;
        kept.order.insert(place, id.0);
        kept.holders.entry(entry.holder.clone()).or_default().insert(place);
        kept.entries.insert(id.0, (place, entry));
        while kept.entries.len() > KEPT_MAX && kept.make_room() {}
    }

    pub(super) fn remove(&self, id: &ReceiptId) {
        self.locked().remove(&id.0);
    }

    /// Whose it is, and what is sealed.
    pub(super) fn get(&self, id: &ReceiptId, now: u64) -> Option<([u8; 32], Vec<u8>)> {
        let mut kept = self.locked();
        kept.forget_before(now);
        let (_, entry) = kept.entries.get(&id.0)?;
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
    fn remove(&mut self, id: &[u8; 16]) {
        let Some((place, entry)) = self.entries.remove(id) else {
            return;
        };
        self.order.remove(&place);
        if let Some(places) = self.holders.get_mut(&entry.holder) {
            places.remove(&place);
            if places.is_empty() {
                self.holders.remove(&entry.holder);
            }
        }
    }

    /// Forgets the oldest of whoever holds most; of those who hold as many, of the one whose oldest is oldest. So nobody loses one while
    /// another holds more. False if there is nothing.
    fn make_room(&mut self) -> bool {
        let of = |places: &BTreeSet<u64>| (places.len(), std::cmp::Reverse(places.first().copied()));
        let most = self.holders.values().max_by_key(|places| of(places));
        let oldest = most.and_then(|places| self.order.get(places.first()?)).copied();
        match oldest {
            Some(id) => {
                self.remove(&id);
                true
            }
            None => false,
        }
    }

    /// Forgets those whose time is over at `now`.
    fn forget_before(&mut self, now: u64) {
        while let Some(id) = self.order.first_key_value().map(|(_, id)| *id) {
            let is_over = |(_, entry): &(u64, Entry)| entry.at.saturating_add(KEPT_S) < now;
            if !self.entries.get(&id).is_none_or(is_over) {
                break;
            }
            self.remove(&id);
        }
    }
}
