//! Validators: who comes, with which key, who leaves, and what is taken from those who vote for two things at once.

use super::draft::{Draft, above_zero, less, portion, sum};
use crate::Reject;
use crate::entry::{ConsensusKey, Standing, Validator};
use crate::network::Address;
use crate::tx::{RegisterValidator, ReportConflict, RotateConsensusKey};
use crate::validator::{KEY_EPOCHS, NewKey, key_digest};

/// First epoch whose committee is not fixed yet.
fn open_epoch(draft: &Draft<'_>) -> u64 {
    draft.head.beacon.epoch.saturating_add(KEY_EPOCHS)
}

pub(super) fn register(draft: &mut Draft<'_>, sender: &Address, register: &RegisterValidator) -> Result<(), Reject> {
    let last = match draft.validator(sender) {
        None => 0,
        Some(validator) => match validator.standing {
            Standing::Active => return Err(Reject::Exists { what: "validator" }),
            got @ Standing::Jailed => return Err(Reject::Standing { got }),
            Standing::Left => validator.incarnation,
        },
    };
    let mut stake = draft.stake(sender).unwrap_or_default();
    if register.bond > 0 {
        draft.debit(sender, register.bond)?;
        stake.bonded = sum("stake", stake.bonded, register.bond)?;
        draft.put_stake(sender, stake);
    }
    less("stake", stake.bonded, draft.params().stake_min)?;
    draft.head.validators = draft
        .head
        .validators
        .checked_add(1)
        .ok_or(Reject::Overflow { what: "validators" })?;
    accept(draft, sender, last, &register.key)
}

pub(super) fn rotate(draft: &mut Draft<'_>, rotate: &RotateConsensusKey) -> Result<(), Reject> {
    let account = Address::of(&rotate.owner);
    let validator = draft.validator(&account).ok_or(Reject::Unknown { what: "validator" })?;
    if validator.standing != Standing::Active {
        return Err(Reject::Standing {
            got: validator.standing,
        });
    }
    end_key(draft, &validator);
    accept(draft, &account, validator.incarnation, &rotate.key)
}

/// The key before votes no more from the epoch on in which the next one begins.
fn end_key(draft: &mut Draft<'_>, validator: &Validator) {
    if let Some(mut key) = draft.consensus_key(&validator.key) {
        key.until_epoch = key.until_epoch.min(open_epoch(draft));
        draft.put_consensus_key(&validator.key, key);
    }
}

/// Makes `new` the one live key of a validator.
fn accept(draft: &mut Draft<'_>, account: &Address, last: u64, new: &NewKey) -> Result<(), Reject> {
    let params = draft.params();
    if new.simulated && !params.simulated_votes {
        return Err(Reject::Simulated { what: "consensus key" });
    }
    if new.tier < params.validator_tier_min {
        return Err(Reject::Tier {
            min: params.validator_tier_min,
            got: new.tier,
        });
    }
    let expected = last.checked_add(1).ok_or(Reject::Overflow { what: "incarnation" })?;
    if new.incarnation != expected {
        return Err(Reject::NextIncarnation {
            expected,
            got: new.incarnation,
        });
    }
    let digest = key_digest(&new.key);
    if draft.consensus_key(&digest).is_some() {
        return Err(Reject::Exists { what: "consensus key" });
    }
    let key = ConsensusKey {
        validator: *account,
        incarnation: new.incarnation,
        from_epoch: open_epoch(draft),
        until_epoch: u64::MAX,
        slashed: false,
        public: new.key.clone(),
    };
    draft.put_consensus_key(&digest, key);
    let validator = Validator {
        standing: Standing::Active,
        incarnation: new.incarnation,
        key: digest,
    };
    draft.put_validator(account, validator);
    Ok(())
}

pub(super) fn leave(draft: &mut Draft<'_>, sender: &Address) -> Result<(), Reject> {
    let mut validator = draft.validator(sender).ok_or(Reject::Unknown { what: "validator" })?;
    let bonded = draft.stake(sender).unwrap_or_default().bonded;
    match validator.standing {
        got @ Standing::Left => return Err(Reject::Standing { got }),
        // It votes no more already; what is left of its stake comes back.
        Standing::Jailed => above_zero("stake", bonded)?,
        Standing::Active => {
            let (got, min) = (draft.head.validators, u32::from(draft.params().committee_min));
            if got <= min {
                return Err(Reject::Validators { min, got });
            }
            draft.head.validators = got.saturating_sub(1);
            end_key(draft, &validator);
            validator.standing = Standing::Left;
            draft.put_validator(sender, validator);
        }
    }
    match bonded {
        0 => Ok(()),
        bonded => release(draft, sender, bonded),
    }
}

/// Begins to give back a part of a stake; an active validator keeps the least that it needs.
pub(super) fn unbond(draft: &mut Draft<'_>, sender: &Address, amount: u128) -> Result<(), Reject> {
    let stake = draft.stake(sender).ok_or(Reject::Unknown { what: "stake" })?;
    let active = draft.validator(sender).is_some_and(|v| v.standing == Standing::Active);
    if active {
        let spare = stake.bonded.saturating_sub(draft.params().stake_min);
        less("stake above stake_min", spare, amount)?;
    }
    release(draft, sender, amount)
}

fn release(draft: &mut Draft<'_>, sender: &Address, amount: u128) -> Result<(), Reject> {
    let mut stake = draft.stake(sender).ok_or(Reject::Unknown { what: "stake" })?;
    stake.bonded = less("stake", stake.bonded, amount)?;
    stake.releasing = sum("stake", stake.releasing, amount)?;
    stake.release_epoch = draft.head.beacon.epoch.saturating_add(draft.params().unbond_epochs);
    draft.put_stake(sender, stake);
    Ok(())
}

/// Two conflicting votes of one key, verified: part of its validator's stake goes to the pool and to whoever showed them. Once a key.
pub(super) fn slash(draft: &mut Draft<'_>, sender: &Address, report: &ReportConflict) -> Result<(), Reject> {
    let digest = key_digest(&report.key);
    let mut key = draft
        .consensus_key(&digest)
        .ok_or(Reject::Unknown { what: "consensus key" })?;
    if key.slashed {
        return Err(Reject::Slashed { key: digest });
    }
    key.slashed = true;
    let account = key.validator;
    draft.put_consensus_key(&digest, key);
    let mut validator = draft.validator(&account).ok_or(Reject::Unknown { what: "validator" })?;
    if validator.standing == Standing::Active {
        draft.head.validators = draft.head.validators.saturating_sub(1);
        end_key(draft, &validator);
    }
    validator.standing = Standing::Jailed;
    draft.put_validator(&account, validator);

    let mut stake = draft.stake(&account).unwrap_or_default();
    let cut = portion(sum("stake", stake.bonded, stake.releasing)?, draft.params().slash_bp)?;
    let from_bonded = cut.min(stake.bonded);
    stake.bonded = less("stake", stake.bonded, from_bonded)?;
    stake.releasing = less("stake", stake.releasing, less("stake", cut, from_bonded)?)?;
    if cut > 0 {
        draft.put_stake(&account, stake);
    }
    let reward = portion(cut, draft.params().reporter_bp)?;
    draft.head.pool = sum("pool", draft.head.pool, less("stake", cut, reward)?)?;
    draft.credit(sender, reward)
}
