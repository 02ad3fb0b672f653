//! Fences: places outside the store that remember its newest decision, so that an older store is noticed.
//!
//! A store whose chain does not contain what any of them remembers was put back. Each is written after the commit and
//! before the reply, once for all the decisions that came together.

mod file;
mod tpm;

use std::sync::{Mutex, PoisonError};

use hanzo_store::{StoreError, Tx};

use crate::head::Head;
use crate::identity::Identity;
use crate::{FenceConfig, KbsConfig, KbsError, audit};
use file::FileFence;
use tpm::TpmFence;

/// One place.
pub(crate) trait Fence: Send + Sync {
    /// Where it is, for people.
    fn place(&self) -> String;

    /// What it remembers; `None` if it never held anything.
    fn read(&self) -> Result<Option<Head>, KbsError>;

    /// Makes it remember this, whatever it held.
    fn write(&self, head: Head) -> Result<(), KbsError>;

    /// Whether it would take a write, as far as that can be known without wearing it out.
    fn probe(&self) -> Result<(), KbsError> {
        self.read().map(drop)
    }
}

/// All places of one broker.
pub(crate) struct Fences {
    all: Vec<Box<dyn Fence>>,
    /// The newest head that somebody committed.
    wanted: Mutex<Option<Head>>,
    /// The `seq` that every place holds.
    written: Mutex<u64>,
}

impl Fences {
    /// The head file, and what the configuration names besides.
    pub(crate) fn new(config: &KbsConfig, identity: &Identity) -> Result<Self, KbsError> {
        let mut all: Vec<Box<dyn Fence>> = vec![Box::new(FileFence::new(&config.head_file))];
        for fence in &config.fences {
            all.push(match fence {
                FenceConfig::File { path } => Box::new(FileFence::new(path)),
                FenceConfig::TpmNv { tcti, index } => Box::new(TpmFence::new(tcti, *index, &identity.fence_secret()?)),
            });
        }
        Ok(Self {
            all,
            wanted: Mutex::new(None),
            written: Mutex::new(0),
        })
    }

    /// How many there are.
    pub(crate) fn places(&self) -> usize {
        self.all.len()
    }

    /// What each place remembers.
    pub(crate) fn read(&self) -> Result<Vec<(String, Option<Head>)>, KbsError> {
        self.read_each()
            .into_iter()
            .map(|(place, head)| Ok((place, head?)))
            .collect()
    }

    /// As [`Fences::read`], one by one: a place that cannot be read does not hide the others.
    pub(crate) fn read_each(&self) -> Vec<(String, Result<Option<Head>, KbsError>)> {
        self.all.iter().map(|f| (f.place(), f.read())).collect()
    }

    /// Whether the store that `tx` sees is the newest one: it has the newest decision that this process knows of, or goes on
    /// from there, as a replica makes it. If not, an operator may have accepted that meanwhile: then every place holds a
    /// decision that is there.
    ///
    /// # Errors
    /// [`StoreError::RolledBack`]; those of the query.
    pub(crate) fn check(&self, tx: &Tx<'_>, place: &str) -> Result<(), StoreError> {
        let Some(known) = self.known() else { return Ok(()) };
        let newest = audit::head(tx)?;
        if newest == Some(known) {
            return Ok(());
        }
        let holds = |head: &Head| Ok::<_, StoreError>(audit::hash_at(tx, head.seq)? == Some(head.hash));
        if let Some(newest) = newest.filter(|newest| newest.seq > known.seq)
            && holds(&known)?
        {
            self.learn(newest);
            return Ok(());
        }
        let got = newest.map_or(0, |head| head.seq);
        let expected = known.seq;
        let place = place.to_owned();
        let refused = Err(StoreError::RolledBack { place, expected, got });
        for (_, head) in self.read_each() {
            match head {
                Ok(Some(head)) if holds(&head)? => {}
                _ => return refused,
            }
        }
        tracing::warn!(target: "hanzo_kbs", expected, got, "an operator accepted the store as it is");
        *self.wanted.lock().unwrap_or_else(PoisonError::into_inner) = newest;
        *self.written.lock().unwrap_or_else(PoisonError::into_inner) = 0;
        Ok(())
    }

    /// What each place remembers, once each has shown that it can be written.
    pub(crate) fn probe(&self) -> Result<Vec<(String, Option<Head>)>, KbsError> {
        let _still = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        self.all.iter().try_for_each(|fence| fence.probe())?;
        self.read()
    }

    /// Whether the chain in `tx`, which began later, has what the places remember.
    pub(crate) fn are_behind(tx: &Tx<'_>, heads: Vec<(String, Option<Head>)>) -> Result<(), KbsError> {
        for (place, head) in heads {
            let Some(head) = head else { continue };
            if audit::hash_at(tx, head.seq)? != Some(head.hash) {
                return Err(KbsError::RolledBack {
                    path: place.into(),
                    expected: head.seq,
                    got: audit::head(tx)?.map_or(0, |head| head.seq),
                });
            }
        }
        Ok(())
    }

    fn known(&self) -> Option<Head> {
        *self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A newer head that is committed, by whomever.
    fn learn(&self, head: Head) {
        let mut wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        if wanted.is_none_or(|w| w.seq < head.seq) {
            *wanted = Some(head);
        }
    }

    /// Returns once every place holds `head`, which is committed, or a newer one.
    pub(crate) fn advance(&self, head: Head) -> Result<(), KbsError> {
        self.learn(head);
        // Whoever waited here finds that the one before wrote the newest head of all who were waiting.
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if *written >= head.seq {
            return Ok(());
        }
        let newest = *self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = newest.unwrap_or(head);
        for fence in &self.all {
            fence.write(newest)?;
        }
        *written = newest.seq;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
    use std::time::Duration;

    use hanzo_attestation::Digest384;

    use super::*;

    /// Counts how often it is written; slow, as a disk is.
    struct Slow(Arc<AtomicU64>, Arc<AtomicU64>);

    impl Fence for Slow {
        fn place(&self) -> String {
            "slow".into()
        }

        fn read(&self) -> Result<Option<Head>, KbsError> {
            Ok(None)
        }

        fn write(&self, head: Head) -> Result<(), KbsError> {
            std::thread::sleep(Duration::from_millis(20));
            self.0.fetch_add(1, SeqCst);
            self.1.fetch_max(head.seq, SeqCst);
            Ok(())
        }
    }

    #[test]
    fn decisions_that_come_together_share_a_write_and_none_returns_before_it() {
        let (writes, newest) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let fences = Fences {
            all: vec![Box::new(Slow(Arc::clone(&writes), Arc::clone(&newest)))],
            wanted: Mutex::new(None),
            written: Mutex::new(0),
        };
        std::thread::scope(|scope| {
            for seq in 1..=40 {
                let (fences, newest) = (&fences, &newest);
                scope.spawn(move || {
                    let hash = Digest384([seq as u8; 48]);
                    fences.advance(Head { seq, hash }).unwrap();
                    assert!(newest.load(SeqCst) >= seq, "{seq} returned before its write");
                });
            }
        });
        let writes = writes.load(SeqCst);
        assert!(writes < 40, "{writes} writes for 40 decisions");
        assert_eq!(newest.load(SeqCst), 40);
    }
}
