//! Rewards: what each kind of work is paid, and against what.

use hanzo_attestation::{Digest256, Digest384};
use hanzo_verifier::receipt::{Receipt, SignedReceipt, VerifiedReceipt};

use super::draft::{Draft, above_zero, less, portion, product, sum};
use crate::Reject;
use crate::claim::{Claim, ComputeClaim, DataClaim, HostingClaim, InferenceClaim, Payment, RegistrationClaim};
use crate::entry::{Boot, Key, Pair, Resident};
use crate::genesis::{Params, RewardKind};
use crate::network::Address;
use crate::verify::{Proven, counted};

/// Clocks of guests may be so far ahead of blocks.
const AHEAD_S: u64 = 60;
/// Bytes times seconds that `rate` for hosting is of: 1 GiB for an hour.
const GIB_HOUR: u128 = (1 << 30) * 3600;

pub(super) fn claim(draft: &mut Draft<'_>, sender: &Address, claim: &Claim, proven: &Proven) -> Result<(), Reject> {
    match (claim, proven) {
        (Claim::Inference(claim), Proven::Answer(receipt, customer)) => {
            inference(draft, sender, claim, receipt, customer)
        }
        (Claim::Compute(claim), Proven::Lease(lessee, keyset, beacon)) => {
            compute(draft, sender, claim, lessee, keyset, beacon)
        }
        (Claim::Hosting(claim), Proven::Resident(beacon, leaves)) => hosting(draft, sender, claim, beacon, *leaves),
        (Claim::Registration(claim), Proven::Nothing) => registration(draft, sender, claim),
        (Claim::Data(claim), Proven::Delivery(recipient)) => data(draft, sender, claim, recipient),
        _ => Err(Reject::Stale { what: "claim" }),
    }
}

/// A boot of `miner` that earns on this network.
fn earning(draft: &Draft<'_>, miner: &Address, digest: &Digest384) -> Result<Boot, Reject> {
    let boot = draft.boot(digest).ok_or(Reject::Unknown { what: "boot" })?;
    if boot.miner != *miner {
        return Err(Reject::NotYours { what: "boot" });
    }
    let keyset = draft.base().keyset(digest)?;
    let params = draft.params();
    if keyset.simulated && !params.simulated_earns {
        return Err(Reject::Simulated { what: "boot" });
    }
    if keyset.tier < params.tier_min {
        return Err(Reject::Tier {
            min: params.tier_min,
            got: keyset.tier,
        });
    }
    Ok(boot)
}

/// What an answer earns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InferencePay {
    /// What the customer pays, base units.
    pub fee: u128,
    /// What of it goes back to the pool; the miner has the rest.
    pub burned: u128,
    /// What the miner gets from the pool.
    pub reward: u128,
}

impl Params {
    /// What the answer of `claim` earns by these rules.
    ///
    /// # Does not establish
    /// That it was paid: that is for [`State::apply`](crate::State::apply).
    ///
    /// # Errors
    /// [`Reject::Receipt`] for a receipt that is none, [`Reject::Counted`], [`Reject::Overflow`].
    pub fn inference_pay(&self, claim: &InferenceClaim) -> Result<InferencePay, Reject> {
        let signed = SignedReceipt::from_bytes(&claim.receipt).map_err(|e| Reject::Receipt(e.into()))?;
        counted(&signed.receipt)?;
        let (fee, burned) = (claim.fee, portion(claim.fee, self.burn_bp)?);
        let reward = worth(self, RewardKind::InferenceServing, tokens(&signed.receipt)?, burned)?;
        Ok(InferencePay { fee, burned, reward })
    }
}

fn tokens(receipt: &Receipt) -> Result<u128, Reject> {
    sum(
        "tokens",
        u128::from(receipt.prompt_tokens),
        u128::from(receipt.completion_tokens),
    )
}

/// The reward for work that somebody paid for: at most its share of what the fee gave back to the pool.
fn worth(params: &Params, kind: RewardKind, units: u128, burned: u128) -> Result<u128, Reject> {
    let full = product("reward", units, kind.of(&params.rate))?;
    Ok(full.min(portion(burned, kind.of(&params.factor_bp))?))
}

fn inference(
    draft: &mut Draft<'_>,
    miner: &Address,
    claim: &InferenceClaim,
    receipt: &VerifiedReceipt,
    customer: &Address,
) -> Result<(), Reject> {
    let receipt = receipt.receipt();
    earning(draft, miner, &receipt.keyset_digest)?;
    let now = draft.head.time_ms / 1000;
    let (earliest, latest) = (
        now.saturating_sub(draft.params().claim_age_s),
        now.saturating_add(AHEAD_S),
    );
    if !(earliest..=latest).contains(&receipt.time) {
        return Err(Reject::Age {
            time: receipt.time,
            earliest,
            latest,
        });
    }
    let window = draft.receipts(&receipt.keyset_digest).unwrap_or_default();
    draft.put_receipts(&receipt.keyset_digest, window.with(receipt.seq)?);
    above_zero("fee of the customer", claim.fee)?;
    match &claim.payment {
        Payment::CoSigned(_) => draft.debit(customer, claim.fee)?,
        Payment::Prepaid(note) => {
            let mut voucher = draft
                .voucher(&note.voucher)
                .ok_or(Reject::Unknown { what: "voucher" })?;
            if voucher.miner != *miner || voucher.customer != *customer {
                return Err(Reject::NotYours { what: "voucher" });
            }
            if draft.head.height > voucher.expires {
                return Err(Reject::Expired {
                    what: "voucher",
                    expires: voucher.expires,
                    height: draft.head.height,
                });
            }
            voucher.spent = sum("voucher", voucher.spent, claim.fee)?;
            if voucher.spent > note.cumulative {
                return Err(Reject::Balance {
                    what: "voucher note",
                    need: voucher.spent,
                    have: note.cumulative,
                });
            }
            voucher.locked = less("voucher", voucher.locked, claim.fee)?;
            draft.put_voucher(&note.voucher, voucher);
        }
    }
    let burned = draft.share(claim.fee, miner)?;
    if let Some(mut model) = draft.model(&receipt.weights_root) {
        model.burned = sum("burned", model.burned, burned)?;
        draft.put_model(&receipt.weights_root, model);
    }
    let kind = RewardKind::InferenceServing;
    let wanted = worth(draft.params(), kind, tokens(receipt)?, burned)?;
    draft.reward(kind, miner, wanted)
}

/// The epoch that this block may claim: the one that ended last. Its seconds.
fn finished(draft: &Draft<'_>, epoch: u64, next: u64, beacon: &Digest256) -> Result<u64, Reject> {
    let head = &draft.head;
    let is_last = head.before.epoch < head.beacon.epoch && epoch == head.before.epoch;
    if !is_last || epoch < next {
        return Err(Reject::Epoch {
            expected: head.before.epoch.max(next),
            got: epoch,
        });
    }
    if head.before.digest != *beacon {
        return Err(Reject::Stale { what: "beacon" });
    }
    Ok(head.beacon.time_ms.saturating_sub(head.before.time_ms) / 1000)
}

fn compute(
    draft: &mut Draft<'_>,
    miner: &Address,
    claim: &ComputeClaim,
    lessee: &Address,
    keyset: &Digest384,
    beacon: &Digest256,
) -> Result<(), Reject> {
    let mut lease = draft.lease(&claim.lease).ok_or(Reject::Unknown { what: "lease" })?;
    if lease.lessee != *lessee || lease.miner != *miner {
        return Err(Reject::NotYours { what: "lease" });
    }
    if lease.keyset != *keyset {
        return Err(Reject::Stale { what: "lease" });
    }
    earning(draft, miner, keyset)?;
    let height = draft.head.height;
    if height > lease.expires {
        return Err(Reject::Expired {
            what: "lease",
            expires: lease.expires,
            height,
        });
    }
    let length = finished(draft, claim.epoch, lease.next_epoch, beacon)?;
    let seconds = claim.seconds.checked_sub(lease.seconds).filter(|s| *s > 0);
    let seconds = seconds.ok_or(Reject::NotMore {
        what: "seconds of the lease",
        last: u128::from(lease.seconds),
        got: u128::from(claim.seconds),
    })?;
    less("seconds of the epoch", u128::from(length), u128::from(seconds))?;
    let units = product("GPU-seconds", u128::from(seconds), u128::from(lease.gpus))?;
    let fee = product("fee", units, lease.price)?;
    lease.locked = less("lease", lease.locked, fee)?;
    lease.seconds = claim.seconds;
    lease.next_epoch = claim.epoch.saturating_add(1);
    draft.put_lease(&claim.lease, lease);
    let burned = draft.share(fee, miner)?;
    let kind = RewardKind::ComputeProvision;
    let wanted = worth(draft.params(), kind, units, burned)?;
    draft.reward(kind, miner, wanted)
}

fn hosting(
    draft: &mut Draft<'_>,
    miner: &Address,
    claim: &HostingClaim,
    beacon: &Digest256,
    leaves: u64,
) -> Result<(), Reject> {
    let boot = earning(draft, miner, &claim.keyset)?;
    let model = draft.model(&claim.root).ok_or(Reject::Unknown { what: "model" })?;
    if model.leaves != leaves {
        return Err(Reject::Stale { what: "model" });
    }
    let min = draft.params().hosting_burn_min;
    if model.burned < min {
        let got = model.burned;
        return Err(Reject::Demand { min, got });
    }
    let resident = Resident {
        keyset: claim.keyset,
        root: claim.root,
    };
    // A boot that came in the middle of an epoch was not there for all of it.
    let first = draft.params().epoch_of(boot.height);
    let next = draft.hosting(&resident).unwrap_or(first.saturating_add(1));
    let seconds = finished(draft, claim.epoch, next, beacon)?;
    draft.put_hosting(&resident, claim.epoch.saturating_add(1));
    let kind = RewardKind::ModelHosting;
    let units = product("bytes times seconds", u128::from(model.bytes), u128::from(seconds))?;
    let wanted = product("reward", units, kind.of(&draft.params().rate))? / GIB_HOUR;
    draft.reward(kind, miner, wanted)
}

fn registration(draft: &mut Draft<'_>, owner: &Address, claim: &RegistrationClaim) -> Result<(), Reject> {
    let mut model = draft.model(&claim.root).ok_or(Reject::Unknown { what: "model" })?;
    if model.owner != *owner {
        return Err(Reject::NotYours { what: "model" });
    }
    if model.rewarded {
        return Err(Reject::Exists {
            what: "reward of this registration",
        });
    }
    let kind = RewardKind::ModelRegistration;
    let wanted = worth(draft.params(), kind, 1, model.burned)?;
    model.rewarded = true;
    draft.put_model(&claim.root, model);
    draft.reward(kind, owner, wanted)
}

fn data(draft: &mut Draft<'_>, provider: &Address, claim: &DataClaim, recipient: &Address) -> Result<(), Reject> {
    let delivery = &claim.delivery;
    if delivery.provider != *provider {
        return Err(Reject::NotYours { what: "delivery" });
    }
    above_zero("fee of the recipient", delivery.fee)?;
    let pair = Pair {
        provider: *provider,
        recipient: *recipient,
    };
    let window = draft.deliveries(&pair).unwrap_or_default();
    draft.put_deliveries(&pair, window.with(delivery.seq)?);
    draft.debit(recipient, delivery.fee)?;
    let burned = draft.share(delivery.fee, provider)?;
    let kind = RewardKind::DataSharing;
    let wanted = worth(draft.params(), kind, u128::from(delivery.bytes), burned)?;
    draft.reward(kind, provider, wanted)
}

/// Removes what a claim would look for.
pub(super) fn close(draft: &mut Draft<'_>, key: Key, owner: &Address, rest: u128) -> Result<(), Reject> {
    draft.remove(key);
    draft.credit(owner, rest)
}
