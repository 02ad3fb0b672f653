//! A block in the making: what it writes over the state of its parent, transaction by transaction, each whole or not at all.

use hanzo_attestation::{Digest256, Digest384};

use crate::Reject;
use crate::entry::{
    Account, Boot, ConsensusKey, Head, Key, Lease, Miner, Model, Pair, Resident, Stake, Validator, Value, Voucher,
};
use crate::genesis::{Params, RewardKind, WHOLE_BP};
use crate::network::Address;
use crate::state::{Changes, State};
use crate::window::Window;

/// What a block wrote so far.
pub(super) struct Draft<'a> {
    base: &'a State,
    /// As it will stand when the block ends.
    pub(super) head: Head,
    /// Of the transactions before this one.
    done: Changes,
    /// Of this one.
    now: Changes,
}

macro_rules! values {
    ($($(#[$doc:meta])* $get:ident, $put:ident, $variant:ident, $key:ty, $value:ty;)*) => {
        impl Draft<'_> {
            $($(#[$doc])*
            pub(super) fn $get(&self, key: &$key) -> Option<$value> {
                match self.get(&Key::$variant(*key)) {
                    Some(Value::$variant(value)) => Some(value.clone()),
                    _ => None,
                }
            }

            pub(super) fn $put(&mut self, key: &$key, value: $value) {
                self.now.insert(Key::$variant(*key), Some(Value::$variant(value)));
            })*
        }
    };
}

values! {
    stake, put_stake, Stake, Address, Stake;
    miner, put_miner, Miner, Address, Miner;
    boot, put_boot, Boot, Digest384, Boot;
    receipts, put_receipts, Receipts, Digest384, Window;
    deliveries, put_deliveries, Deliveries, Pair, Window;
    model, put_model, Model, Digest256, Model;
    hosting, put_hosting, Hosting, Resident, u64;
    voucher, put_voucher, Voucher, Digest256, Voucher;
    lease, put_lease, Lease, Digest256, Lease;
    validator, put_validator, Validator, Address, Validator;
    consensus_key, put_consensus_key, ConsensusKey, Digest256, ConsensusKey;
}

impl<'a> Draft<'a> {
    pub(super) fn new(base: &'a State, head: Head) -> Self {
        Self {
            base,
            head,
            done: Changes::new(),
            now: Changes::new(),
        }
    }

    pub(super) fn params(&self) -> &'a Params {
        &self.base.genesis.params
    }

    pub(super) fn base(&self) -> &'a State {
        self.base
    }

    /// Runs one transaction; of one that is refused nothing stays.
    pub(super) fn whole(&mut self, run: impl FnOnce(&mut Self) -> Result<(), Reject>) -> Result<(), Reject> {
        let head = self.head;
        let outcome = run(self);
        match &outcome {
            // Not `append`: it builds the whole map anew.
            Ok(()) => self.done.extend(std::mem::take(&mut self.now)),
            Err(_) => {
                self.now.clear();
                self.head = head;
            }
        }
        outcome
    }

    /// Writes for the block itself, before its first transaction.
    pub(super) fn begins_with(&mut self, key: Key, value: Option<Value>) {
        self.done.insert(key, value);
    }

    /// All that was written.
    pub(super) fn into_changes(self) -> Changes {
        self.done
    }

    fn get(&self, key: &Key) -> Option<&Value> {
        if let Some(value) = self.now.get(key).or_else(|| self.done.get(key)) {
            return value.as_ref();
        }
        self.base.entries.get(key)
    }

    pub(super) fn remove(&mut self, key: Key) {
        self.now.insert(key, None);
    }

    pub(super) fn account(&self, address: &Address) -> Account {
        match self.get(&Key::Account(*address)) {
            Some(Value::Account(account)) => *account,
            _ => Account::default(),
        }
    }

    pub(super) fn put_account(&mut self, address: &Address, account: Account) {
        self.now.insert(Key::Account(*address), Some(Value::Account(account)));
    }

    pub(super) fn debit(&mut self, address: &Address, amount: u128) -> Result<(), Reject> {
        let mut account = self.account(address);
        account.balance = less("balance", account.balance, amount)?;
        self.put_account(address, account);
        Ok(())
    }

    /// Nothing is written for nothing: an account begins with its first base unit.
    pub(super) fn credit(&mut self, address: &Address, amount: u128) -> Result<(), Reject> {
        if amount == 0 {
            return Ok(());
        }
        let mut account = self.account(address);
        account.balance = sum("balance", account.balance, amount)?;
        self.put_account(address, account);
        Ok(())
    }

    /// A customer's fee, already taken from where it was: a part goes back to the pool, the rest to the miner. Returns that part.
    pub(super) fn share(&mut self, fee: u128, miner: &Address) -> Result<u128, Reject> {
        let burned = portion(fee, self.params().burn_bp)?;
        self.head.pool = sum("pool", self.head.pool, burned)?;
        self.head.burned = sum("burned", self.head.burned, burned)?;
        self.credit(miner, less("fee", fee, burned)?)?;
        Ok(burned)
    }

    /// Moves a reward from the pool to a miner, within the caps of the epoch.
    pub(super) fn reward(&mut self, kind: RewardKind, miner: &Address, wanted: u128) -> Result<(), Reject> {
        if wanted == 0 {
            return Err(Reject::Nothing { kind });
        }
        let paid = kind.of(&self.head.paid);
        let left = kind.of(&self.params().epoch_cap).saturating_sub(paid);
        if wanted > left {
            return Err(Reject::EpochCap { kind, wanted, left });
        }
        let epoch = self.head.beacon.epoch;
        let mut account = self.miner(miner).unwrap_or_default();
        if account.epoch != epoch {
            (account.epoch, account.paid) = (epoch, 0);
        }
        let left = self.params().miner_cap.saturating_sub(account.paid);
        if wanted > left {
            return Err(Reject::MinerCap { wanted, left });
        }
        account.paid = sum("paid", account.paid, wanted)?;
        self.put_miner(miner, account);
        if let Some(of_kind) = self.head.paid.get_mut(kind as usize) {
            *of_kind = sum("paid", paid, wanted)?;
        }
        self.head.pool = less("pool", self.head.pool, wanted)?;
        self.credit(miner, wanted)
    }
}

pub(super) fn sum(what: &'static str, a: u128, b: u128) -> Result<u128, Reject> {
    a.checked_add(b).ok_or(Reject::Overflow { what })
}

pub(super) fn product(what: &'static str, a: u128, b: u128) -> Result<u128, Reject> {
    a.checked_mul(b).ok_or(Reject::Overflow { what })
}

pub(super) fn less(what: &'static str, have: u128, need: u128) -> Result<u128, Reject> {
    have.checked_sub(need).ok_or(Reject::Balance { what, need, have })
}

/// So many parts in ten thousand, rounded down.
pub(super) fn portion(amount: u128, bp: u32) -> Result<u128, Reject> {
    let parts = product("fee", amount, u128::from(bp))?;
    parts
        .checked_div(u128::from(WHOLE_BP))
        .ok_or(Reject::Overflow { what: "fee" })
}

pub(super) fn above_zero(what: &'static str, amount: u128) -> Result<(), Reject> {
    match amount {
        0 => Err(Reject::Zero { what }),
        _ => Ok(()),
    }
}
