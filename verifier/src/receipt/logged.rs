//! That a receipt stands in its log.

use hanzo_attestation::Digest256;
use hanzo_log::tree::{leaf_hash, verify_inclusion};
use hanzo_log::{AuthenticCheckpoint, LogVerifier, SignedCheckpoint};
use serde::{Deserialize, Serialize};

use super::{ReceiptError, SignedReceipt};

/// Where a receipt stands in its log, and what proves it. It comes with the receipt and is no part of what is signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogProof {
    /// A signed head of the log (C2SP checkpoint) that covers the receipt.
    pub checkpoint: String,
    /// Which leaf, from 0.
    pub index: u64,
    /// The hashes from the leaf to the root.
    pub path: Vec<Digest256>,
}

/// A receipt that is in a log. Only [`prove_logged`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logged {
    index: u64,
    checkpoint: AuthenticCheckpoint,
}

impl Logged {
    /// Which leaf, from 0.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// The head that covers it.
    pub fn checkpoint(&self) -> &AuthenticCheckpoint {
        &self.checkpoint
    }
}

/// Checks the proof that came with a receipt.
///
/// # Establishes
/// The holder of the log's keys vouched for a log in which this receipt is that leaf.
///
/// # Does not establish
/// That others are shown the same log (that takes witnesses), or that the receipt itself is genuine.
///
/// # Errors
/// [`ReceiptError::Log`].
pub fn prove_logged(signed: &SignedReceipt, proof: &LogProof, log: &LogVerifier) -> Result<Logged, ReceiptError> {
    let checkpoint = SignedCheckpoint::parse(proof.checkpoint.as_bytes())?.verify(log)?;
    let leaf = leaf_hash(&[&signed.to_bytes()?]);
    verify_inclusion(leaf, proof.index, checkpoint.size(), &proof.path, &checkpoint.root())?;
    Ok(Logged {
        index: proof.index,
        checkpoint,
    })
}
