//! Policies that were read before, by their text: a policy is parsed and checked once and not for every key that goes out
//! under it. The text decides, so a policy that was changed is another one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use hanzo_vault::StoredPolicy;

use crate::KbsError;

/// Most bytes of text that are remembered; what they are parsed to takes some times as much.
const BYTES_MAX: usize = 4 << 20;

#[derive(Default)]
pub(crate) struct Policies(Mutex<Known>);

#[derive(Default)]
struct Known {
    by_text: HashMap<Box<str>, Arc<StoredPolicy>>,
    bytes: usize,
}

impl Policies {
    /// The policy of a stored text.
    pub(crate) fn read(&self, text: &str) -> Result<Arc<StoredPolicy>, KbsError> {
        if let Some(policy) = self.known().by_text.get(text) {
            return Ok(Arc::clone(policy));
        }
        let policy = StoredPolicy::parse(text.as_bytes()).map_err(|_| KbsError::Stored { what: "a key policy" })?;
        let policy = Arc::new(policy);
        let mut known = self.known();
        if known.bytes.saturating_add(text.len()) > BYTES_MAX {
            *known = Known::default();
        }
        known.bytes = known.bytes.saturating_add(text.len());
        known.by_text.insert(text.into(), Arc::clone(&policy));
        Ok(policy)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
