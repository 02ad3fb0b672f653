//! What a chain starts from, and the rules that never change after.

use hanzo_attestation::Digest256;
use hanzo_attestation::merkle::leaf_hash;

use crate::codec::{Canonical, DecodeError, List, ascending, canonical};
use crate::network::{Address, MAINNET, Network, NetworkKind, PublicKey};
use crate::validator::{COMMITTEE_MAX, COMMITTEE_MIN, KEY_EPOCHS, admitted};

/// Longest genesis in bytes.
pub const GENESIS_BYTES_MAX: usize = 1 << 20;
/// Parts in ten thousand that make a whole.
pub const WHOLE_BP: u32 = 10_000;
/// Most that may ever exist, in base units: sums of two such amounts do not overflow.
pub const SUPPLY_MAX: u128 = 1 << 120;

/// The five kinds of work, in the order of every table by kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RewardKind {
    /// Bytes delivered to somebody who signed for them.
    DataSharing,
    /// GPU-seconds that a lessee signed for.
    ComputeProvision,
    /// Bytes of weights held for seconds.
    ModelHosting,
    /// A model that was registered and is used.
    ModelRegistration,
    /// Tokens of answers that a customer paid for.
    InferenceServing,
}

impl RewardKind {
    /// Every kind.
    pub const ALL: [RewardKind; 5] = [
        Self::DataSharing,
        Self::ComputeProvision,
        Self::ModelHosting,
        Self::ModelRegistration,
        Self::InferenceServing,
    ];

    /// What it takes of a table by kind.
    pub(crate) fn of<T: Copy + Default>(self, table: &[T; 5]) -> T {
        table.get(self as usize).copied().unwrap_or_default()
    }
}

/// Rules of a chain. Amounts are base units; `_bp` are parts in ten thousand; arrays are in the order of [`RewardKind`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Params {
    /// Blocks of an epoch.
    pub epoch_blocks: u64,
    /// Least time from a block to the next.
    pub block_interval_ms: u64,
    /// Least fee of a transaction that is no claim. It goes to the treasury.
    pub fee_min: u128,
    /// Part of every customer's fee that goes back to the pool.
    pub burn_bp: u32,
    /// Most that is paid for work, in parts of what its fee gave back to the pool. Registration shares with inference.
    pub factor_bp: [u32; 5],
    /// Per byte; per GPU-second; per GiB and hour; once; per token.
    pub rate: [u128; 5],
    /// Most that is paid in an epoch, for each kind.
    pub epoch_cap: [u128; 5],
    /// Most that one miner is paid in an epoch, all kinds together.
    pub miner_cap: u128,
    /// Locked while a model is registered.
    pub model_deposit: u128,
    /// What a model's customers must have given back to the pool before hosting it is paid.
    pub hosting_burn_min: u128,
    /// Epochs from unbonding to withdrawal.
    pub unbond_epochs: u64,
    /// Oldest receipt that is paid.
    pub claim_age_s: u64,
    /// Lowest tier of a keyset that earns.
    pub tier_min: u8,
    /// True on networks for tests: simulated keysets earn.
    pub simulated_earns: bool,
    /// Most members of a committee: an admitted number.
    pub committee_max: u16,
    /// Active validators that stay: one may leave while there are more.
    pub committee_min: u16,
    /// Least stake of a validator. 0: the registrars' word alone admits one.
    pub stake_min: u128,
    /// Part of its stake that a validator loses for votes that conflict.
    pub slash_bp: u32,
    /// Part of that for whoever reports them; the rest goes to the pool.
    pub reporter_bp: u32,
    /// Lowest tier of a validator's evidence.
    pub validator_tier_min: u8,
    /// True on networks for tests: validators with simulated evidence vote.
    pub simulated_votes: bool,
}
canonical!(Params {
    epoch_blocks,
    block_interval_ms,
    fee_min,
    burn_bp,
    factor_bp,
    rate,
    epoch_cap,
    miner_cap,
    model_deposit,
    hosting_burn_min,
    unbond_epochs,
    claim_age_s,
    tier_min,
    simulated_earns,
    committee_max,
    committee_min,
    stake_min,
    slash_bp,
    reporter_bp,
    validator_tier_min,
    simulated_votes,
});

impl Params {
    /// The epoch that a block of this height is in.
    pub fn epoch_of(&self, height: u64) -> u64 {
        height.checked_div(self.epoch_blocks).unwrap_or(0)
    }
}

/// An account of the beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allocation {
    /// Whose.
    pub address: Address,
    /// Base units; not 0.
    pub amount: u128,
}
canonical!(Allocation { address, amount });

/// A validator of the beginning. Whoever publishes the genesis saw its evidence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirstValidator {
    /// Its account.
    pub owner: Address,
    /// What it has at stake, base units.
    pub stake: u128,
    /// Its key of incarnation 1.
    pub key: PublicKey,
}
canonical!(FirstValidator { owner, stake, key });

/// What a chain starts from. The pool is what nobody was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Genesis {
    /// Kind of chain.
    pub kind: NetworkKind,
    /// Its number.
    pub id: u64,
    /// Milliseconds of Unix time.
    pub time_ms: u64,
    /// All there will ever be, in base units.
    pub max_supply: u128,
    /// What the treasury starts with.
    pub treasury: u128,
    /// Accounts, by address.
    pub allocations: List<Allocation, 4096>,
    /// The first committee, by account.
    pub validators: List<FirstValidator, COMMITTEE_MAX>,
    /// Who endorses keysets and consensus keys, by key: those who verified a guest's evidence.
    pub registrars: List<PublicKey, 64>,
    /// How many of them it takes.
    pub threshold: u16,
    /// Rules.
    pub params: Params,
}
canonical!(Genesis {
    kind,
    id,
    time_ms,
    max_supply,
    treasury,
    allocations,
    validators,
    registrars,
    threshold,
    params,
});

/// Why a genesis is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GenesisError {
    /// The bytes.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// A value.
    #[error("genesis: {field}: expected {expected}, got {got}")]
    Value {
        /// Which.
        field: &'static str,
        /// What it may be.
        expected: &'static str,
        /// What it is.
        got: String,
    },
    /// Another chain's.
    #[error(
        "genesis: expected digest {expected}, got {got}: this is the genesis of another chain; use the one your network published"
    )]
    Digest {
        /// The network's.
        expected: Digest256,
        /// This one's.
        got: Digest256,
    },
}

impl GenesisError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Decode(e) => e.code(),
            Self::Value { .. } => "genesis.value",
            Self::Digest { .. } => "genesis.digest",
        }
    }
}

impl Genesis {
    /// Reads a genesis and checks it.
    ///
    /// # Errors
    /// [`GenesisError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, GenesisError> {
        let genesis = Self::from_bytes("genesis", bytes, GENESIS_BYTES_MAX)?;
        genesis.check()?;
        Ok(genesis)
    }

    /// Its digest: what makes a chain this one.
    pub fn digest(&self) -> Digest256 {
        leaf_hash(&[b"hanzo/genesis/v1", &self.to_bytes()])
    }

    /// The network it starts.
    pub fn network(&self) -> Network {
        Network {
            kind: self.kind,
            id: self.id,
            genesis: self.digest(),
        }
    }

    /// What nobody was given, once [`Genesis::check`] passed.
    pub(crate) fn pool(&self) -> Option<u128> {
        let stakes = self.validators.iter().map(|v| v.stake);
        let given = self
            .allocations
            .iter()
            .map(|a| a.amount)
            .chain(stakes)
            .try_fold(self.treasury, u128::checked_add)?;
        self.max_supply.checked_sub(given)
    }

    /// Holds every value against its bounds.
    ///
    /// # Errors
    /// [`GenesisError`].
    pub fn check(&self) -> Result<(), GenesisError> {
        ascending("Genesis.allocations", self.allocations.iter().map(|a| a.address))?;
        ascending("Genesis.validators", self.validators.iter().map(|v| v.owner))?;
        ascending("Genesis.registrars", self.registrars.iter())?;
        let p = &self.params;
        let whole = |bp: u32| bp <= WHOLE_BP;
        let shared = RewardKind::InferenceServing
            .of(&p.factor_bp)
            .saturating_add(RewardKind::ModelRegistration.of(&p.factor_bp));
        let given = self.pool().is_some() && self.allocations.iter().all(|a| a.amount > 0);
        let threshold = (1..=self.registrars.len()).contains(&usize::from(self.threshold));
        let simulated = !(p.simulated_earns && self.id == MAINNET);
        let first = self.validators.len();
        let keys: std::collections::BTreeSet<&PublicKey> = self.validators.iter().map(|v| &v.key).collect();
        let largest = p
            .rate
            .iter()
            .chain(&p.epoch_cap)
            .chain([&p.miner_cap, &p.fee_min, &p.model_deposit, &p.stake_min])
            .max();
        let rules: [(&'static str, bool, &'static str, String); 20] = [
            (
                "max_supply",
                (1..=SUPPLY_MAX).contains(&self.max_supply),
                "1 to 2^120",
                self.max_supply.to_string(),
            ),
            (
                "allocations",
                given,
                "amounts above 0 that leave something or nothing of max_supply",
                "more".into(),
            ),
            (
                "threshold",
                threshold,
                "1 to the number of registrars",
                self.threshold.to_string(),
            ),
            (
                "params.epoch_blocks",
                p.epoch_blocks >= 1,
                "1 or more",
                p.epoch_blocks.to_string(),
            ),
            (
                "params.block_interval_ms",
                p.block_interval_ms >= 1,
                "1 or more",
                p.block_interval_ms.to_string(),
            ),
            ("params.burn_bp", whole(p.burn_bp), "0 to 10000", p.burn_bp.to_string()),
            (
                "params.factor_bp",
                p.factor_bp.iter().all(|bp| whole(*bp)) && whole(shared),
                "0 to 10000, inference and registration together",
                format!("{:?}", p.factor_bp),
            ),
            (
                "params",
                largest.is_none_or(|l| *l <= SUPPLY_MAX),
                "amounts of at most 2^120",
                format!("{largest:?}"),
            ),
            ("params.tier_min", p.tier_min <= 4, "0 to 4", p.tier_min.to_string()),
            (
                "params.simulated_earns",
                simulated,
                "false on the main network: simulated evidence earns nothing there",
                "true".into(),
            ),
            (
                "params.committee_max",
                admitted(usize::from(p.committee_max)),
                "4 to 15, 17, 18, 20, 21, 23, 24, 26, 27, 30, 33, 36, 39 or 42",
                p.committee_max.to_string(),
            ),
            (
                "params.committee_min",
                (COMMITTEE_MIN..=usize::from(p.committee_max)).contains(&usize::from(p.committee_min)),
                "4 to committee_max",
                p.committee_min.to_string(),
            ),
            (
                "params.slash_bp",
                whole(p.slash_bp),
                "0 to 10000",
                p.slash_bp.to_string(),
            ),
            (
                "params.reporter_bp",
                p.reporter_bp <= WHOLE_BP / 2,
                "0 to 5000: whoever reports himself loses more than he gets",
                p.reporter_bp.to_string(),
            ),
            (
                "params.validator_tier_min",
                p.validator_tier_min <= 4,
                "0 to 4",
                p.validator_tier_min.to_string(),
            ),
            (
                "params.simulated_votes",
                !(p.simulated_votes && self.id == MAINNET),
                "false on the main network: simulated evidence votes nowhere near it",
                "true".into(),
            ),
            (
                "params.unbond_epochs",
                p.unbond_epochs > KEY_EPOCHS,
                "3 or more: a stake outlasts every committee that its key is in",
                p.unbond_epochs.to_string(),
            ),
            (
                "validators",
                admitted(first) && first <= usize::from(p.committee_max) && first >= usize::from(p.committee_min),
                "committee_min to committee_max, of an admitted number",
                first.to_string(),
            ),
            (
                "validators.stake",
                self.validators.iter().all(|v| v.stake >= p.stake_min),
                "at least stake_min",
                "less".into(),
            ),
            (
                "validators.key",
                keys.len() == first,
                "each key once",
                format!("{} keys", keys.len()),
            ),
        ];
        match rules.into_iter().find(|(_, good, _, _)| !good) {
            None => Ok(()),
            Some((field, _, expected, got)) => Err(GenesisError::Value { field, expected, got }),
        }
    }
}
