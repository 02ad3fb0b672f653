//! Where final blocks go.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hanzo_attestation::Digest256;
use hanzo_chain_types::{AIChainVote, FinalityCertificate};
use hanzo_ledger::{Block, BlockReject, PublicKey, State, VerifiedBlock};

use crate::keys::VoteSignature;

/// A final block was not taken. The validator stops: nothing it could do would be right.
#[derive(Debug, thiserror::Error)]
#[error(
    "chain: block {height} is final and was not stored: {cause}; the validator stops, and goes on from its disk when started again"
)]
pub struct CommitError {
    /// Which.
    pub height: u64,
    /// Why.
    pub cause: String,
}

/// Two votes of one validator that no honest one casts: evidence that stands on its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Its place in the set.
    pub validator: usize,
    /// The key that both votes are signed with.
    pub key: PublicKey,
    /// The first vote and its signature.
    pub first: (AIChainVote, VoteSignature),
    /// The second, which conflicts with it.
    pub second: (AIChainVote, VoteSignature),
}

/// Keeps final blocks and the state after the newest of them, durably.
pub trait FinalBlocks: Send + 'static {
    /// The state after the newest final block.
    fn state(&self) -> State;

    /// Height of the newest final block.
    fn height(&self) -> u64 {
        self.state().head().height
    }

    /// Takes the next final block; it is durable when this returns. Given in order, one by one; the last one again after a crash. Not
    /// every block has a certificate of its own.
    ///
    /// # Errors
    /// [`CommitError`].
    fn commit(&mut self, block: &VerifiedBlock, certificate: Option<&FinalityCertificate>) -> Result<(), CommitError>;

    /// Takes the certificate of the newest final block, which a crash may have kept from being stored. Said once or more often.
    ///
    /// # Errors
    /// [`CommitError`].
    fn certify(&mut self, certificate: &FinalityCertificate) -> Result<(), CommitError>;

    /// The final block of this height.
    fn block(&self, height: u64) -> Option<Block>;

    /// A validator was caught. Said once or more often for one fault.
    fn fault(&mut self, fault: &Fault);
}

/// Final blocks in memory: for tests, benches and simulations. Copies share it.
#[derive(Clone)]
pub struct MemoryLedger(Arc<Mutex<Memory>>);

struct Memory {
    state: State,
    blocks: BTreeMap<u64, Block>,
    certificates: BTreeMap<u64, FinalityCertificate>,
    faults: Vec<Fault>,
}

impl MemoryLedger {
    /// Starts at `state`.
    pub fn new(state: State) -> Self {
        Self(Arc::new(Mutex::new(Memory {
            state,
            blocks: BTreeMap::new(),
            certificates: BTreeMap::new(),
            faults: Vec::new(),
        })))
    }

    fn held(&self) -> MutexGuard<'_, Memory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ids of all final blocks, from the first.
    pub fn ids(&self) -> Vec<Digest256> {
        self.held().blocks.values().map(|block| block.header.id()).collect()
    }

    /// The certificate of the block of this height, if it has one.
    pub fn certificate(&self, height: u64) -> Option<FinalityCertificate> {
        self.held().certificates.get(&height).cloned()
    }

    /// Who was caught.
    pub fn faults(&self) -> Vec<Fault> {
        self.held().faults.clone()
    }
}

impl FinalBlocks for MemoryLedger {
    fn state(&self) -> State {
        self.held().state.clone()
    }

    fn commit(&mut self, block: &VerifiedBlock, certificate: Option<&FinalityCertificate>) -> Result<(), CommitError> {
        let mut held = self.held();
        let height = block.header().height;
        let refused = |cause: BlockReject| CommitError {
            height,
            cause: cause.to_string(),
        };
        if held.blocks.get(&height).is_some_and(|b| b.header == *block.header()) {
            return Ok(());
        }
        let applied = held.state.apply(block).map_err(refused)?;
        held.state.commit(applied).map_err(refused)?;
        held.blocks.insert(height, block.to_block());
        if let Some(certificate) = certificate {
            held.certificates.insert(height, certificate.clone());
        }
        Ok(())
    }

    fn certify(&mut self, certificate: &FinalityCertificate) -> Result<(), CommitError> {
        let height = certificate.header.height;
        self.held()
            .certificates
            .entry(height)
            .or_insert_with(|| certificate.clone());
        Ok(())
    }

    fn height(&self) -> u64 {
        self.held().state.head().height
    }

    fn block(&self, height: u64) -> Option<Block> {
        self.held().blocks.get(&height).cloned()
    }

    fn fault(&mut self, fault: &Fault) {
        let mut held = self.held();
        if held.faults.len() < 1024 && !held.faults.contains(fault) {
            held.faults.push(fault.clone());
        }
    }
}
