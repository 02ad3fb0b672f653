//! From one epoch to the next: an engine for each epoch whose committee this validator is in, and waiting in the others.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use commonware_p2p::{Blocker, Receiver, Sender};
use commonware_runtime::{Clock, Error, Metrics, Spawner, Storage};
use hanzo_attestation::Digest256;
use hanzo_chain_types::{SetError, ValidatorSet, committee_of};
use hanzo_ledger::State;
use rand_core::CryptoRng;

use crate::engine::{ConsensusEngine, Links, StartError, Validator};
use crate::final_blocks::FinalBlocks;
use crate::keys::ValidatorKey;
use crate::node::Halt;

/// How often a ledger is looked at that others bring on.
const LOOK: Duration = Duration::from_millis(250);

/// How an engine ended.
#[derive(Debug)]
pub enum Outcome {
    /// Its epoch's last block is final, and stored.
    EpochOver,
    /// It was told to, or its networks are gone.
    Stopped,
    /// It cannot go on.
    Halted(Halt),
}

/// What a validator is doing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Standing {
    /// The epoch of the next block.
    pub epoch: u64,
    /// Whether it is in that epoch's committee, and its engine runs.
    pub votes: bool,
    /// The newest view of this epoch that has a certificate.
    pub view: u64,
}

/// Says what a validator is doing. Copies say the same.
#[derive(Debug, Clone, Default)]
pub struct Progress(Arc<Mutex<Standing>>);

impl Progress {
    /// Now.
    pub fn standing(&self) -> Standing {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn begin(&self, epoch: u64, votes: bool) {
        let view = 0;
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Standing { epoch, votes, view };
    }

    pub(crate) fn at(&self, view: u64) {
        let mut standing = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        standing.view = standing.view.max(view);
    }
}

/// The epoch that a state's next block is in, as its validators see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EpochStart {
    /// Which.
    pub epoch: u64,
    /// Id of the last block before it; digest of the genesis for the first.
    pub floor: Digest256,
    /// Height of its last block.
    pub last: u64,
    /// Who votes; none if the chain ends here.
    pub set: Option<ValidatorSet>,
}

impl EpochStart {
    /// Of the block after `state`.
    ///
    /// # Errors
    /// [`SetError`] if the ledger named a committee that is none.
    pub fn after(state: &State) -> Result<Self, SetError> {
        let (head, params) = (state.head(), &state.genesis().params);
        let epoch = params.epoch_of(head.height.saturating_add(1));
        let floor = match head.beacon.epoch == epoch {
            true => head.beacon.digest,
            false => state.tip(),
        };
        let last = epoch
            .saturating_add(1)
            .saturating_mul(params.epoch_blocks)
            .saturating_sub(1);
        let set = committee_of(state, epoch)?;
        Ok(Self {
            epoch,
            floor,
            last,
            set,
        })
    }
}

/// Runs a validator over all epochs: in those whose committee has its key it votes, in the others it waits until somebody brings its
/// ledger on. Returns when it is stopped. `links` gives each epoch networks of its own; files of the epoch before are removed.
///
/// # Errors
/// [`StartError`] for a configuration that cannot run; [`StartError::Halted`] when it cannot go on.
pub async fn run_epochs<E, L, B, S, R, F>(
    context: E,
    validator: Validator<L, B>,
    mut links: impl FnMut(u64) -> F,
) -> Result<(), StartError>
where
    E: Clock + CryptoRng + Spawner + Storage + Metrics,
    L: FinalBlocks + Clone,
    B: Blocker<PublicKey = ValidatorKey>,
    F: Future<Output = Links<S, R>>,
    S: Sender<PublicKey = ValidatorKey>,
    R: Receiver<PublicKey = ValidatorKey>,
{
    loop {
        let start = EpochStart::after(&validator.ledger.state())?;
        let epoch = start.epoch;
        let votes = start
            .set
            .as_ref()
            .is_some_and(|set| set.position(&validator.key).is_some());
        if start.set.is_none() {
            tracing::error!(epoch, "nobody votes in this epoch: the chain ends here");
        }
        validator.progress.begin(epoch, votes);
        if votes {
            let links = links(epoch).await;
            let child = context.child("epoch").with_attribute("epoch", epoch);
            let running = ConsensusEngine::start(child, validator.clone(), links)?;
            match running.handle.await {
                Ok(Outcome::EpochOver) => remove(&context, &validator.partition, epoch).await?,
                Ok(Outcome::Halted(halt)) => return Err(StartError::Halted(Arc::new(halt))),
                Ok(Outcome::Stopped) | Err(_) => return Ok(()),
            }
        } else {
            let mut before = validator.ledger.height();
            while before < start.last {
                context.sleep(LOOK).await;
                let height = validator.ledger.height();
                if height != before {
                    validator.pool.settled(&validator.ledger.state());
                }
                before = height;
            }
        }
    }
}

/// Takes away what an engine of an epoch that is over left on the disk.
async fn remove<E: Storage>(context: &E, partition: &str, epoch: u64) -> Result<(), StartError> {
    for kind in ["votes", "blocks"] {
        let name = format!("{partition}-{epoch}-{kind}");
        match context.remove(&name, None).await {
            Ok(()) | Err(Error::BlobMissing(..) | Error::PartitionMissing(_)) => {}
            Err(error) => return Err(StartError::Halted(Arc::new(Halt::Disk(error)))),
        }
    }
    Ok(())
}
