//! Validators with keys of their place, a chain for them, and what each of them signed.
#![allow(dead_code, reason = "each test binary uses some of it")]
#![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use hanzo_attestation::Digest256;
use hanzo_chain::{AIChainVote, GuardedSigner, MemoryLedger, ValidatorSet, VoteSignature, VoteSigner};
use hanzo_ledger::{
    Action, Address, Allocation, FirstValidator, Fixed, Genesis, List, Network, NetworkKind, Nothing, Params,
    PublicKey, SignedTx, State, TESTNET, Transfer, Tx,
};
use hanzo_pqc::Domain;
use hanzo_pqc::dsa::{MlDsa65, SigningKey};
use hanzo_signer::{
    FreshnessError, FreshnessSource, Head, Network as SignerNetwork, Role, SecurityLevel, Signer, SignerKey, Volatile,
};

pub const START_MS: u64 = 1_800_000_000_000;
/// Accounts with money, besides the user's.
const PAYERS: usize = 20;

fn key(place: usize) -> SigningKey<MlDsa65> {
    SigningKey::from_seed(&[place as u8 + 1; 32]).unwrap()
}

fn public(key: &SigningKey<MlDsa65>) -> PublicKey {
    Fixed::new(key.verifying_key().as_bytes()).unwrap()
}

fn params() -> Params {
    Params {
        epoch_blocks: 120,
        block_interval_ms: 500,
        fee_min: 10,
        burn_bp: 2_000,
        factor_bp: [0; 5],
        rate: [0; 5],
        epoch_cap: [0; 5],
        miner_cap: 0,
        model_deposit: 5_000,
        hosting_burn_min: 0,
        unbond_epochs: 3,
        claim_age_s: 86_400,
        tier_min: 1,
        simulated_earns: false,
        committee_max: 20,
        committee_min: 4,
        stake_min: 0,
        slash_bp: 0,
        reporter_bp: 0,
        validator_tier_min: 1,
        simulated_votes: false,
    }
}

/// A chain, its validators in the order of their set, and one account with money.
pub struct Committee {
    pub state: State,
    pub set: ValidatorSet,
    seeds: Vec<usize>,
    user: SigningKey<MlDsa65>,
}

impl Committee {
    pub fn new(n: usize) -> Self {
        Self::with(n, |_| ())
    }

    /// As [`Committee::new`], with other rules.
    pub fn with(n: usize, change: impl FnOnce(&mut Params)) -> Self {
        let mut params = params();
        change(&mut params);
        let mut keys: Vec<_> = (0..n).map(|i| (public(&key(i)), i)).collect();
        keys.sort();
        let first = keys.iter().map(|(key, _)| FirstValidator {
            owner: Address::of(key),
            stake: 0,
            key: key.clone(),
        });
        let mut first: Vec<_> = first.collect();
        first.sort_by_key(|v| v.owner);
        let user = key(200);
        let mut others: Vec<_> = (0..PAYERS).map(|i| public(&key(100 + i))).collect();
        others.push(public(&user));
        let mut allocations: Vec<_> = keys
            .iter()
            .map(|(key, _)| key)
            .chain(&others)
            .map(|key| Allocation {
                address: Address::of(key),
                amount: 1_000_000,
            })
            .collect();
        allocations.sort_by_key(|a| a.address);
        let genesis = Genesis {
            kind: NetworkKind::AiChain,
            id: TESTNET,
            time_ms: START_MS,
            max_supply: 1_000_000_000,
            treasury: 0,
            allocations: List::new(allocations).unwrap(),
            validators: List::new(first).unwrap(),
            registrars: List::new(vec![public(&key(201))]).unwrap(),
            threshold: 1,
            params,
        };
        let set = ValidatorSet::of_genesis(&genesis).unwrap();
        Self {
            state: State::new(genesis).unwrap(),
            set,
            seeds: keys.into_iter().map(|(_, i)| i).collect(),
            user,
        }
    }

    pub fn network(&self) -> Network {
        *self.state.network()
    }

    pub fn ledger(&self) -> MemoryLedger {
        MemoryLedger::new(self.state.clone())
    }

    /// The user's first transaction: so much to that validator.
    pub fn transfer(&self, to: usize, amount: u128) -> SignedTx {
        self.transfers(0, to, amount)
    }

    /// The user's transaction of this nonce.
    pub fn transfers(&self, nonce: u64, to: usize, amount: u128) -> SignedTx {
        let to = self.set.validators()[to].id;
        signed(
            &self.user,
            self.network(),
            nonce,
            Action::Transfer(Transfer { to, amount }),
        )
    }

    /// The transaction of this nonce of one of [`PAYERS`]: one unit to a validator.
    pub fn paid_by(&self, user: usize, nonce: u64) -> SignedTx {
        let to = self.set.validators()[0].id;
        let key = key(100 + user);
        signed(
            &key,
            self.network(),
            nonce,
            Action::Transfer(Transfer { to, amount: 1 }),
        )
    }

    /// The first transaction of a validator: it leaves.
    pub fn leaves(&self, place: usize) -> SignedTx {
        let key = key(self.seeds[place]);
        signed(&key, self.network(), 0, Action::LeaveValidators(Nothing {}))
    }

    /// A signer with guard and journal, and a book of what it signed.
    pub fn honest(&self, place: usize) -> Arc<Booked> {
        let seed = [self.seeds[place] as u8 + 1; 32];
        let key = SignerKey::from_seed(SecurityLevel::MlDsa65, &seed).unwrap();
        let network = SignerNetwork::ai_chain(self.network().id, self.network().genesis.0);
        let signer = Signer::create(Role::Consensus, network, key, Volatile, Held(Head::EMPTY)).unwrap();
        Arc::new(Booked {
            signer: GuardedSigner::new(signer),
            votes: Mutex::default(),
        })
    }

    /// A key without any guard, as a Byzantine validator has it.
    pub fn byzantine(&self, place: usize) -> Arc<dyn VoteSigner> {
        Arc::new(Unguarded(key(self.seeds[place])))
    }
}

/// Signatures are hedged, and a block's id covers those in it: one run and the next are given the same.
fn signed(key: &SigningKey<MlDsa65>, network: Network, nonce: u64, action: Action) -> SignedTx {
    static MADE: Mutex<BTreeMap<Digest256, SignedTx>> = Mutex::new(BTreeMap::new());
    let tx = Tx {
        network,
        sender: public(key),
        nonce,
        fee: 10,
        expires: u64::MAX,
        action,
    };
    let fresh = || {
        let bytes = Domain::Transaction.signed_bytes(&tx.message());
        let signature = Fixed::new(&key.sign(&bytes).unwrap()).unwrap();
        let tx = tx.clone();
        SignedTx { tx, signature }
    };
    MADE.lock().unwrap().entry(tx.digest()).or_insert_with(fresh).clone()
}

/// The head of a journal that lives as long as its test.
struct Held(Head);

impl FreshnessSource for Held {
    fn newest(&mut self) -> Result<Head, FreshnessError> {
        Ok(self.0)
    }

    fn advance(&mut self, _from: Head, to: Head) -> Result<(), FreshnessError> {
        self.0 = to;
        Ok(())
    }
}

struct Unguarded(SigningKey<MlDsa65>);

impl VoteSigner for Unguarded {
    fn sign(&self, network: &Network, vote: &AIChainVote) -> Option<VoteSignature> {
        let bytes = vote.domain().signed_bytes(&vote.message(network));
        VoteSignature::new(&self.0.sign(&bytes).unwrap())
    }
}

/// What a view was told: notarized, nullified, finalized.
type Said = (Vec<AIChainVote>, bool, Vec<AIChainVote>);

/// An honest signer, and what it signed.
pub struct Booked {
    signer: GuardedSigner<Volatile, Held>,
    votes: Mutex<BTreeMap<(u64, u64), Said>>,
}

impl VoteSigner for Booked {
    fn sign(&self, network: &Network, vote: &AIChainVote) -> Option<VoteSignature> {
        let signature = self.signer.sign(network, vote)?;
        let mut votes = self.votes.lock().unwrap();
        let view = match vote {
            AIChainVote::Notarize(p) | AIChainVote::Finalize(p) => (p.epoch, p.view),
            AIChainVote::Nullify { epoch, view } => (*epoch, *view),
        };
        let said = votes.entry(view).or_default();
        match vote {
            AIChainVote::Notarize(_) if !said.0.contains(vote) => said.0.push(*vote),
            AIChainVote::Finalize(_) if !said.2.contains(vote) => said.2.push(*vote),
            AIChainVote::Nullify { .. } => said.1 = true,
            _ => {}
        }
        Some(signature)
    }
}

impl Booked {
    /// The first epoch and view in which it said what no honest validator says.
    pub fn double_vote(&self) -> Option<(u64, u64)> {
        let votes = self.votes.lock().unwrap();
        let bad = |said: &Said| said.0.len() > 1 || said.2.len() > 1 || (said.1 && !said.2.is_empty());
        votes.iter().find(|(_, said)| bad(said)).map(|(view, _)| *view)
    }

    /// In how many views of an epoch it voted.
    pub fn views(&self, epoch: u64) -> usize {
        self.votes.lock().unwrap().range((epoch, 0)..(epoch + 1, 0)).count()
    }
}
