//! Blocks: transactions in an order, and the state that they lead to.

use hanzo_attestation::Digest256;
use hanzo_attestation::merkle::{self, leaf_hash};

use crate::codec::{Canonical, DecodeError, List, canonical};
use crate::network::{Address, Network};
use crate::state::State;
use crate::tx::SignedTx;
use crate::verify::VerifiedTx;
use crate::{BlockReject, Reject};

/// Longest block in bytes.
pub const BLOCK_BYTES_MAX: usize = 16 << 20;
/// Most transactions of a block.
pub const BLOCK_TXS_MAX: usize = 4096;

/// What a block says. Its id is a hash of this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// On which chain.
    pub network: Network,
    /// 1, 2, 3 …
    pub height: u64,
    /// Id of the block before; digest of the genesis for the first.
    pub parent: Digest256,
    /// Milliseconds of Unix time: the ledger's only clock.
    pub time_ms: u64,
    /// Who made it.
    pub proposer: Address,
    /// RFC 6962 root over the signed transactions.
    pub tx_root: Digest256,
    /// Root of the state after it.
    pub state_root: Digest256,
}
canonical!(Header {
    network,
    height,
    parent,
    time_ms,
    proposer,
    tx_root,
    state_root,
});

impl Header {
    /// The block's id.
    pub fn id(&self) -> Digest256 {
        leaf_hash(&[b"hanzo/ai-block/v1", &self.to_bytes()])
    }
}

/// A block whose signatures nobody checked yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// What it says.
    pub header: Header,
    /// In order.
    pub txs: List<SignedTx, BLOCK_TXS_MAX>,
}
canonical!(Block { header, txs });

impl Block {
    /// Reads one block and nothing after it; checks no signature.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, DecodeError> {
        Self::from_bytes("block", bytes, BLOCK_BYTES_MAX)
    }

    /// Checks every signature in it against `state`, that of its parent.
    ///
    /// # Errors
    /// [`BlockReject::Tx`]; [`BlockReject::TxRoot`]; [`BlockReject::Decode`] for a block too long to be sent.
    pub fn verify(self, state: &State) -> Result<VerifiedBlock, BlockReject> {
        let got = self.to_bytes().len();
        if got > BLOCK_BYTES_MAX {
            let (what, max) = ("block", BLOCK_BYTES_MAX);
            return Err(DecodeError::TooLong { what, max, got }.into());
        }
        let mut txs = Vec::new();
        for (at, tx) in self.txs.iter().enumerate() {
            let verified = tx.clone().verify(state);
            txs.push(verified.map_err(|cause: Reject| BlockReject::Tx { at, cause })?);
        }
        VerifiedBlock::new(self.header, txs)
    }
}

/// A block whose every signature verified, with exactly the transactions that its header names.
#[derive(Debug, Clone)]
pub struct VerifiedBlock {
    header: Header,
    txs: Vec<VerifiedTx>,
}

impl VerifiedBlock {
    /// Of transactions that were verified one by one.
    ///
    /// # Errors
    /// [`BlockReject::TxRoot`]; [`BlockReject::Decode`] for more than [`BLOCK_TXS_MAX`].
    pub fn new(header: Header, txs: Vec<VerifiedTx>) -> Result<Self, BlockReject> {
        if txs.len() > BLOCK_TXS_MAX {
            let (what, max, got) = ("Block.txs", BLOCK_TXS_MAX, txs.len());
            return Err(DecodeError::TooLong { what, max, got }.into());
        }
        let expected = tx_root(txs.iter().map(VerifiedTx::signed));
        if header.tx_root != expected {
            return Err(BlockReject::TxRoot {
                expected,
                got: header.tx_root,
            });
        }
        Ok(Self { header, txs })
    }

    /// What it says.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// In order.
    pub fn txs(&self) -> &[VerifiedTx] {
        &self.txs
    }

    /// To be sent and stored.
    pub fn to_block(&self) -> Block {
        Block {
            header: self.header,
            txs: List::new(self.txs.iter().map(|tx| tx.signed().clone()).collect()).unwrap_or_default(),
        }
    }
}

/// RFC 6962 root over signed transactions.
pub fn tx_root<'a>(txs: impl Iterator<Item = &'a SignedTx>) -> Digest256 {
    let leaves: Vec<_> = txs.map(|tx| leaf_hash(&[&tx.to_bytes()])).collect();
    merkle::root(&leaves)
}
