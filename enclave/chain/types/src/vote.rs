//! What validators sign.

use hanzo_attestation::Digest256;
use hanzo_ledger::{Canonical, Network, PublicKey};
use hanzo_pqc::dsa::{MlDsa65, VerifyingKey};
use hanzo_pqc::{Domain, PqcError};

/// Version of the signed bytes, as `hanzo-signer` writes it.
const VERSION: u8 = 1;

/// A block at its place in the voting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Proposal {
    /// Epoch of the validator set.
    pub epoch: u64,
    /// View within the epoch.
    pub view: u64,
    /// View of the block before it; 0: none.
    pub parent: u64,
    /// Id of the block.
    pub block: Digest256,
}

/// One validator's word about one view. The bytes are those of the signer's requests of the same names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AIChainVote {
    /// First round.
    Notarize(Proposal),
    /// Give the view up.
    Nullify {
        /// Epoch of the validator set.
        epoch: u64,
        /// View within the epoch.
        view: u64,
    },
    /// Second round.
    Finalize(Proposal),
}

impl AIChainVote {
    /// What its signature is for.
    pub const fn domain(&self) -> Domain {
        match self {
            Self::Notarize(_) => Domain::ChainNotarize,
            Self::Nullify { .. } => Domain::ChainNullify,
            Self::Finalize(_) => Domain::ChainFinalize,
        }
    }

    const fn kind(&self) -> u8 {
        match self {
            Self::Notarize(_) => 1,
            Self::Nullify { .. } => 2,
            Self::Finalize(_) => 3,
        }
    }

    /// What is signed on `network`, without its domain.
    ///
    /// # Layout
    /// Version 1, kind 1, network 41, epoch 8, view 8; but for nullify: parent view 8, block 32. Big endian.
    pub fn message(&self, network: &Network) -> Vec<u8> {
        let mut out = vec![VERSION, self.kind()];
        network.write(&mut out);
        match self {
            Self::Notarize(proposal) | Self::Finalize(proposal) => {
                for number in [proposal.epoch, proposal.view, proposal.parent] {
                    number.write(&mut out);
                }
                proposal.block.write(&mut out);
            }
            Self::Nullify { epoch, view } => {
                epoch.write(&mut out);
                view.write(&mut out);
            }
        }
        out
    }

    /// Whether `signature` is `key`'s under this vote.
    ///
    /// # Establishes
    /// The key's holder cast exactly this vote on exactly this network.
    ///
    /// # Errors
    /// [`PqcError::Length`], [`PqcError::MlDsa`].
    pub fn verify(&self, network: &Network, key: &PublicKey, signature: &[u8]) -> Result<(), PqcError> {
        let bytes = self.domain().signed_bytes(&self.message(network));
        VerifyingKey::<MlDsa65>::from_bytes(key)?.verify(&bytes, signature)
    }
}
