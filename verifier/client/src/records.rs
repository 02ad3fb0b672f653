//! What a client remembers of the guests that it met, whichever way it asks them: the reference it started with, the newest
//! release, bundles, receipts, and how those came out.

use std::path::Path;
use std::sync::{Mutex, OnceLock, PoisonError};

use hanzo_attestation::{UnixTime, jcs};
use hanzo_verifier::VerifierContext;

use crate::error::ClientError;
use crate::pinned::{Clock, Pinned};
use crate::receipts::{BundleRecord, Tally};
use crate::releases;
use crate::state::{OwnerSecret, StateDir};

/// One client's memory. Without a state directory it lasts as long as the client.
pub(crate) struct Records {
    pub(crate) context: VerifierContext,
    pub(crate) clock: Clock,
    pub(crate) state: Option<StateDir>,
    pub(crate) owner: OwnerSecret,
    first_reference: OnceLock<String>,
    tally: Mutex<Tally>,
}

impl Records {
    pub(crate) fn open(state_dir: Option<&Path>, context: VerifierContext, clock: Clock) -> Result<Self, ClientError> {
        let state = state_dir.map(StateDir::open).transpose()?;
        let owner = match &state {
            Some(state) => state.owner()?,
            None => OwnerSecret::draw()?,
        };
        Ok(Self {
            context,
            clock,
            state,
            owner,
            first_reference: OnceLock::new(),
            tally: Mutex::new(Tally::default()),
        })
    }

    pub(crate) fn now(&self) -> UnixTime {
        (self.clock)()
    }

    /// Refuses a verified guest that this client must not go over to: one of another reference than its first, or of an older
    /// release than it ever took. Remembers nothing.
    ///
    /// # Errors
    /// [`ClientError::ReferenceChanged`], [`ClientError::Attestation`], [`ClientError::State`].
    pub(crate) fn check(&self, pinned: &Pinned) -> Result<(), ClientError> {
        let reference = pinned.result().reference_name().unwrap_or_default();
        if let Some(first) = self.first_reference.get().filter(|first| *first != reference) {
            return Err(ClientError::ReferenceChanged {
                pinned: first.clone(),
                got: reference.to_owned(),
            });
        }
        let release = self.context.policy.release.as_ref().zip(pinned.result().release());
        match (&self.state, release) {
            (Some(state), Some((asked, release))) => releases::check(state, asked, release),
            _ => Ok(()),
        }
    }

    /// Remembers a guest that was checked and will be asked.
    ///
    /// # Errors
    /// [`ClientError::State`]; [`ClientError::ReferenceChanged`] if another one was remembered meanwhile.
    pub(crate) async fn keep(&self, pinned: &Pinned) -> Result<(), ClientError> {
        let release = self.context.policy.release.as_ref().zip(pinned.result().release());
        if let (Some(state), Some((asked, release))) = (&self.state, release) {
            releases::keep(state, asked, release)?;
        }
        let reference = pinned.result().reference_name().unwrap_or_default();
        let first = self.first_reference.get_or_init(|| reference.to_owned());
        if first != reference {
            return Err(ClientError::ReferenceChanged {
                pinned: first.clone(),
                got: reference.to_owned(),
            });
        }
        let Some(state) = self.state.clone() else { return Ok(()) };
        let record = BundleRecord::of(pinned, &self.context);
        let record = jcs::to_vec("bundle record", &record).unwrap_or_default();
        let (digest, bundle) = (pinned.keyset_digest().to_string(), pinned.bundle().to_vec());
        tokio::task::spawn_blocking(move || state.save_bundle(&digest, &bundle, &record))
            .await
            .unwrap_or(Ok(()))?;
        Ok(())
    }

    /// How receipts came out so far.
    pub(crate) fn tally(&self) -> Tally {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn count(&self, change: impl FnOnce(&mut Tally)) {
        change(&mut self.tally.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
