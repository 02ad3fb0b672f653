//! Final blocks in hanzo-mining's store.

use std::sync::Arc;

use hanzo_chain_types::FinalityCertificate;
use hanzo_ledger::{Block, Header, State, VerifiedBlock};
use hanzo_mining::{MiningError, MiningLedger};

use crate::final_blocks::{CommitError, Fault, FinalBlocks};

/// Hears what happens. Must not block for long.
pub trait Watcher: Send + Sync + 'static {
    /// A block is final and stored.
    fn committed(&self, _header: &Header) {}

    /// A validator was caught, perhaps not for the first time.
    fn caught(&self, _fault: &Fault) {}
}

impl Watcher for () {}

/// A [`MiningLedger`] as the engine's store: each block is one transaction on the disk, and the certificate is stored after it. Copies
/// share it.
pub struct StoredBlocks<W> {
    ledger: Arc<MiningLedger>,
    watcher: Arc<W>,
}

impl<W> Clone for StoredBlocks<W> {
    fn clone(&self) -> Self {
        Self {
            ledger: Arc::clone(&self.ledger),
            watcher: Arc::clone(&self.watcher),
        }
    }
}

impl<W: Watcher> StoredBlocks<W> {
    /// Over a ledger that others may read, and bring on.
    pub fn new(ledger: Arc<MiningLedger>, watcher: Arc<W>) -> Self {
        Self { ledger, watcher }
    }

    /// The ledger.
    pub fn ledger(&self) -> &Arc<MiningLedger> {
        &self.ledger
    }
}

impl<W: Watcher> FinalBlocks for StoredBlocks<W> {
    fn state(&self) -> State {
        self.ledger.read(State::clone)
    }

    fn height(&self) -> u64 {
        self.ledger.read(|state| state.head().height)
    }

    fn commit(&mut self, block: &VerifiedBlock, certificate: Option<&FinalityCertificate>) -> Result<(), CommitError> {
        let height = block.header().height;
        let refused = |cause: MiningError| CommitError {
            height,
            cause: cause.to_string(),
        };
        match self.ledger.submit_verified(block) {
            // It went on from a state after this block meanwhile.
            Err(MiningError::Pruned { .. }) => return Ok(()),
            stored => stored.map_err(refused)?,
        };
        if let Some(certificate) = certificate {
            self.certify(certificate)?;
        }
        self.watcher.committed(block.header());
        Ok(())
    }

    fn certify(&mut self, certificate: &FinalityCertificate) -> Result<(), CommitError> {
        match self.ledger.certify(certificate) {
            Ok(()) | Err(MiningError::Pruned { .. }) => Ok(()),
            Err(cause) => Err(CommitError {
                height: certificate.header.height,
                cause: cause.to_string(),
            }),
        }
    }

    fn block(&self, height: u64) -> Option<Block> {
        match self.ledger.block(height) {
            Ok(block) => block,
            Err(error) => {
                tracing::error!(height, code = error.code(), "a stored block cannot be read: {error}");
                None
            }
        }
    }

    fn fault(&mut self, fault: &Fault) {
        self.watcher.caught(fault);
    }
}
