//! What a node must be able to do to be asked.

use hanzo_attestation::Digest256;
use hanzo_ledger::{Reject, SignedTx};
use hanzo_mining::{MiningError, MiningLedger};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// A node: a ledger of final blocks, a place for transactions, a word about itself. Calls may block; they are made on threads that may.
pub trait Node: Send + Sync + 'static {
    /// The final blocks, the state after the newest, certificates and handovers.
    fn ledger(&self) -> &MiningLedger;

    /// Takes a transaction for a coming block, after checking every signature in it against the newest state.
    ///
    /// # Errors
    /// [`SubmitError`]; nothing was kept then.
    fn submit(&self, tx: SignedTx) -> Result<(), SubmitError>;

    /// True while the transaction of this id waits for a block.
    fn is_pending(&self, id: &Digest256) -> bool;

    /// What the node is and how it does.
    fn standing(&self) -> NodeStanding;

    /// Final blocks from a height on with what shows that they are final, as bytes of `enclave/chain/SPEC.md`, "Validator" (behind); none if nothing
    /// from there on is certified here, or the node lets nobody follow it.
    ///
    /// # Errors
    /// [`MiningError`].
    fn final_blocks(&self, _from: u64) -> Result<Option<Vec<u8>>, MiningError> {
        Ok(None)
    }

    /// Height of the newest block in the ledger, as it grows.
    fn newest(&self) -> watch::Receiver<u64>;
}

/// Why a transaction is not taken.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// The ledger would refuse it.
    #[error(transparent)]
    Reject(#[from] Reject),
    /// It waits already.
    #[error("submit: this transaction waits for a block already: ask for it by its id")]
    Known,
    /// No room.
    #[error("submit: expected at most {max} waiting transactions, got one more: send it again after the next block")]
    Full {
        /// Most that wait.
        max: usize,
    },
    /// No room for this sender.
    #[error(
        "submit: expected at most {max} waiting transactions of one sender, got one more: send it again after the next block"
    )]
    SenderFull {
        /// Most of one sender that wait.
        max: usize,
    },
    /// The node cannot take any now.
    #[error("submit: the node takes no transactions now: {why}")]
    NotReady {
        /// Why.
        why: &'static str,
    },
}

impl SubmitError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Reject(e) => e.code(),
            Self::Known => "chain.submit.known",
            Self::Full { .. } => "chain.submit.full",
            Self::SenderFull { .. } => "chain.submit.sender_full",
            Self::NotReady { .. } => "chain.submit.not_ready",
        }
    }
}

/// A node about itself. Nobody has to believe it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStanding {
    /// Name and version of the program.
    pub version: String,
    /// Account of the validator; none for a node that only follows.
    pub account: Option<String>,
    /// Digest of its consensus key of this boot, hex.
    pub key: Option<String>,
    /// Incarnation of that key.
    pub incarnation: u64,
    /// True if that key is in this epoch's committee.
    pub votes: bool,
    /// Epoch of the engine that runs.
    pub epoch: u64,
    /// View of the engine.
    pub view: u64,
    /// Transactions that wait.
    pub pending: u64,
    /// Bytes of these.
    pub pending_bytes: u64,
    /// Peers by account.
    pub peers: Vec<PeerStanding>,
    /// Conflicting votes of others that were seen.
    pub faults: u64,
    /// Validators that this node has yet to report for them: a report waits for its turn and for a block.
    #[serde(default)]
    pub reports: u64,
}

/// A peer, as a node sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerStanding {
    /// Its account; empty for a node that is followed without a link.
    pub account: String,
    /// Where it is dialled.
    pub address: String,
    /// True while there is an attested link, or a followed node answers.
    pub connected: bool,
    /// True while it is kept away for what it sent.
    pub blocked: bool,
}
