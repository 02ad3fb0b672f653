//! Why a transaction or a block is refused. Nothing of it is applied then.

use hanzo_attestation::Digest256;
use hanzo_verifier::receipt::ReceiptError;

use crate::codec::DecodeError;
use crate::entry::Standing;
use crate::genesis::RewardKind;
use crate::network::Network;

/// Why a transaction is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reject {
    /// Its bytes.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// Longer than any may be.
    #[error("ledger: {what}: expected at most {max} bytes, got {got}")]
    TooLong {
        /// What.
        what: &'static str,
        /// The bound.
        max: usize,
        /// Bytes.
        got: usize,
    },
    /// Signed for another chain.
    #[error("ledger: network: expected {expected}, got {got}: it was signed for another chain; sign it for this one")]
    Network {
        /// This chain.
        expected: Network,
        /// Its chain.
        got: Network,
    },
    /// A signature does not verify.
    #[error("ledger: signature of the {what} does not verify: another key, domain, network or text was signed")]
    Signature {
        /// Whose.
        what: &'static str,
    },
    /// Used, or too far ahead.
    #[error(
        "ledger: nonce: expected {expected}, got {got}: lower ones were used, higher ones wait for those before them"
    )]
    Nonce {
        /// The account's.
        expected: u64,
        /// The transaction's.
        got: u64,
    },
    /// Its time is over.
    #[error("ledger: {what}: expired at block {expires}, this is block {height}")]
    Expired {
        /// What.
        what: &'static str,
        /// Last block.
        expires: u64,
        /// This block.
        height: u64,
    },
    /// Its time is not over yet.
    #[error("ledger: {what}: open until after block {expires}, this is block {height}")]
    Open {
        /// What.
        what: &'static str,
        /// Last block.
        expires: u64,
        /// This block.
        height: u64,
    },
    /// The fee.
    #[error("ledger: fee: expected at least {min} base units, got {got}")]
    Fee {
        /// Least.
        min: u128,
        /// Its.
        got: u128,
    },
    /// Not enough money.
    #[error("ledger: {what}: needs {need} base units, has {have}")]
    Balance {
        /// Of what.
        what: &'static str,
        /// Wanted.
        need: u128,
        /// There.
        have: u128,
    },
    /// A number out of range.
    #[error("ledger: {what}: the number is too large to count with")]
    Overflow {
        /// Which.
        what: &'static str,
    },
    /// Zero where it means nothing.
    #[error("ledger: {what}: expected more than 0")]
    Zero {
        /// Which.
        what: &'static str,
    },
    /// There is none.
    #[error("ledger: {what}: there is none of that id in this state")]
    Unknown {
        /// What.
        what: &'static str,
    },
    /// There is one already.
    #[error("ledger: {what}: there is one of that id already")]
    Exists {
        /// What.
        what: &'static str,
    },
    /// Somebody else's.
    #[error("ledger: {what}: it belongs to another account")]
    NotYours {
        /// What.
        what: &'static str,
    },
    /// A keyset that is none.
    #[error("ledger: keyset: {what}")]
    Keyset {
        /// Why.
        what: String,
    },
    /// Too few registrars.
    #[error("ledger: endorsements: expected {need} registrars, got {got}: let more of them verify the evidence")]
    Endorsements {
        /// Threshold.
        need: usize,
        /// Signed.
        got: usize,
    },
    /// Not above the boot before.
    #[error("ledger: incarnation: expected more than {last}, got {got}")]
    Incarnation {
        /// Of the miner's newest boot.
        last: u64,
        /// This.
        got: u64,
    },
    /// A number that is not the next one.
    #[error("ledger: incarnation: expected {expected}, got {got}: each key of a validator has the next number")]
    NextIncarnation {
        /// One more than the last.
        expected: u64,
        /// This.
        got: u64,
    },
    /// Simulated evidence on a network that says no.
    #[error(
        "ledger: the {what} is simulated: it counts for nothing on this network; use real evidence, or a network for tests"
    )]
    Simulated {
        /// What.
        what: &'static str,
    },
    /// A validator that is not active.
    #[error(
        "ledger: validator: expected an active one, it is {got:?}: one that left registers again, one that was jailed does not come back"
    )]
    Standing {
        /// What it is.
        got: Standing,
    },
    /// Too few validators would stay.
    #[error("ledger: validators: {got} are active, {min} must stay: leave once others came")]
    Validators {
        /// The genesis' `committee_min`.
        min: u32,
        /// Active now.
        got: u32,
    },
    /// Two votes that one signer may cast.
    #[error("ledger: evidence: {what}: nothing to punish")]
    NoConflict {
        /// Why.
        what: &'static str,
    },
    /// A key that was slashed.
    #[error("ledger: evidence: key {key} was reported before: a key is slashed once, whatever it signed")]
    Slashed {
        /// Digest of the key.
        key: Digest256,
    },
    /// Below the tier that earns.
    #[error("ledger: tier: expected at least {min}, got {got}")]
    Tier {
        /// Least.
        min: u8,
        /// The boot's.
        got: u8,
    },
    /// The receipt.
    #[error(transparent)]
    Receipt(#[from] ReceiptError),
    /// An answer that failed.
    #[error("ledger: receipt: outcome: expected complete or cut, got failed: answers that failed earn nothing")]
    Failed,
    /// Counts that the measured engine did not make.
    #[error(
        "ledger: receipt: counted_by: expected none (the measured engine counted), got upstream: counts that are a server's word earn nothing; serve the model with an engine of the image"
    )]
    Counted,
    /// The receipt's time.
    #[error("ledger: receipt: time {time} s: expected {earliest} to {latest} s (this block's time and claim_age_s)")]
    Age {
        /// The receipt's, Unix seconds.
        time: u64,
        /// First that is paid.
        earliest: u64,
        /// Last.
        latest: u64,
    },
    /// Paid before.
    #[error("ledger: number {seq} was claimed before: each receipt and delivery is paid once")]
    Claimed {
        /// Which.
        seq: u64,
    },
    /// Too far back to know.
    #[error("ledger: number {seq} is below {lowest}: claim earlier, and in order")]
    TooOld {
        /// Which.
        seq: u64,
        /// The lowest that still counts.
        lowest: u64,
    },
    /// Nobody pays, so nothing is earned.
    #[error("ledger: {kind:?}: the reward would be 0: it is at most what the fee gives back to the pool")]
    Nothing {
        /// Of which kind.
        kind: RewardKind,
    },
    /// The epoch's cap for this kind.
    #[error("ledger: {kind:?}: {wanted} base units wanted, {left} left in this epoch: claim in the next")]
    EpochCap {
        /// Of which kind.
        kind: RewardKind,
        /// Wanted.
        wanted: u128,
        /// Left.
        left: u128,
    },
    /// The epoch's cap for one miner.
    #[error("ledger: {wanted} base units wanted, {left} left for this miner in this epoch: claim in the next")]
    MinerCap {
        /// Wanted.
        wanted: u128,
        /// Left.
        left: u128,
    },
    /// An epoch that is not the one to claim.
    #[error("ledger: epoch: expected {expected}, got {got}: an epoch is claimed in the next one, once")]
    Epoch {
        /// The finished one; the first unpaid one if that is later.
        expected: u64,
        /// Claimed.
        got: u64,
    },
    /// The evidence is of another state of this chain.
    #[error("ledger: {what}: the evidence was verified against another state: verify it again")]
    Stale {
        /// What.
        what: &'static str,
    },
    /// What a boot said about its memory.
    #[error("ledger: residency: {what}")]
    Residency {
        /// Why.
        what: &'static str,
    },
    /// Fewer than there were.
    #[error("ledger: {what}: expected more than {last}, got {got}")]
    NotMore {
        /// What.
        what: &'static str,
        /// Before.
        last: u128,
        /// Now.
        got: u128,
    },
    /// A model that nobody used enough.
    #[error("ledger: hosting: the model's customers gave {got} base units back to the pool, {min} are needed")]
    Demand {
        /// Needed.
        min: u128,
        /// Given.
        got: u128,
    },
}

impl Reject {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Decode(e) => e.code(),
            Self::TooLong { .. } => "ledger.too_long",
            Self::Network { .. } => "ledger.network",
            Self::Signature { .. } => "ledger.signature",
            Self::Nonce { .. } => "ledger.nonce",
            Self::Expired { .. } => "ledger.expired",
            Self::Open { .. } => "ledger.open",
            Self::Fee { .. } => "ledger.fee",
            Self::Balance { .. } => "ledger.balance",
            Self::Overflow { .. } => "ledger.overflow",
            Self::Zero { .. } => "ledger.zero",
            Self::Unknown { .. } => "ledger.unknown",
            Self::Exists { .. } => "ledger.exists",
            Self::NotYours { .. } => "ledger.not_yours",
            Self::Keyset { .. } => "ledger.keyset",
            Self::Endorsements { .. } => "ledger.endorsements",
            Self::Incarnation { .. } => "ledger.incarnation",
            Self::NextIncarnation { .. } => "ledger.incarnation.next",
            Self::Simulated { .. } => "ledger.simulated",
            Self::Standing { .. } => "ledger.validator.standing",
            Self::Validators { .. } => "ledger.validator.few",
            Self::NoConflict { .. } => "ledger.evidence.no_conflict",
            Self::Slashed { .. } => "ledger.evidence.slashed",
            Self::Tier { .. } => "ledger.tier",
            Self::Receipt(e) => e.code(),
            Self::Failed => "ledger.receipt.failed",
            Self::Counted => "ledger.receipt.counted_by",
            Self::Age { .. } => "ledger.receipt.age",
            Self::Claimed { .. } => "ledger.claimed",
            Self::TooOld { .. } => "ledger.too_old",
            Self::Nothing { .. } => "ledger.reward.nothing",
            Self::EpochCap { .. } => "ledger.reward.epoch_cap",
            Self::MinerCap { .. } => "ledger.reward.miner_cap",
            Self::Epoch { .. } => "ledger.epoch",
            Self::Stale { .. } => "ledger.stale",
            Self::Residency { .. } => "ledger.residency",
            Self::NotMore { .. } => "ledger.not_more",
            Self::Demand { .. } => "ledger.demand",
        }
    }
}

/// Why a block is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlockReject {
    /// Its bytes.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// One of its transactions.
    #[error("block: transaction {at}: {cause}")]
    Tx {
        /// Which, from 0.
        at: usize,
        /// Why.
        cause: Reject,
    },
    /// Of another chain.
    #[error("block: network: expected {expected}, got {got}")]
    Network {
        /// This chain.
        expected: Network,
        /// Its chain.
        got: Network,
    },
    /// Not the next one.
    #[error("block: height: expected {expected}, got {got}")]
    Height {
        /// Next.
        expected: u64,
        /// Its.
        got: u64,
    },
    /// On another block.
    #[error("block: parent: expected {expected}, got {got}")]
    Parent {
        /// The newest here.
        expected: Digest256,
        /// Its.
        got: Digest256,
    },
    /// Too soon after its parent.
    #[error("block: time_ms: expected at least {least}, got {got}")]
    Interval {
        /// Its parent's and the interval.
        least: u64,
        /// Its.
        got: u64,
    },
    /// Other transactions than its header names.
    #[error("block: tx_root: expected {expected}, got {got}")]
    TxRoot {
        /// Of the transactions.
        expected: Digest256,
        /// Of the header.
        got: Digest256,
    },
    /// Another outcome than its header names.
    #[error("block: state_root: expected {expected}, got {got}: whoever proposed it computes another state")]
    StateRoot {
        /// Computed.
        expected: Digest256,
        /// Of the header.
        got: Digest256,
    },
    /// Money came or went. Never the proposer's fault.
    #[error(
        "block: supply: expected {expected} base units, got {got}: this program is wrong; stop it and keep its state"
    )]
    Supply {
        /// The maximum supply.
        expected: u128,
        /// Pool, treasury, accounts, escrows and deposits.
        got: u128,
    },
    /// A number out of range.
    #[error("block: {what}: the number is too large to count with")]
    Overflow {
        /// Which.
        what: &'static str,
    },
}

impl BlockReject {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Decode(e) => e.code(),
            Self::Tx { cause, .. } => cause.code(),
            Self::Network { .. } => "block.network",
            Self::Height { .. } => "block.height",
            Self::Parent { .. } => "block.parent",
            Self::Interval { .. } => "block.interval",
            Self::TxRoot { .. } => "block.tx_root",
            Self::StateRoot { .. } => "block.state_root",
            Self::Supply { .. } => "block.supply",
            Self::Overflow { .. } => "block.overflow",
        }
    }
}
