//! What the state holds: keys and values. Each value says what money is in it.

use hanzo_attestation::{Digest256, Digest384};

use crate::codec::{Bounded, Canonical, DecodeError, List, Reader, canonical, variants};
use crate::network::{Address, PublicKey};
use crate::validator::COMMITTEE_MAX;
use crate::window::Window;

/// Longest keyset in bytes, JCS.
pub const KEYSET_BYTES_MAX: usize = 32 * 1024;
/// Longest value in bytes.
pub const VALUE_BYTES_MAX: usize = KEYSET_BYTES_MAX + 256;
/// Longest key in bytes.
pub const KEY_BYTES_MAX: usize = 96;

/// Two names in one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pair {
    /// Who gave.
    pub provider: Address,
    /// Who took.
    pub recipient: Address,
}
canonical!(Pair { provider, recipient });

/// A model in a boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Resident {
    /// The boot's keyset.
    pub keyset: Digest384,
    /// The model's weights root.
    pub root: Digest256,
}
canonical!(Resident { keyset, root });

/// There is one of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct One {}
canonical!(One {});

/// Where a value stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// [`Head`].
    Head(One),
    /// [`Account`].
    Account(Address),
    /// [`Stake`].
    Stake(Address),
    /// [`Miner`].
    Miner(Address),
    /// [`Boot`], by keyset digest.
    Boot(Digest384),
    /// [`Window`] over a boot's receipts.
    Receipts(Digest384),
    /// [`Window`] over deliveries.
    Deliveries(Pair),
    /// [`Model`], by weights root.
    Model(Digest256),
    /// First epoch of a resident model that was not paid.
    Hosting(Resident),
    /// [`Voucher`].
    Voucher(Digest256),
    /// [`Lease`].
    Lease(Digest256),
    /// [`Validator`], by account.
    Validator(Address),
    /// [`ConsensusKey`], by [`crate::key_digest`].
    ConsensusKey(Digest256),
    /// [`Committee`], by epoch: this one's and the next's.
    Committee(u64),
}
variants!(Key, "0 to 13", {
    0 => Head(One), 1 => Account(Address), 2 => Stake(Address), 3 => Miner(Address), 4 => Boot(Digest384),
    5 => Receipts(Digest384), 6 => Deliveries(Pair), 7 => Model(Digest256), 8 => Hosting(Resident),
    9 => Voucher(Digest256), 10 => Lease(Digest256), 11 => Validator(Address), 12 => ConsensusKey(Digest256),
    13 => Committee(u64),
});

impl Key {
    /// Where it stands in the state's tree.
    pub fn path(&self) -> Digest256 {
        Digest256::of(&self.to_bytes())
    }
}

/// When an epoch began, and what nobody knew before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beacon {
    /// Which epoch.
    pub epoch: u64,
    /// Id of the last block before it.
    pub digest: Digest256,
    /// Milliseconds of Unix time.
    pub time_ms: u64,
}
canonical!(Beacon { epoch, digest, time_ms });

/// The chain as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Blocks since the genesis, which is 0.
    pub height: u64,
    /// Id of the block before this one.
    pub parent: Digest256,
    /// Of this block, milliseconds of Unix time.
    pub time_ms: u64,
    /// What rewards are paid from, base units.
    pub pool: u128,
    /// What fees of transactions went to.
    pub treasury: u128,
    /// This epoch's.
    pub beacon: Beacon,
    /// The one's before.
    pub before: Beacon,
    /// Paid in this epoch, by kind.
    pub paid: [u128; 5],
    /// Given back to the pool by customers, ever.
    pub burned: u128,
    /// Validators that are active.
    pub validators: u32,
}
canonical!(Head {
    height,
    parent,
    time_ms,
    pool,
    treasury,
    beacon,
    before,
    paid,
    burned,
    validators,
});

/// What somebody has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Account {
    /// Base units.
    pub balance: u128,
    /// Of the next transaction.
    pub nonce: u64,
}
canonical!(Account { balance, nonce });

/// What a validator has at stake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stake {
    /// Base units that vote.
    pub bonded: u128,
    /// Base units on their way back.
    pub releasing: u128,
    /// First epoch in which they may be withdrawn.
    pub release_epoch: u64,
}
canonical!(Stake {
    bonded,
    releasing,
    release_epoch,
});

/// What a miner was paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Miner {
    /// Of its newest boot; 0 before the first.
    pub incarnation: u64,
    /// The epoch that `paid` is of.
    pub epoch: u64,
    /// Paid in that epoch, base units.
    pub paid: u128,
}
canonical!(Miner {
    incarnation,
    epoch,
    paid,
});

/// A boot whose evidence the registrars verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boot {
    /// Who earns with it.
    pub miner: Address,
    /// Strictly above that of the miner's boot before.
    pub incarnation: u64,
    /// The block that it stands in; it earns in later ones.
    pub height: u64,
    /// JCS of its keyset.
    pub keyset: Bounded<KEYSET_BYTES_MAX>,
}
canonical!(Boot {
    miner,
    incarnation,
    height,
    keyset,
});

/// A registered model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Model {
    /// Who registered it.
    pub owner: Address,
    /// SHA-256 of its licence text.
    pub licence: Digest256,
    /// Bytes of weights, all files.
    pub bytes: u64,
    /// Leaves under its root.
    pub leaves: u64,
    /// Base units that come back when it is retired.
    pub deposit: u128,
    /// What its customers gave back to the pool.
    pub burned: u128,
    /// True once its registration was paid.
    pub rewarded: bool,
}
canonical!(Model {
    owner,
    licence,
    bytes,
    leaves,
    deposit,
    burned,
    rewarded,
});

/// Money that a customer set aside for one miner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Voucher {
    /// Whose.
    pub customer: Address,
    /// For whom.
    pub miner: Address,
    /// Base units that are left.
    pub locked: u128,
    /// Base units that were paid out of it.
    pub spent: u128,
    /// The last block that it pays in; the customer gets the rest after.
    pub expires: u64,
}
canonical!(Voucher {
    customer,
    miner,
    locked,
    spent,
    expires,
});

/// GPUs that somebody rents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// Who rents.
    pub lessee: Address,
    /// Of whom.
    pub miner: Address,
    /// On which boot.
    pub keyset: Digest384,
    /// How many.
    pub gpus: u16,
    /// Base units for one GPU and second.
    pub price: u128,
    /// Base units that are left.
    pub locked: u128,
    /// Seconds that were paid.
    pub seconds: u64,
    /// First epoch that was not paid.
    pub next_epoch: u64,
    /// The last block that it pays in.
    pub expires: u64,
}
canonical!(Lease {
    lessee,
    miner,
    keyset,
    gpus,
    price,
    locked,
    seconds,
    next_epoch,
    expires,
});

/// What a validator is to the chain. Closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It votes, or will.
    Active,
    /// It left.
    Left,
    /// One of its keys cast votes that conflict: it does not come back.
    Jailed,
}

impl Canonical for Standing {
    fn write(&self, out: &mut Vec<u8>) {
        out.push(match self {
            Self::Active => 1,
            Self::Left => 2,
            Self::Jailed => 3,
        });
    }

    fn read(from: &mut Reader<'_>, what: &'static str) -> Result<Self, DecodeError> {
        match u8::read(from, what)? {
            1 => Ok(Self::Active),
            2 => Ok(Self::Left),
            3 => Ok(Self::Jailed),
            got => Err(DecodeError::Tag {
                what,
                expected: "1 (active), 2 (left) or 3 (jailed)",
                got,
            }),
        }
    }
}

/// A validator: an account with a stake ([`Stake`]) and one live key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validator {
    /// Whether it votes.
    pub standing: Standing,
    /// Of its newest key.
    pub incarnation: u64,
    /// Digest of its newest key.
    pub key: Digest256,
}
canonical!(Validator {
    standing,
    incarnation,
    key,
});

/// A key that a validator votes with, or did. It stays, so that no key comes twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsensusKey {
    /// Whose.
    pub validator: Address,
    /// Which of the validator's.
    pub incarnation: u64,
    /// First epoch that it may vote in.
    pub from_epoch: u64,
    /// First epoch that it may not vote in any more; `u64::MAX` while it is live.
    pub until_epoch: u64,
    /// True once its conflicting votes were reported.
    pub slashed: bool,
    /// The key.
    pub public: PublicKey,
}
canonical!(ConsensusKey {
    validator,
    incarnation,
    from_epoch,
    until_epoch,
    slashed,
    public,
});

/// A validator with the key that it votes with in one epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// Who.
    pub validator: Address,
    /// Of its key.
    pub incarnation: u64,
    /// Digest of its key.
    pub key: Digest256,
}
canonical!(Member {
    validator,
    incarnation,
    key,
});

/// Who votes in one epoch, by account; nobody if there are too few.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Committee {
    /// Of an admitted number ([`crate::admitted`]), or none.
    pub members: List<Member, COMMITTEE_MAX>,
}
canonical!(Committee { members });

/// What stands under a key.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "each variant is named like its key")]
pub enum Value {
    Head(Head),
    Account(Account),
    Stake(Stake),
    Miner(Miner),
    Boot(Boot),
    Receipts(Window),
    Deliveries(Window),
    Model(Model),
    Hosting(u64),
    Voucher(Voucher),
    Lease(Lease),
    Validator(Validator),
    ConsensusKey(ConsensusKey),
    Committee(Committee),
}
variants!(Value, "0 to 13", {
    0 => Head(Head), 1 => Account(Account), 2 => Stake(Stake), 3 => Miner(Miner), 4 => Boot(Boot),
    5 => Receipts(Window), 6 => Deliveries(Window), 7 => Model(Model), 8 => Hosting(u64),
    9 => Voucher(Voucher), 10 => Lease(Lease), 11 => Validator(Validator), 12 => ConsensusKey(ConsensusKey),
    13 => Committee(Committee),
});

impl Value {
    /// True if it is the kind of value that `key` is for.
    pub(crate) fn fits(&self, key: &Key) -> bool {
        matches!(
            (key, self),
            (Key::Head(_), Self::Head(_))
                | (Key::Account(_), Self::Account(_))
                | (Key::Stake(_), Self::Stake(_))
                | (Key::Miner(_), Self::Miner(_))
                | (Key::Boot(_), Self::Boot(_))
                | (Key::Receipts(_), Self::Receipts(_))
                | (Key::Deliveries(_), Self::Deliveries(_))
                | (Key::Model(_), Self::Model(_))
                | (Key::Hosting(_), Self::Hosting(_))
                | (Key::Voucher(_), Self::Voucher(_))
                | (Key::Lease(_), Self::Lease(_))
                | (Key::Validator(_), Self::Validator(_))
                | (Key::ConsensusKey(_), Self::ConsensusKey(_))
                | (Key::Committee(_), Self::Committee(_))
        )
    }
}
