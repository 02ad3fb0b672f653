//! What this broker knows of keys without asking the store again.
//!
//! Every change of the store has its line in the audit chain, in its own transaction. So while the newest line is one that
//! this broker wrote itself to record a decision, nothing else has changed, and what it read before still holds, with the
//! grants that it counted since. A head that it does not know (an admin's request, another replica, a transaction that was
//! undone) ends all of that at once.
//!
//! Outside the writing turn this is a guess at what the store says, good enough to decide on and checked when the decision
//! is recorded. Inside, once [`KnownKeys::at`] has seen the store's head, it is certain.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hanzo_attestation::name::KeyId;
use hanzo_vault::Uses;

use super::Ground;
use crate::head::Head;

/// Most bytes of rows that are kept.
const BYTES_MAX: usize = 32 << 20;

#[derive(Default)]
pub(crate) struct KnownKeys(Mutex<Known>);

#[derive(Default)]
struct Known {
    head: Option<Head>,
    keys: HashMap<KeyId, Key>,
    bytes: usize,
}

struct Key {
    ground: Arc<Ground>,
    count: u64,
    newest_image: Option<u64>,
}

impl Key {
    /// Whether a recipient is among the earlier ones is not kept: the store refuses the second row.
    fn uses(&self) -> Uses {
        Uses {
            count: self.count,
            includes_recipient: false,
            newest_image: self.newest_image,
        }
    }
}

impl KnownKeys {
    /// What the store probably says.
    pub(super) fn guess(&self, key_id: &KeyId) -> Option<(Arc<Ground>, Uses)> {
        let known = self.lock();
        let key = known.keys.get(key_id)?;
        Some((Arc::clone(&key.ground), key.uses()))
    }

    /// In the writing turn: this is the store's head.
    pub(super) fn at(&self, head: Option<Head>) {
        let mut known = self.lock();
        if known.head != head {
            *known = Known {
                head,
                ..Known::default()
            };
        }
    }

    /// In the writing turn, after [`KnownKeys::at`]: what was granted before, if `ground` is what the store says.
    pub(super) fn uses(&self, key_id: &KeyId, ground: &Arc<Ground>) -> Option<Uses> {
        let known = self.lock();
        let key = known.keys.get(key_id)?;
        (Arc::ptr_eq(&key.ground, ground) || key.ground == *ground).then(|| key.uses())
    }

    /// In the writing turn, after [`KnownKeys::at`]: what was read from the store.
    pub(super) fn learn(&self, key_id: &KeyId, ground: &Arc<Ground>, uses: Uses) {
        let mut known = self.lock();
        let bytes = known.bytes.saturating_add(ground.bytes);
        if bytes > BYTES_MAX {
            known.keys.clear();
        }
        known.bytes = if bytes > BYTES_MAX { ground.bytes } else { bytes };
        let key = Key {
            ground: Arc::clone(ground),
            count: uses.count,
            newest_image: uses.newest_image,
        };
        known.keys.insert(key_id.clone(), key);
    }

    /// In the writing turn: a decision was recorded, which leads from one head to the next.
    pub(super) fn recorded(&self, from: Option<Head>, to: Head) {
        self.at(from);
        self.lock().head = Some(to);
    }

    /// In the writing turn: the decision was a grant, of an image of this version.
    pub(super) fn granted(&self, key_id: &KeyId, image: Option<u64>) {
        if let Some(key) = self.lock().keys.get_mut(key_id) {
            key.count = key.count.saturating_add(1);
            key.newest_image = key.newest_image.max(image);
        }
    }

    /// After a commit of any line: what stood before it is not kept, least of all KEKs that it destroyed.
    pub(crate) fn newest_is(&self, head: Head) {
        let mut known = self.lock();
        if known.head.is_none_or(|at| at.seq < head.seq) {
            *known = Known::default();
        }
    }

    /// A transaction came to no good end: nothing that was learned in it counts.
    pub(super) fn clear(&self) {
        *self.lock() = Known::default();
    }

    /// The store has to be asked about this key.
    pub(super) fn forget(&self, key_id: &KeyId) {
        self.lock().keys.remove(key_id);
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
