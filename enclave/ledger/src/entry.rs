//! What the state holds: keys and values. Each value says what money is in it.

use hanzo_attestation::{Digest256, Digest384};

use crate::codec::{Bounded, Canonical, canonical, variants};
use crate::network::Address;
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
}
variants!(Key, "0 to 10", {
    0 => Head(One), 1 => Account(Address), 2 => Stake(Address), 3 => Miner(Address), 4 => Boot(Digest384),
    5 => Receipts(Digest384), 6 => Deliveries(Pair), 7 => Model(Digest256), 8 => Hosting(Resident),
    9 => Voucher(Digest256), 10 => Lease(Digest256),
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
}
variants!(Value, "0 to 10", {
    0 => Head(Head), 1 => Account(Account), 2 => Stake(Stake), 3 => Miner(Miner), 4 => Boot(Boot),
    5 => Receipts(Window), 6 => Deliveries(Window), 7 => Model(Model), 8 => Hosting(u64),
    9 => Voucher(Voucher), 10 => Lease(Lease),
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
        )
    }
}
