//! Signatures that verified before.
//!
//! That a signature over some bytes verifies under some key is a fact of arithmetic: no clock, root, list or policy changes
//! it. Whoever judges much evidence of few processors, as a key broker does, keeps these facts and saves the arithmetic.
//! What the facts are used for (chain, names, validity, revocation, binding) is decided anew each time, so verdicts with
//! and without are the same.
//!
//! What the bytes of a certificate or list mean is such a fact, too. It is kept for those whose signature verified: nobody
//! fills the memory with what he made up.

use std::any::Any;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest::{Context, SHA256};

/// What was signed, by whom, how: SHA-256 over the four, each after its length.
type Fact = [u8; 32];

/// Most documents whose reading is kept, and the longest of them in bytes.
const DOCUMENTS_MAX: usize = 2048;
const DOCUMENT_BYTES_MAX: usize = 16 * 1024;

/// A bounded memory of signatures that verified. Clones share it. The default remembers nothing.
#[derive(Clone, Default)]
pub struct KnownSignatures(Option<Arc<Mutex<Known>>>);

struct Known {
    half: usize,
    /// Facts used since the last turn, and those before them. The older ones go when the newer ones fill their half.
    newer: HashSet<Fact>,
    older: HashSet<Fact>,
    read: HashMap<Fact, Arc<dyn Any + Send + Sync>>,
}

impl std::fmt::Debug for KnownSignatures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() {
            "KnownSignatures(..)"
        } else {
            "KnownSignatures(none)"
        })
    }
}

impl KnownSignatures {
    /// Remembers the `most` used lately, 32 bytes each.
    pub fn bounded(most: usize) -> Self {
        Self(Some(Arc::new(Mutex::new(Known {
            half: (most / 2).max(1),
            newer: HashSet::new(),
            older: HashSet::new(),
            read: HashMap::new(),
        }))))
    }

    /// What a document of this kind and these bytes was read as.
    pub(crate) fn read<T: Any + Send + Sync>(&self, kind: &str, bytes: &[u8]) -> Option<Arc<T>> {
        let known = self.0.as_ref()?;
        let fact = fact([kind.as_bytes(), bytes, b"", b""]);
        let found = known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .read
            .get(&fact)
            .cloned();
        found?.downcast().ok()
    }

    /// Keeps what an authentic document was read as.
    pub(crate) fn keep<T: Any + Send + Sync>(&self, kind: &str, bytes: &[u8], read: &Arc<T>) {
        let Some(known) = self.0.as_ref().filter(|_| bytes.len() <= DOCUMENT_BYTES_MAX) else {
            return;
        };
        let fact = fact([kind.as_bytes(), bytes, b"", b""]);
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.read.len() >= DOCUMENTS_MAX {
            known.read.clear();
        }
        let read: Arc<dyn Any + Send + Sync> = Arc::<T>::clone(read);
        known.read.entry(fact).or_insert(read);
    }

    /// How many are remembered.
    pub fn count(&self) -> usize {
        let Some(known) = &self.0 else { return 0 };
        let known = known.lock().unwrap_or_else(PoisonError::into_inner);
        known.newer.len() + known.older.len()
    }

    /// Whether `signature` over `message` verifies under `key`; asks `verify` unless it did before. What does not verify is
    /// not remembered.
    pub(crate) fn verifies(
        &self,
        algorithm: &str,
        key: &[u8],
        message: &[u8],
        signature: &[u8],
        verify: impl FnOnce() -> bool,
    ) -> bool {
        let Some(known) = &self.0 else { return verify() };
        let fact = fact([algorithm.as_bytes(), key, message, signature]);
        if known.lock().unwrap_or_else(PoisonError::into_inner).has(&fact) {
            return true;
        }
        // Not under the lock: it takes long, and two that verify the same do no harm.
        let verified = verify();
        if verified {
            known.lock().unwrap_or_else(PoisonError::into_inner).add(fact);
        }
        verified
    }
}

impl Known {
    fn has(&mut self, fact: &Fact) -> bool {
        if self.newer.contains(fact) {
            return true;
        }
        let found = self.older.remove(fact);
        if found {
            self.add(*fact);
        }
        found
    }

    fn add(&mut self, fact: Fact) {
        if self.newer.len() >= self.half {
            self.older = std::mem::take(&mut self.newer);
        }
        self.newer.insert(fact);
    }
}

fn fact(parts: [&[u8]; 4]) -> Fact {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let mut fact = [0; 32];
    fact.iter_mut()
        .zip(context.finish().as_ref())
        .for_each(|(to, from)| *to = *from);
    fact
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_verified_is_known_and_only_exactly_that() {
        let known = KnownSignatures::bounded(8);
        let ask = |key: &[u8], message: &[u8], verdict: Option<bool>| {
            known.verifies("a", key, message, b"s", || {
                verdict.unwrap_or_else(|| unreachable!("known"))
            })
        };
        assert!(!ask(b"k", b"m", Some(false)));
        assert!(!ask(b"k", b"m", Some(false)), "a failure is asked about again");
        assert!(ask(b"k", b"m", Some(true)));
        assert!(ask(b"k", b"m", None));
        assert!(!ask(b"km", b"", Some(false)), "lengths count");
        assert!(!ask(b"k", b"n", Some(false)));
        assert_eq!((known.count(), known.clone().count()), (1, 1));
    }

    #[test]
    fn it_is_bounded_and_keeps_what_is_used() {
        let known = KnownSignatures::bounded(8);
        let often = || known.verifies("a", b"often", b"m", b"s", || true);
        for n in 0..100u8 {
            often();
            known.verifies("a", &[n], b"m", b"s", || true);
            assert!(known.count() <= 9, "{}", known.count());
        }
        assert!(known.verifies("a", b"often", b"m", b"s", || false));
        assert!(!KnownSignatures::default().verifies("a", b"often", b"m", b"s", || false));
    }
}
