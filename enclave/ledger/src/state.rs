//! The state: entries, their tree, and what was computed from them.

use std::collections::BTreeMap;
use std::sync::Arc;

use hanzo_attestation::keyset::Keyset;
use hanzo_attestation::{Digest256, Digest384};

use crate::codec::Canonical;
use crate::entry::{
    Account, Beacon, Committee, ConsensusKey, Head, Key, Lease, Member, Miner, Model, One, Stake, Standing, Validator,
    Value, Voucher,
};
use crate::genesis::{Genesis, GenesisError};
use crate::network::{Address, Network};
use crate::proof::Proof;
use crate::supply::Supply;
use crate::tree::{Path, Tree};
use crate::validator::{key_digest, size_of};
use crate::verify::parse_keyset;
use crate::{BlockReject, Reject};

/// All that a block changes. Sorted by key.
pub type Changes = BTreeMap<Key, Option<Value>>;

/// A chain's state after one block. A copy shares what it can.
#[derive(Clone)]
pub struct State {
    pub(crate) genesis: Arc<Genesis>,
    pub(crate) network: Network,
    pub(crate) entries: BTreeMap<Key, Value>,
    pub(crate) keysets: BTreeMap<Digest384, Arc<Keyset>>,
    pub(crate) tree: Tree,
    pub(crate) head: Head,
    /// Id of the newest block; of the genesis before the first. No entry: a block's id covers the root.
    pub(crate) tip: Digest256,
    pub(crate) supply: Supply,
}

/// What is written down does not make a state.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// The genesis.
    #[error(transparent)]
    Genesis(#[from] GenesisError),
    /// An entry under a key of another kind.
    #[error("state: an entry of another kind stands under {key:?}: the stored state was changed")]
    Kind {
        /// Where.
        key: Key,
    },
    /// A keyset that is none.
    #[error("state: boot {digest}: its keyset is another: the stored state was changed")]
    Boot {
        /// Which.
        digest: Digest384,
    },
    /// No head.
    #[error("state: it has no head: entries are missing")]
    Head,
    /// Another root.
    #[error("state: expected root {expected}, got {got}: entries were changed, lost or put back")]
    Root {
        /// Of the newest block.
        expected: Digest256,
        /// Of the entries.
        got: Digest256,
    },
    /// Another amount of money.
    #[error("state: supply: expected {expected} base units, got {got:?}")]
    Supply {
        /// The maximum supply.
        expected: u128,
        /// All there is.
        got: Option<u128>,
    },
}

impl State {
    /// The state that `genesis` starts.
    ///
    /// # Errors
    /// [`GenesisError`].
    pub fn new(genesis: Genesis) -> Result<Self, GenesisError> {
        genesis.check()?;
        let digest = genesis.digest();
        let start = |epoch| Beacon {
            epoch,
            digest,
            time_ms: genesis.time_ms,
        };
        let head = Head {
            height: 0,
            parent: digest,
            time_ms: genesis.time_ms,
            // Checked above.
            pool: genesis.pool().unwrap_or(0),
            treasury: genesis.treasury,
            beacon: start(0),
            before: start(0),
            paid: [0; 5],
            burned: 0,
            validators: u32::try_from(genesis.validators.len()).unwrap_or(u32::MAX),
        };
        let mut entries: BTreeMap<Key, Value> = genesis
            .allocations
            .iter()
            .map(|a| {
                let account = Account {
                    balance: a.amount,
                    nonce: 0,
                };
                (Key::Account(a.address), Value::Account(account))
            })
            .collect();
        entries.insert(Key::Head(One {}), Value::Head(head));
        entries.extend(first_validators(&genesis));
        Self::of(Arc::new(genesis), digest, entries).map_err(|e| match e {
            RestoreError::Genesis(e) => e,
            other => GenesisError::Value {
                field: "allocations",
                expected: "a state",
                got: other.to_string(),
            },
        })
    }

    /// The state whose entries were written down after block `tip`, with this root. Counts all the money.
    ///
    /// # Errors
    /// [`RestoreError`] if they are not what `root` is of.
    pub fn restore(
        genesis: Genesis,
        tip: Digest256,
        root: &Digest256,
        entries: BTreeMap<Key, Value>,
    ) -> Result<Self, RestoreError> {
        genesis.check()?;
        let state = Self::of(Arc::new(genesis), tip, entries)?;
        if state.root() != *root {
            return Err(RestoreError::Root {
                expected: *root,
                got: state.root(),
            });
        }
        Ok(state)
    }

    fn of(genesis: Arc<Genesis>, tip: Digest256, entries: BTreeMap<Key, Value>) -> Result<Self, RestoreError> {
        let mut keysets = BTreeMap::new();
        for (key, value) in &entries {
            if !value.fits(key) {
                return Err(RestoreError::Kind { key: *key });
            }
            if let (Key::Boot(digest), Value::Boot(boot)) = (key, value) {
                let parsed = parse_keyset(&boot.keyset)
                    .ok()
                    .filter(|_| Digest384::of(&boot.keyset) == *digest);
                let parsed = parsed.ok_or(RestoreError::Boot { digest: *digest })?;
                keysets.insert(*digest, Arc::new(parsed));
            }
        }
        let Some(Value::Head(head)) = entries.get(&Key::Head(One {})) else {
            return Err(RestoreError::Head);
        };
        let head = *head;
        let mut leaves: Vec<(Path, Option<Digest256>)> = entries
            .iter()
            .map(|(key, value)| (key.path(), Some(digest_of(value))))
            .collect();
        leaves.sort();
        let supply = count(&entries);
        let expected = genesis.max_supply;
        let got = supply.and_then(|s| s.total());
        match supply {
            Some(supply) if got == Some(expected) => Ok(Self {
                network: genesis.network(),
                genesis,
                entries,
                keysets,
                tree: Tree::default().with(&leaves),
                head,
                tip,
                supply,
            }),
            _ => Err(RestoreError::Supply { expected, got }),
        }
    }

    /// Merkle root over all entries.
    pub fn root(&self) -> Digest256 {
        self.tree.root()
    }

    /// The chain as a whole.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Id of the newest block; digest of the genesis before the first.
    pub fn tip(&self) -> Digest256 {
        self.tip
    }

    /// Where all the money is.
    pub fn supply(&self) -> Supply {
        self.supply
    }

    /// Counts all the money again, entry by entry; `None` on overflow.
    pub fn recount(&self) -> Option<Supply> {
        count(&self.entries)
    }

    /// Which chain.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// What it started from.
    pub fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// Every entry, by key.
    pub fn entries(&self) -> &BTreeMap<Key, Value> {
        &self.entries
    }

    /// What an account has.
    pub fn account(&self, address: &Address) -> Account {
        match self.entries.get(&Key::Account(*address)) {
            Some(Value::Account(account)) => *account,
            _ => Account::default(),
        }
    }

    /// What a validator has at stake.
    pub fn stake(&self, address: &Address) -> Stake {
        match self.entries.get(&Key::Stake(*address)) {
            Some(Value::Stake(stake)) => *stake,
            _ => Stake::default(),
        }
    }

    /// What a validator is; `None` if it never registered.
    pub fn validator(&self, account: &Address) -> Option<&Validator> {
        match self.entries.get(&Key::Validator(*account)) {
            Some(Value::Validator(validator)) => Some(validator),
            _ => None,
        }
    }

    /// The consensus key of this digest.
    pub fn consensus_key(&self, digest: &Digest256) -> Option<&ConsensusKey> {
        match self.entries.get(&Key::ConsensusKey(*digest)) {
            Some(Value::ConsensusKey(key)) => Some(key),
            _ => None,
        }
    }

    /// Who votes in `epoch`; `None` unless it is this block's or the next.
    pub fn committee(&self, epoch: u64) -> Option<&Committee> {
        match self.entries.get(&Key::Committee(epoch)) {
            Some(Value::Committee(committee)) => Some(committee),
            _ => None,
        }
    }

    /// Who would vote if a committee were fixed now: of the active validators those with the greatest stakes, of two equal ones the one
    /// with the lower account, as many as the largest admitted number of at most `committee_max`.
    pub fn next_committee(&self) -> Committee {
        let params = &self.genesis.params;
        let first = Key::Validator(Address([0; 32]));
        let mut all: Vec<(std::cmp::Reverse<u128>, Member)> = Vec::new();
        for (key, value) in self.entries.range(first..) {
            let (Key::Validator(account), Value::Validator(validator)) = (key, value) else {
                break;
            };
            let bonded = self.stake(account).bonded;
            if validator.standing == Standing::Active && bonded >= params.stake_min {
                let member = Member {
                    validator: *account,
                    incarnation: validator.incarnation,
                    key: validator.key,
                };
                all.push((std::cmp::Reverse(bonded), member));
            }
        }
        all.sort_by_key(|(bonded, member)| (*bonded, member.validator));
        all.truncate(size_of(all.len().min(usize::from(params.committee_max))));
        let mut members: Vec<Member> = all.into_iter().map(|(_, member)| member).collect();
        members.sort_by_key(|member| member.validator);
        Committee {
            members: crate::codec::List::new(members).unwrap_or_default(),
        }
    }

    /// What a miner was paid.
    pub fn miner(&self, address: &Address) -> Miner {
        match self.entries.get(&Key::Miner(*address)) {
            Some(Value::Miner(miner)) => *miner,
            _ => Miner::default(),
        }
    }

    /// A voucher.
    ///
    /// # Errors
    /// [`Reject::Unknown`].
    pub fn voucher(&self, id: &Digest256) -> Result<Voucher, Reject> {
        match self.entries.get(&Key::Voucher(*id)) {
            Some(Value::Voucher(voucher)) => Ok(*voucher),
            _ => Err(Reject::Unknown { what: "voucher" }),
        }
    }

    /// A lease.
    ///
    /// # Errors
    /// [`Reject::Unknown`].
    pub fn lease(&self, id: &Digest256) -> Result<Lease, Reject> {
        match self.entries.get(&Key::Lease(*id)) {
            Some(Value::Lease(lease)) => Ok(*lease),
            _ => Err(Reject::Unknown { what: "lease" }),
        }
    }

    /// A model, by weights root.
    ///
    /// # Errors
    /// [`Reject::Unknown`].
    pub fn model(&self, root: &Digest256) -> Result<Model, Reject> {
        match self.entries.get(&Key::Model(*root)) {
            Some(Value::Model(model)) => Ok(*model),
            _ => Err(Reject::Unknown { what: "model" }),
        }
    }

    /// The keyset of a registered boot.
    ///
    /// # Errors
    /// [`Reject::Unknown`].
    pub fn keyset(&self, digest: &Digest384) -> Result<&Keyset, Reject> {
        let keyset = self.keysets.get(digest).map(Arc::as_ref);
        keyset.ok_or(Reject::Unknown { what: "boot" })
    }

    /// The beacon of this epoch or the one before.
    ///
    /// # Errors
    /// [`Reject::Epoch`].
    pub fn beacon(&self, epoch: u64) -> Result<Digest256, Reject> {
        let known = [self.head.beacon, self.head.before]
            .into_iter()
            .find(|b| b.epoch == epoch);
        known.map(|b| b.digest).ok_or(Reject::Epoch {
            expected: self.head.before.epoch,
            got: epoch,
        })
    }

    /// What stands under `key`, or that nothing does, provable to whoever knows the root.
    pub fn prove(&self, key: &Key) -> Proof {
        Proof {
            value: self.entries.get(key).cloned(),
            tree: self.tree.prove(&key.path()),
        }
    }

    /// The tree after `changes`, and where the money is then.
    pub(crate) fn outcome(&self, changes: &Changes) -> Result<(Tree, Supply), BlockReject> {
        let mut leaves: Vec<(Path, Option<Digest256>)> = changes
            .iter()
            .map(|(key, value)| (key.path(), value.as_ref().map(digest_of)))
            .collect();
        leaves.sort();
        let overflow = BlockReject::Overflow { what: "supply" };
        let (mut gone, mut come) = (Supply::default(), Supply::default());
        for (key, value) in changes {
            let add = |sum: &Supply, value: Option<&Value>| match value {
                Some(value) => Supply::of(value).and_then(|s| sum.plus(&s)),
                None => Some(*sum),
            };
            let both = add(&gone, self.entries.get(key)).zip(add(&come, value.as_ref()));
            let Some(both) = both else { return Err(overflow) };
            (gone, come) = both;
        }
        let supply = self.supply.plus(&come).and_then(|s| s.minus(&gone));
        match supply {
            Some(supply) => Ok((self.tree.with(&leaves), supply)),
            None => Err(overflow),
        }
    }
}

/// Digest of a value, as the tree holds it.
pub(crate) fn digest_of(value: &Value) -> Digest256 {
    Digest256::of(&value.to_bytes())
}

/// The first validators, with their keys and stakes; they are the committee of the epochs 0 and 1.
fn first_validators(genesis: &Genesis) -> BTreeMap<Key, Value> {
    let (mut entries, mut members) = (BTreeMap::new(), Vec::new());
    for first in genesis.validators.iter() {
        let (owner, key) = (first.owner, key_digest(&first.key));
        let validator = Validator {
            standing: Standing::Active,
            incarnation: 1,
            key,
        };
        let registered = ConsensusKey {
            validator: owner,
            incarnation: 1,
            from_epoch: 0,
            until_epoch: u64::MAX,
            slashed: false,
            public: first.key.clone(),
        };
        members.push(Member {
            validator: owner,
            incarnation: 1,
            key,
        });
        entries.insert(Key::Validator(owner), Value::Validator(validator));
        entries.insert(Key::ConsensusKey(key), Value::ConsensusKey(registered));
        if first.stake > 0 {
            let stake = Stake {
                bonded: first.stake,
                ..Stake::default()
            };
            entries.insert(Key::Stake(owner), Value::Stake(stake));
        }
    }
    let members = crate::codec::List::new(members).unwrap_or_default();
    let committee = Committee { members };
    for epoch in [0, 1] {
        entries.insert(Key::Committee(epoch), Value::Committee(committee.clone()));
    }
    entries
}

fn count(entries: &BTreeMap<Key, Value>) -> Option<Supply> {
    let mut sum = Supply::default();
    for value in entries.values() {
        sum = sum.plus(&Supply::of(value)?)?;
    }
    Some(sum)
}
