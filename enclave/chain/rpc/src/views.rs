//! The ledger's values in the words of the answers.

use hanzo_attestation::Digest256;
use hanzo_chain_types::{FinalityCertificate, Validator as SetMember, ValidatorSet, committee_of};
use hanzo_ledger::claim::Claim;
use hanzo_ledger::{
    Action, Address, Block, Canonical, Genesis, Params, RewardKind, SignedTx, Standing, State, Tx, key_digest,
};

use crate::calls::{
    AccountView, BlockView, CertificateView, RewardView, RewardsView, StatusView, SupplyView, TransactionView,
    ValidatorView, ValidatorsView,
};
use crate::{Failure, Node};

/// Blocks that proposals are counted in.
const COUNTED_BLOCKS: u64 = 100;

/// A block in the words of [`BlockView`].
pub fn block_view(params: &Params, block: &Block, certificate: Option<&FinalityCertificate>) -> BlockView {
    let header = &block.header;
    BlockView {
        height: header.height,
        id: header.id().to_string(),
        parent: header.parent.to_string(),
        time_ms: header.time_ms,
        epoch: params.epoch_of(header.height),
        proposer: header.proposer.to_string(),
        tx_root: header.tx_root.to_string(),
        state_root: header.state_root.to_string(),
        transactions: block.txs.iter().map(|tx| transaction_view(params, tx)).collect(),
        certificate: certificate.map(|certificate| CertificateView {
            height: certificate.header.height,
            epoch: certificate.epoch,
            view: certificate.view,
            votes: certificate.signatures().count() as u64,
        }),
    }
}

/// A transaction in few words.
pub fn transaction_view(params: &Params, signed: &SignedTx) -> TransactionView {
    let tx = &signed.tx;
    let (kind, to, amount) = told(tx);
    let reward = match &tx.action {
        Action::Claim(Claim::Inference(claim)) => params.inference_pay(claim).ok().map(|pay| RewardView {
            customer: Address::of(&claim.customer).to_string(),
            fee: pay.fee.to_string(),
            burned: pay.burned.to_string(),
            reward: pay.reward.to_string(),
        }),
        _ => None,
    };
    TransactionView {
        id: tx.digest().to_string(),
        kind: kind.to_owned(),
        sender: Address::of(&tx.sender).to_string(),
        nonce: tx.nonce,
        fee: tx.fee.to_string(),
        expires: tx.expires.to_string(),
        to: to.map(|address| address.to_string()),
        amount: amount.map(|amount| amount.to_string()),
        reward,
    }
}

fn told(tx: &Tx) -> (&'static str, Option<Address>, Option<u128>) {
    match &tx.action {
        Action::Transfer(t) => ("transfer", Some(t.to), Some(t.amount)),
        Action::OpenVoucher(v) => ("open_voucher", Some(v.miner), Some(v.amount)),
        Action::CloseVoucher(_) => ("close_voucher", None, None),
        Action::RegisterBoot(_) => ("register_boot", None, None),
        Action::RegisterModel(_) => ("register_model", None, None),
        Action::RetireModel(_) => ("retire_model", None, None),
        Action::OpenLease(_) => ("open_lease", None, None),
        Action::CloseLease(_) => ("close_lease", None, None),
        Action::Bond(a) => ("bond", None, Some(a.amount)),
        Action::Unbond(a) => ("unbond", None, Some(a.amount)),
        Action::Withdraw(_) => ("withdraw", None, None),
        Action::Claim(Claim::Inference(c)) => ("claim.inference_serving", None, Some(c.fee)),
        Action::Claim(Claim::Compute(_)) => ("claim.compute_provision", None, None),
        Action::Claim(Claim::Hosting(_)) => ("claim.model_hosting", None, None),
        Action::Claim(Claim::Registration(_)) => ("claim.model_registration", None, None),
        Action::Claim(Claim::Data(c)) => ("claim.data_sharing", None, Some(c.delivery.fee)),
        Action::RegisterValidator(r) => ("register_validator", None, Some(r.bond)),
        Action::RotateConsensusKey(r) => ("rotate_consensus_key", Some(Address::of(&r.owner)), None),
        Action::LeaveValidators(_) => ("leave_validators", None, None),
        Action::ReportConflict(_) => ("report_conflict", None, None),
    }
}

pub(crate) fn status(node: &dyn Node) -> Result<StatusView, Failure> {
    let ledger = node.ledger();
    let mut view = ledger.read(|state| {
        let (head, genesis) = (state.head(), state.genesis());
        let params = &genesis.params;
        StatusView {
            network: genesis.id,
            genesis: state.network().genesis.to_string(),
            simulated: params.simulated_votes || params.simulated_earns,
            height: head.height,
            block: state.tip().to_string(),
            time_ms: head.time_ms,
            state_root: state.root().to_string(),
            epoch: params.epoch_of(head.height),
            epoch_blocks: params.epoch_blocks,
            block_interval_ms: params.block_interval_ms,
            fee_min: params.fee_min.to_string(),
            certified: None,
            base: None,
            validators: head.validators,
            node: Default::default(),
        }
    });
    view.certified = ledger.certified()?;
    view.base = ledger.base();
    view.node = node.standing();
    Ok(view)
}

pub(crate) fn account(state: &State, address: &Address) -> AccountView {
    let (account, stake, miner) = (state.account(address), state.stake(address), state.miner(address));
    let validator = state.validator(address);
    AccountView {
        address: address.to_string(),
        balance: account.balance.to_string(),
        nonce: account.nonce,
        bonded: stake.bonded.to_string(),
        releasing: stake.releasing.to_string(),
        release_epoch: stake.release_epoch,
        validator: validator.map(|v| standing(v.standing).to_owned()),
        incarnation: validator.map_or(0, |v| v.incarnation),
        boot: miner.incarnation,
        paid: miner.paid.to_string(),
        paid_epoch: miner.epoch,
        height: state.head().height,
    }
}

fn standing(standing: Standing) -> &'static str {
    match standing {
        Standing::Active => "active",
        Standing::Left => "left",
        Standing::Jailed => "jailed",
    }
}

pub(crate) fn supply(state: &State) -> SupplyView {
    let (supply, head, genesis) = (state.supply(), state.head(), state.genesis());
    let kinds = RewardKind::ALL
        .iter()
        .zip(head.paid.iter().zip(&genesis.params.epoch_cap));
    SupplyView {
        pool: supply.pool.to_string(),
        treasury: supply.treasury.to_string(),
        accounts: supply.accounts.to_string(),
        escrows: supply.escrows.to_string(),
        deposits: supply.deposits.to_string(),
        max_supply: genesis.max_supply.to_string(),
        burned: head.burned.to_string(),
        rewards: kinds
            .map(|(kind, (paid, cap))| RewardsView {
                kind: kind_name(*kind).to_owned(),
                paid: paid.to_string(),
                cap: cap.to_string(),
            })
            .collect(),
        epoch: head.beacon.epoch,
        height: head.height,
    }
}

pub(crate) fn kind_name(kind: RewardKind) -> &'static str {
    match kind {
        RewardKind::DataSharing => "data_sharing",
        RewardKind::ComputeProvision => "compute_provision",
        RewardKind::ModelHosting => "model_hosting",
        RewardKind::ModelRegistration => "model_registration",
        RewardKind::InferenceServing => "inference_serving",
    }
}

/// The committee of an epoch: out of the newest state, the genesis, or the handover that led to it.
fn committee(node: &dyn Node, epoch: u64) -> Result<Option<ValidatorSet>, Failure> {
    let ledger = node.ledger();
    let internal = |e: &dyn std::fmt::Display| Failure::new(-32603, "rpc.committee", e.to_string());
    let newest = ledger.read(|state| committee_of(state, epoch));
    if let Some(set) = newest.map_err(|e| internal(&e))? {
        return Ok(Some(set));
    }
    if epoch <= 1 {
        let first = |genesis: &Genesis| {
            let each = genesis.validators.iter().map(|v| SetMember {
                id: v.owner,
                key: v.key.clone(),
            });
            ValidatorSet::new(epoch, each.collect())
        };
        return Ok(Some(ledger.read(|s| first(s.genesis())).map_err(|e| internal(&e))?));
    }
    let handover = ledger.handover(epoch.saturating_sub(1))?;
    let set = handover.map(|handover| ValidatorSet::parse(&handover.next));
    set.transpose().map_err(|e| internal(&e))
}

pub(crate) fn validators(node: &dyn Node, epoch: Option<u64>) -> Result<ValidatorsView, Failure> {
    let ledger = node.ledger();
    let (newest, height) = ledger.read(|s| (s.head().beacon.epoch, s.head().height));
    let epoch = epoch.unwrap_or(newest);
    let set = committee(node, epoch)?.ok_or_else(|| Failure::none("validators of this epoch"))?;
    let mut proposed: Vec<(Address, u64)> = Vec::new();
    for height in height.saturating_sub(COUNTED_BLOCKS).saturating_add(1)..=height {
        let Some(block) = ledger.block(height)? else { continue };
        match proposed.iter_mut().find(|(who, _)| *who == block.header.proposer) {
            Some((_, count)) => *count = count.saturating_add(1),
            None => proposed.push((block.header.proposer, 1)),
        }
    }
    let members = set.validators().iter().map(|member| {
        let key = key_digest(&member.key);
        ledger.read(|state| {
            let validator = state.validator(&member.id);
            ValidatorView {
                account: member.id.to_string(),
                key: key.to_string(),
                incarnation: validator.map_or(0, |v| v.incarnation),
                bonded: state.stake(&member.id).bonded.to_string(),
                standing: validator.map_or("unknown", |v| standing(v.standing)).to_owned(),
                proposed: proposed
                    .iter()
                    .find(|(who, _)| *who == member.id)
                    .map_or(0, |(_, count)| *count),
            }
        })
    });
    Ok(ValidatorsView {
        epoch,
        quorum: set.quorum() as u64,
        members: members.collect(),
    })
}

/// A digest in 64 lower-case hex digits.
pub(crate) fn digest(name: &str, text: Option<&str>) -> Result<Digest256, Failure> {
    let text =
        text.ok_or_else(|| Failure::params(format!("{name}: expected 64 lower-case hex digits, got nothing")))?;
    Digest256::from_hex(text).ok_or_else(|| {
        let got = text.chars().count();
        Failure::params(format!(
            "{name}: expected 64 lower-case hex digits, got {got} characters"
        ))
    })
}

/// Lower-case hex of at most `max` bytes.
pub(crate) fn bytes(name: &str, text: Option<&str>, max: usize) -> Result<Vec<u8>, Failure> {
    let text = text.ok_or_else(|| Failure::params(format!("{name}: expected lower-case hex, got nothing")))?;
    if text.len() > max.saturating_mul(2) {
        let got = text.len();
        return Err(Failure::params(format!(
            "{name}: expected at most {max} bytes in hex, got {got} digits"
        )));
    }
    let lower = !text.bytes().any(|byte| byte.is_ascii_uppercase());
    let read = hex::decode(text).ok().filter(|_| lower);
    read.ok_or_else(|| Failure::params(format!("{name}: expected lower-case hex, two digits a byte")))
}

/// Lower-case hex of a value's canonical bytes.
pub(crate) fn hexed(value: &impl Canonical) -> String {
    hex::encode(value.to_bytes())
}
