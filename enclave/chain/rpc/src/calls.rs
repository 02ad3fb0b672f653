//! Questions and answers. Amounts of base units and numbers that may be 2^53 or more are decimal strings; digests and bytes lower-case
//! hex; accounts `0x` and hex.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::NodeStanding;

/// A question: its parameters, its name, its answer.
pub trait Call: Serialize + DeserializeOwned {
    /// As it stands in `method`.
    const METHOD: &'static str;
    /// What comes back.
    type Answer: Serialize + DeserializeOwned;
}

macro_rules! calls {
    ($($(#[$text:meta])* $name:ident($method:literal) -> $answer:ty { $($(#[$about:meta])* $field:ident: $kind:ty),* $(,)? })*) => {
        $($(#[$text])*
        #[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            $($(#[$about])* #[serde(default, skip_serializing_if = "Option::is_none")] pub $field: $kind,)*
        }

        impl Call for $name {
            const METHOD: &'static str = $method;
            type Answer = $answer;
        })*

        /// Every method there is.
        pub const METHODS: &[&str] = &[$($method),*];
    };
}

calls! {
    /// How the chain and the node stand.
    Status("chain_status") -> StatusView {}
    /// The genesis, and its digest.
    GetGenesis("chain_genesis") -> GenesisView {}
    /// A block, by height or id; the newest without either.
    GetBlock("chain_block") -> BlockView {
        /// From 1.
        height: Option<u64>,
        /// Hex.
        id: Option<String>,
    }
    /// Several blocks, newest first.
    GetBlocks("chain_blocks") -> Vec<BlockView> {
        /// The first of them; the newest there is if absent.
        from: Option<u64>,
        /// At most 50; 20 if absent.
        count: Option<u64>,
    }
    /// What an account has.
    GetAccount("chain_account") -> AccountView {
        /// `0x` and 64 hex digits.
        address: Option<String>,
    }
    /// Who votes in an epoch; this one if absent.
    GetValidators("chain_validators") -> ValidatorsView {
        /// Which.
        epoch: Option<u64>,
    }
    /// Where all the money is.
    GetSupply("chain_supply") -> SupplyView {}
    /// An entry of the newest state, by the ledger's canonical key.
    GetEntry("chain_entry") -> EntryView {
        /// Hex of the key.
        key: Option<String>,
    }
    /// Hands in a signed transaction.
    Submit("chain_submit") -> Submitted {
        /// Hex of its canonical bytes.
        transaction: Option<String>,
    }
    /// A transaction, by id.
    GetTransaction("chain_transaction") -> PlacedView {
        /// Hex.
        id: Option<String>,
    }
    /// Final blocks from a height on, and what shows that they are final: for nodes that follow this one.
    GetFinal("chain_final") -> FinalView {
        /// The first that is wanted, from 1.
        from: Option<u64>,
    }
    /// A light proof.
    GetProof("chain_proof") -> ProofView {
        /// `block`, `account` or `transaction`.
        kind: Option<String>,
        /// Of a block; the newest certified one if absent.
        height: Option<u64>,
        /// Of an account.
        address: Option<String>,
        /// Of a transaction.
        id: Option<String>,
        /// The newest epoch whose committee the asker knows; 1 (what the genesis names) if absent.
        from_epoch: Option<u64>,
    }
}

/// Answer of [`Status`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusView {
    /// Number of the network.
    pub network: u64,
    /// Digest of its genesis.
    pub genesis: String,
    /// True where validators with simulated evidence vote, or simulated boots earn: worth nothing.
    pub simulated: bool,
    /// Of the newest block; 0 before the first.
    pub height: u64,
    /// Its id.
    pub block: String,
    /// Its time, milliseconds of Unix time.
    pub time_ms: u64,
    /// Root of the state after it.
    pub state_root: String,
    /// Its epoch.
    pub epoch: u64,
    /// Blocks of an epoch.
    pub epoch_blocks: u64,
    /// Least time from block to block.
    pub block_interval_ms: u64,
    /// Least fee of a transaction, base units.
    pub fee_min: String,
    /// Height of the newest block that has a certificate here.
    pub certified: Option<u64>,
    /// Height of the block whose state came as a snapshot: earlier blocks may not be here. Absent if every block was applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<u64>,
    /// Validators that are active.
    pub validators: u32,
    /// The node about itself.
    pub node: NodeStanding,
}

/// Answer of [`GetGenesis`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GenesisView {
    /// Hex of its bytes. Trust its digest from elsewhere.
    pub genesis: String,
    /// Its digest.
    pub digest: String,
}

/// Answer of [`GetBlock`], and what the stream of blocks holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockView {
    /// From 1.
    pub height: u64,
    /// SHA-256 of the header.
    pub id: String,
    /// Id of the block before.
    pub parent: String,
    /// Milliseconds of Unix time.
    pub time_ms: u64,
    /// Which epoch.
    pub epoch: u64,
    /// Account of who made it.
    pub proposer: String,
    /// Root over its transactions.
    pub tx_root: String,
    /// Root of the state after it.
    pub state_root: String,
    /// In order.
    pub transactions: Vec<TransactionView>,
    /// What makes it final here; absent until it is there.
    pub certificate: Option<CertificateView>,
}

/// A certificate of finality in few words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateView {
    /// Of the block that it is of: this one or a later one.
    pub height: u64,
    /// Epoch of the committee.
    pub epoch: u64,
    /// View that finalized it.
    pub view: u64,
    /// How many votes.
    pub votes: u64,
}

/// A transaction in few words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransactionView {
    /// SHA-256 of the unsigned transaction.
    pub id: String,
    /// What is asked for, by the name of the ledger's action in snake case; `claim.` and the kind of work for claims.
    pub kind: String,
    /// Account of the sender.
    pub sender: String,
    /// The sender's number.
    pub nonce: u64,
    /// Base units for the treasury.
    pub fee: String,
    /// Last block that it may stand in: a string, as it may be 2^64 - 1.
    pub expires: String,
    /// Who gets something by it.
    pub to: Option<String>,
    /// Base units that are moved, set aside or put at stake.
    pub amount: Option<String>,
    /// Of a claim for an answer.
    pub reward: Option<RewardView>,
}

/// What an answer earned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RewardView {
    /// Account of who paid.
    pub customer: String,
    /// Base units that the customer paid.
    pub fee: String,
    /// What of it went back to the pool.
    pub burned: String,
    /// What the miner got from the pool.
    pub reward: String,
}

/// Answer of [`GetAccount`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountView {
    /// Whose.
    pub address: String,
    /// Base units.
    pub balance: String,
    /// Of the next transaction.
    pub nonce: u64,
    /// Base units at stake that vote.
    pub bonded: String,
    /// Base units on their way back.
    pub releasing: String,
    /// First epoch in which these may be withdrawn.
    pub release_epoch: u64,
    /// `active`, `left` or `jailed`; absent for accounts that never were validators.
    pub validator: Option<String>,
    /// Of the validator's newest key; 0 without one.
    pub incarnation: u64,
    /// Of the miner's newest boot; 0 without one.
    pub boot: u64,
    /// Base units that the miner was paid in `paid_epoch`.
    pub paid: String,
    /// That epoch.
    pub paid_epoch: u64,
    /// The block after which this stands.
    pub height: u64,
}

/// Answer of [`GetValidators`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValidatorsView {
    /// Which epoch.
    pub epoch: u64,
    /// Votes that make a block final.
    pub quorum: u64,
    /// In the order of the set: places of certificates.
    pub members: Vec<ValidatorView>,
}

/// A member of a committee.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValidatorView {
    /// Its account.
    pub account: String,
    /// Digest of its key in that epoch.
    pub key: String,
    /// Of its newest key, as the newest state has it.
    pub incarnation: u64,
    /// Base units at stake, in the newest state.
    pub bonded: String,
    /// `active`, `left` or `jailed`, in the newest state.
    pub standing: String,
    /// Blocks that it proposed among the newest 100.
    pub proposed: u64,
}

/// Answer of [`GetSupply`]. The first five make `max_supply`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SupplyView {
    /// What rewards are paid from.
    pub pool: String,
    /// What transactions' fees went to.
    pub treasury: String,
    /// In accounts.
    pub accounts: String,
    /// In vouchers and leases.
    pub escrows: String,
    /// In stakes and deposits of models.
    pub deposits: String,
    /// All there will ever be.
    pub max_supply: String,
    /// Given back to the pool by customers, ever.
    pub burned: String,
    /// Rewards of this epoch by kind of work.
    pub rewards: Vec<RewardsView>,
    /// The epoch.
    pub epoch: u64,
    /// The block after which this stands.
    pub height: u64,
}

/// Rewards of one kind of work in one epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RewardsView {
    /// `data_sharing`, `compute_provision`, `model_hosting`, `model_registration` or `inference_serving`.
    pub kind: String,
    /// Base units that were paid.
    pub paid: String,
    /// Most that may be.
    pub cap: String,
}

/// Answer of [`GetEntry`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryView {
    /// Hex of the canonical value; absent if nothing stands there.
    pub value: Option<String>,
    /// The block after which this stands.
    pub height: u64,
}

/// Answer of [`Submit`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Submitted {
    /// The transaction's id.
    pub id: String,
}

/// Answer of [`GetTransaction`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlacedView {
    /// The transaction's id.
    pub id: String,
    /// True while it waits for a block; the rest is absent then.
    pub pending: bool,
    /// Height of its block.
    pub height: Option<u64>,
    /// From 0.
    pub index: Option<u64>,
    /// Id of its block.
    pub block: Option<String>,
    /// In few words.
    pub view: Option<TransactionView>,
    /// Hex of its canonical bytes.
    pub transaction: Option<String>,
}

/// Answer of [`GetFinal`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FinalView {
    /// Hex of an answer of enclave/chain/SPEC.md, "Validator" (behind); absent if no block from there on is certified here.
    pub blocks: Option<String>,
    /// Of the newest block here.
    pub height: u64,
}

/// Answer of [`GetProof`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProofView {
    /// Hex of a light proof, as `hanzo-verify` reads it.
    pub light_proof: String,
    /// The block that is shown.
    pub height: u64,
    /// The block whose certificate shows it.
    pub certified: u64,
    /// Epoch of that certificate.
    pub epoch: u64,
}
