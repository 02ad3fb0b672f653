//! Where all the money is.

use crate::entry::Value;

/// Base units, by where they are. Their sum is the maximum supply, at every block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Supply {
    /// What rewards are paid from.
    pub pool: u128,
    /// What transactions' fees went to.
    pub treasury: u128,
    /// In accounts.
    pub accounts: u128,
    /// In vouchers and leases.
    pub escrows: u128,
    /// In stakes and deposits of models.
    pub deposits: u128,
}

impl Supply {
    /// What is in one value.
    pub(crate) fn of(value: &Value) -> Option<Self> {
        let none = Self::default();
        Some(match value {
            Value::Head(head) => Self {
                pool: head.pool,
                treasury: head.treasury,
                ..none
            },
            Value::Account(account) => Self {
                accounts: account.balance,
                ..none
            },
            Value::Voucher(voucher) => Self {
                escrows: voucher.locked,
                ..none
            },
            Value::Lease(lease) => Self {
                escrows: lease.locked,
                ..none
            },
            Value::Stake(stake) => Self {
                deposits: stake.bonded.checked_add(stake.releasing)?,
                ..none
            },
            Value::Model(model) => Self {
                deposits: model.deposit,
                ..none
            },
            Value::Miner(_) | Value::Boot(_) | Value::Receipts(_) | Value::Deliveries(_) | Value::Hosting(_) => none,
            // What they have at stake stands in their stakes.
            Value::Validator(_) | Value::ConsensusKey(_) | Value::Committee(_) => none,
        })
    }

    /// Place by place; `None` on overflow, or below 0.
    fn each(&self, other: &Self, op: fn(u128, u128) -> Option<u128>) -> Option<Self> {
        Some(Self {
            pool: op(self.pool, other.pool)?,
            treasury: op(self.treasury, other.treasury)?,
            accounts: op(self.accounts, other.accounts)?,
            escrows: op(self.escrows, other.escrows)?,
            deposits: op(self.deposits, other.deposits)?,
        })
    }

    pub(crate) fn plus(&self, other: &Self) -> Option<Self> {
        self.each(other, u128::checked_add)
    }

    pub(crate) fn minus(&self, other: &Self) -> Option<Self> {
        self.each(other, u128::checked_sub)
    }

    /// All of it; `None` on overflow.
    pub fn total(&self) -> Option<u128> {
        [self.treasury, self.accounts, self.escrows, self.deposits]
            .into_iter()
            .try_fold(self.pool, u128::checked_add)
    }
}
