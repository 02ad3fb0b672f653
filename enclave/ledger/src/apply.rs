//! The transition: a pure function of a state and a verified block. Clock, files and chance play no part.

mod claims;
mod draft;
mod validators;

use hanzo_attestation::Digest256;

use crate::block::{Header, VerifiedBlock, tx_root};
use crate::entry::{Beacon, Boot, Head, Key, Lease, Model, One, Value, Voucher};
use crate::network::Address;
use crate::state::{Changes, State};
use crate::supply::Supply;
use crate::tree::Tree;
use crate::tx::{Action, Close, OpenLease, OpenVoucher, RegisterBoot, RegisterModel, Transfer, Tx};
use crate::verify::{Proven, VerifiedTx, parse_keyset, same_network};
use crate::{BLOCK_TXS_MAX, BlockReject, Reject};
pub use claims::InferencePay;
use claims::{claim, close};
use draft::{Draft, above_zero, less, product, sum};

/// Most bytes under one leaf of a weights root (`enclave/pack/SPEC.md`). Whoever declares more leaves than there are fails challenges in
/// proportion.
const CHUNK_BYTES: u128 = 1 << 20;
/// Most leaves that a path of a claim reaches.
const LEAVES_MAX: u64 = 1 << 31;

/// What a block leads to. [`State::commit`] takes it over; dropping it undoes everything.
pub struct Applied {
    parent: Digest256,
    id: Digest256,
    head: Head,
    changes: Changes,
    tree: Tree,
    supply: Supply,
}

impl Applied {
    /// Root of the state after the block.
    pub fn root(&self) -> Digest256 {
        self.tree.root()
    }

    /// Id of the block.
    pub fn id(&self) -> Digest256 {
        self.id
    }

    /// All entries that change, by key; `None`: taken out.
    pub fn changes(&self) -> &Changes {
        &self.changes
    }

    /// Where the money is after the block.
    pub fn supply(&self) -> Supply {
        self.supply
    }
}

/// A block that was just made, and those candidates that have no place in it.
pub struct Proposal {
    /// The block.
    pub block: VerifiedBlock,
    /// What it leads to.
    pub applied: Applied,
    /// Refused, with the reason.
    pub rejected: Vec<(VerifiedTx, Reject)>,
}

impl State {
    /// What `block` leads to from here; this state stays as it is.
    ///
    /// # Establishes
    /// Every transaction applies in its order, the header names the root of the outcome, and the money there is is the maximum
    /// supply. At the first block of an epoch all money is counted again.
    ///
    /// # Errors
    /// [`BlockReject`]: the block is not applied, nor any part of it.
    pub fn apply(&self, block: &VerifiedBlock) -> Result<Applied, BlockReject> {
        let header = block.header();
        if header.network != self.network {
            return Err(BlockReject::Network {
                expected: self.network,
                got: header.network,
            });
        }
        let mut draft = self.begin(header.height, &header.parent, header.time_ms)?;
        for (at, tx) in block.txs().iter().enumerate() {
            run(&mut draft, tx).map_err(|cause| BlockReject::Tx { at, cause })?;
        }
        let applied = self.finish(draft, header.id())?;
        if applied.root() != header.state_root {
            return Err(BlockReject::StateRoot {
                expected: applied.root(),
                got: header.state_root,
            });
        }
        Ok(applied)
    }

    /// Makes the next block out of `candidates`, in their order. Those that do not apply are left out.
    ///
    /// # Errors
    /// [`BlockReject`] if there can be no block at this time.
    pub fn propose(
        &self,
        proposer: Address,
        time_ms: u64,
        candidates: impl IntoIterator<Item = VerifiedTx>,
    ) -> Result<Proposal, BlockReject> {
        let overflow = BlockReject::Overflow { what: "height" };
        let height = self.head.height.checked_add(1).ok_or(overflow)?;
        let mut draft = self.begin(height, &self.tip, time_ms)?;
        let (mut txs, mut rejected) = (Vec::new(), Vec::new());
        for tx in candidates.into_iter().take(BLOCK_TXS_MAX) {
            match run(&mut draft, &tx) {
                Ok(()) => txs.push(tx),
                Err(why) => rejected.push((tx, why)),
            }
        }
        let mut applied = self.finish(draft, self.tip)?;
        let header = Header {
            network: self.network,
            height,
            parent: self.tip,
            time_ms,
            proposer,
            tx_root: tx_root(txs.iter().map(VerifiedTx::signed)),
            state_root: applied.root(),
        };
        applied.id = header.id();
        Ok(Proposal {
            block: VerifiedBlock::new(header, txs)?,
            applied,
            rejected,
        })
    }

    /// Goes on to the outcome of a block.
    ///
    /// # Errors
    /// [`BlockReject::Parent`] if it was computed from another state; this one stays.
    pub fn commit(&mut self, applied: Applied) -> Result<(), BlockReject> {
        if applied.parent != self.tip {
            return Err(BlockReject::Parent {
                expected: self.tip,
                got: applied.parent,
            });
        }
        for (key, value) in applied.changes {
            if let (Key::Boot(digest), Some(Value::Boot(boot))) = (&key, &value)
                && let Ok(keyset) = parse_keyset(&boot.keyset)
            {
                self.keysets.insert(*digest, std::sync::Arc::new(keyset));
            }
            match value {
                Some(value) => self.entries.insert(key, value),
                None => self.entries.remove(&key),
            };
        }
        (self.head, self.tip) = (applied.head, applied.id);
        (self.tree, self.supply) = (applied.tree, applied.supply);
        Ok(())
    }

    fn begin(&self, height: u64, parent: &Digest256, time_ms: u64) -> Result<Draft<'_>, BlockReject> {
        let params = &self.genesis.params;
        let overflow = |what| BlockReject::Overflow { what };
        let expected = self.head.height.checked_add(1).ok_or(overflow("height"))?;
        if height != expected {
            return Err(BlockReject::Height { expected, got: height });
        }
        if *parent != self.tip {
            return Err(BlockReject::Parent {
                expected: self.tip,
                got: *parent,
            });
        }
        let least = self
            .head
            .time_ms
            .checked_add(params.block_interval_ms)
            .ok_or(overflow("time_ms"))?;
        if time_ms < least {
            return Err(BlockReject::Interval { least, got: time_ms });
        }
        let mut head = Head {
            height,
            parent: *parent,
            time_ms,
            ..self.head
        };
        let epoch = params.epoch_of(height);
        let turned = epoch != head.beacon.epoch;
        if turned {
            head.before = head.beacon;
            head.beacon = Beacon {
                epoch,
                digest: *parent,
                time_ms,
            };
            head.paid = [0; 5];
            if self.recount() != Some(self.supply) {
                return Err(BlockReject::Supply {
                    expected: self.genesis.max_supply,
                    got: self.recount().and_then(|s| s.total()).unwrap_or(0),
                });
            }
        }
        let mut draft = Draft::new(self, head);
        if turned {
            // Fixed a whole epoch before it votes, out of what stood when the last one ended.
            let next = epoch.checked_add(1).ok_or(overflow("epoch"))?;
            draft.begins_with(Key::Committee(next), Some(Value::Committee(self.next_committee())));
            draft.begins_with(Key::Committee(epoch.saturating_sub(1)), None);
        }
        Ok(draft)
    }

    fn finish(&self, draft: Draft<'_>, id: Digest256) -> Result<Applied, BlockReject> {
        let head = draft.head;
        let mut changes = draft.into_changes();
        changes.insert(Key::Head(One {}), Some(Value::Head(head)));
        let (tree, supply) = self.outcome(&changes)?;
        let (expected, got) = (self.genesis.max_supply, supply.total());
        if got != Some(expected) {
            return Err(BlockReject::Supply {
                expected,
                got: got.unwrap_or(u128::MAX),
            });
        }
        Ok(Applied {
            parent: self.tip,
            id,
            head,
            changes,
            tree,
            supply,
        })
    }
}

fn run(draft: &mut Draft<'_>, verified: &VerifiedTx) -> Result<(), Reject> {
    draft.whole(|draft| {
        let (tx, sender) = (verified.tx(), verified.sender());
        same_network(&draft.base().network, &tx.network)?;
        live("transaction", tx.expires, draft.head.height)?;
        let mut account = draft.account(&sender);
        if tx.nonce != account.nonce {
            return Err(Reject::Nonce {
                expected: account.nonce,
                got: tx.nonce,
            });
        }
        let free = tx.action.free();
        let min = if free { 0 } else { draft.params().fee_min };
        if tx.fee < min {
            return Err(Reject::Fee { min, got: tx.fee });
        }
        account.nonce = account.nonce.checked_add(1).ok_or(Reject::Overflow { what: "nonce" })?;
        account.balance = less("balance", account.balance, tx.fee)?;
        draft.put_account(&sender, account);
        draft.head.treasury = sum("treasury", draft.head.treasury, tx.fee)?;
        act(draft, tx, &sender, verified.proven())
    })
}

fn live(what: &'static str, expires: u64, height: u64) -> Result<(), Reject> {
    if height > expires {
        return Err(Reject::Expired { what, expires, height });
    }
    Ok(())
}

fn act(draft: &mut Draft<'_>, tx: &Tx, sender: &Address, proven: &Proven) -> Result<(), Reject> {
    match &tx.action {
        Action::Transfer(Transfer { to, amount }) => {
            above_zero("amount", *amount)?;
            draft.debit(sender, *amount)?;
            draft.credit(to, *amount)
        }
        Action::OpenVoucher(open) => open_voucher(draft, tx, sender, open),
        Action::CloseVoucher(Close { id }) => {
            let voucher = draft.voucher(id).ok_or(Reject::Unknown { what: "voucher" })?;
            may_close(
                draft,
                "voucher",
                sender,
                (&voucher.customer, &voucher.miner),
                voucher.expires,
            )?;
            close(draft, Key::Voucher(*id), &voucher.customer, voucher.locked)
        }
        Action::RegisterBoot(register) => register_boot(draft, sender, register, proven),
        Action::RegisterModel(register) => register_model(draft, sender, register),
        Action::RetireModel(Close { id }) => {
            let model = draft.model(id).ok_or(Reject::Unknown { what: "model" })?;
            if model.owner != *sender {
                return Err(Reject::NotYours { what: "model" });
            }
            close(draft, Key::Model(*id), sender, model.deposit)
        }
        Action::OpenLease(open) => open_lease(draft, tx, sender, open),
        Action::CloseLease(Close { id }) => {
            let lease = draft.lease(id).ok_or(Reject::Unknown { what: "lease" })?;
            may_close(draft, "lease", sender, (&lease.lessee, &lease.miner), lease.expires)?;
            close(draft, Key::Lease(*id), &lease.lessee, lease.locked)
        }
        Action::Bond(bond) => {
            above_zero("amount", bond.amount)?;
            draft.debit(sender, bond.amount)?;
            let mut stake = draft.stake(sender).unwrap_or_default();
            stake.bonded = sum("stake", stake.bonded, bond.amount)?;
            draft.put_stake(sender, stake);
            Ok(())
        }
        Action::Unbond(unbond) => {
            above_zero("amount", unbond.amount)?;
            validators::unbond(draft, sender, unbond.amount)
        }
        Action::Withdraw(_) => {
            let mut stake = draft.stake(sender).ok_or(Reject::Unknown { what: "stake" })?;
            above_zero("releasing", stake.releasing)?;
            let epoch = draft.head.beacon.epoch;
            if epoch < stake.release_epoch {
                return Err(Reject::Epoch {
                    expected: stake.release_epoch,
                    got: epoch,
                });
            }
            let amount = std::mem::take(&mut stake.releasing);
            match stake.bonded {
                0 => draft.remove(Key::Stake(*sender)),
                _ => draft.put_stake(sender, stake),
            }
            draft.credit(sender, amount)
        }
        Action::Claim(wanted) => claim(draft, sender, wanted, proven),
        Action::RegisterValidator(register) => validators::register(draft, sender, register),
        Action::RotateConsensusKey(rotate) => validators::rotate(draft, rotate),
        Action::LeaveValidators(_) => validators::leave(draft, sender),
        Action::ReportConflict(report) => validators::slash(draft, sender, report),
    }
}

/// Whoever is paid out of it may close it at any time, whoever paid once it expired.
fn may_close(
    draft: &Draft<'_>,
    what: &'static str,
    sender: &Address,
    (payer, miner): (&Address, &Address),
    expires: u64,
) -> Result<(), Reject> {
    let height = draft.head.height;
    match (sender == miner, sender == payer) {
        (true, _) => Ok(()),
        (false, false) => Err(Reject::NotYours { what }),
        (false, true) if height <= expires => Err(Reject::Open { what, expires, height }),
        (false, true) => Ok(()),
    }
}

fn open_voucher(draft: &mut Draft<'_>, tx: &Tx, sender: &Address, open: &OpenVoucher) -> Result<(), Reject> {
    above_zero("amount", open.amount)?;
    live("voucher", open.expires, draft.head.height)?;
    draft.debit(sender, open.amount)?;
    let voucher = Voucher {
        customer: *sender,
        miner: open.miner,
        locked: open.amount,
        spent: 0,
        expires: open.expires,
    };
    draft.put_voucher(&Tx::id_of(sender, tx.nonce), voucher);
    Ok(())
}

fn open_lease(draft: &mut Draft<'_>, tx: &Tx, sender: &Address, open: &OpenLease) -> Result<(), Reject> {
    above_zero("gpus", u128::from(open.gpus))?;
    above_zero("price", open.price)?;
    above_zero("seconds", u128::from(open.seconds))?;
    live("lease", open.expires, draft.head.height)?;
    let boot = draft.boot(&open.keyset).ok_or(Reject::Unknown { what: "boot" })?;
    let units = product("GPU-seconds", u128::from(open.gpus), u128::from(open.seconds))?;
    let locked = product("price", units, open.price)?;
    draft.debit(sender, locked)?;
    let lease = Lease {
        lessee: *sender,
        miner: boot.miner,
        keyset: open.keyset,
        gpus: open.gpus,
        price: open.price,
        locked,
        seconds: 0,
        next_epoch: draft.head.beacon.epoch,
        expires: open.expires,
    };
    draft.put_lease(&Tx::id_of(sender, tx.nonce), lease);
    Ok(())
}

fn register_boot(
    draft: &mut Draft<'_>,
    sender: &Address,
    register: &RegisterBoot,
    proven: &Proven,
) -> Result<(), Reject> {
    let Proven::Boot(keyset, digest) = proven else {
        return Err(Reject::Stale { what: "boot" });
    };
    if keyset.simulated && !draft.params().simulated_earns {
        return Err(Reject::Simulated { what: "boot" });
    }
    if draft.boot(digest).is_some() {
        return Err(Reject::Exists { what: "boot" });
    }
    let mut miner = draft.miner(sender).unwrap_or_default();
    if register.incarnation <= miner.incarnation {
        return Err(Reject::Incarnation {
            last: miner.incarnation,
            got: register.incarnation,
        });
    }
    miner.incarnation = register.incarnation;
    draft.put_miner(sender, miner);
    let boot = Boot {
        miner: *sender,
        incarnation: register.incarnation,
        height: draft.head.height,
        keyset: register.keyset.clone(),
    };
    draft.put_boot(digest, boot);
    Ok(())
}

fn register_model(draft: &mut Draft<'_>, sender: &Address, register: &RegisterModel) -> Result<(), Reject> {
    above_zero("bytes", u128::from(register.bytes))?;
    above_zero("leaves", u128::from(register.leaves))?;
    let room = product("leaves", u128::from(register.leaves), CHUNK_BYTES)?;
    less("room of the leaves", room, u128::from(register.bytes))?;
    if register.leaves > LEAVES_MAX {
        return Err(Reject::Overflow { what: "leaves" });
    }
    if draft.model(&register.root).is_some() {
        return Err(Reject::Exists { what: "model" });
    }
    let deposit = draft.params().model_deposit;
    draft.debit(sender, deposit)?;
    let model = Model {
        owner: *sender,
        licence: register.licence,
        bytes: register.bytes,
        leaves: register.leaves,
        deposit,
        burned: 0,
        rewarded: false,
    };
    draft.put_model(&register.root, model);
    Ok(())
}
