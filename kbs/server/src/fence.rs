//! Fences: places outside the store that remember its newest decision, so that an older store is noticed.
//!
//! A store whose chain does not contain what any of them remembers was put back. Each is written after the commit and
//! before the reply, once for all the decisions that came together.

mod file;
mod tpm;

use std::sync::{Mutex, PoisonError};

use crate::head::Head;
use crate::identity::Identity;
use crate::{FenceConfig, KbsConfig, KbsError};
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
                FenceConfig::TpmNv { tcti, index } => {
                    let scratch = config.head_file.with_extension("tpm");
                    Box::new(TpmFence::new(tcti, *index, &identity.fence_secret()?, scratch))
                }
            });
        }
        Ok(Self {
            all,
            wanted: Mutex::new(None),
            written: Mutex::new(0),
        })
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

    /// Returns once every place holds `head`, which is committed, or a newer one.
    pub(crate) fn advance(&self, head: Head) -> Result<(), KbsError> {
        {
            let mut wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
            if wanted.is_none_or(|w| w.seq < head.seq) {
                *wanted = Some(head);
            }
        }
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
