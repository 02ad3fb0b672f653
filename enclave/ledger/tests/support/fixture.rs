//! Keys, a chain, boots and receipts for tests. Every signature is a real one.
#![allow(dead_code, reason = "each test binary uses some of it")]
#![allow(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    reason = "tests stop at the first surprise"
)]

use hanzo_attestation::keyset::{KemKey, Keyset, ServedModel, SignaturePair, SignerKeys};
use hanzo_attestation::merkle::{inclusion_path, leaf_hash, root};
use hanzo_attestation::name::Name;
use hanzo_attestation::{Digest256, Digest384};
use hanzo_ledger::claim::*;
use hanzo_ledger::*;
use hanzo_pqc::Domain;
use hanzo_pqc::dsa::{MlDsa65, SigningKey};
use hanzo_pqc::sign::{SignatureSuite, SigningKeys};
use hanzo_verifier::receipt::{Outcome, Receipt, ReceiptId, Sampling, SignedReceipt, TRANSPORT_TLS};

pub const START_MS: u64 = 1_800_000_000_000;
pub const NEVER: u64 = u64::MAX;

pub struct User {
    key: SigningKey<MlDsa65>,
    pub public: PublicKey,
    pub address: Address,
}

pub fn user(n: u16) -> User {
    let mut seed = [7; 32];
    seed[..2].copy_from_slice(&n.to_be_bytes());
    let key = SigningKey::from_seed(&seed).unwrap();
    let public = Fixed::new(key.verifying_key().as_bytes()).unwrap();
    User {
        address: Address::of(&public),
        key,
        public,
    }
}

impl User {
    pub fn sign(&self, domain: Domain, message: &[u8]) -> MlDsaSignature {
        Fixed::new(&self.key.sign(&domain.signed_bytes(message)).unwrap()).unwrap()
    }

    pub fn says(&self, domain: Domain, network: &Network, statement: &impl Canonical) -> MlDsaSignature {
        self.sign(domain, &message(network, statement))
    }

    pub fn unsigned(&self, network: &Network, nonce: u64, action: Action) -> Tx {
        let free = matches!(
            action,
            Action::Claim(_)
                | Action::RegisterBoot(_)
                | Action::RegisterValidator(_)
                | Action::RotateConsensusKey(_)
                | Action::ReportConflict(_)
        );
        Tx {
            network: *network,
            sender: self.public.clone(),
            nonce,
            fee: if free { 0 } else { 10 },
            expires: NEVER,
            action,
        }
    }

    pub fn signed(&self, tx: Tx) -> SignedTx {
        let signature = self.sign(Domain::Transaction, &tx.message());
        SignedTx { tx, signature }
    }

    pub fn tx(&self, network: &Network, nonce: u64, action: Action) -> SignedTx {
        self.signed(self.unsigned(network, nonce, action))
    }
}

pub fn params() -> Params {
    Params {
        epoch_blocks: 10,
        block_interval_ms: 500,
        fee_min: 10,
        burn_bp: 2_000,
        factor_bp: [9_000, 9_000, 0, 2_000, 8_000],
        rate: [2, 50, 1_000_000, 500, 3],
        epoch_cap: [1_000_000_000; 5],
        miner_cap: 1_000_000_000,
        model_deposit: 5_000,
        hosting_burn_min: 100,
        unbond_epochs: 3,
        claim_age_s: 86_400,
        tier_min: 1,
        simulated_earns: false,
        committee_max: 7,
        committee_min: 4,
        stake_min: 10_000,
        slash_bp: 2_500,
        reporter_bp: 1_000,
        validator_tier_min: 1,
        simulated_votes: false,
    }
}

pub const EACH: u128 = 1_000_000_000;
/// Of each of the first validators.
pub const STAKE: u128 = 10_000;

/// Owner and consensus key of the n-th of the first validators.
pub fn first(n: u16) -> (User, User) {
    (user(200 + n), user(300 + n))
}

/// A new consensus key, signed by everybody who must.
pub fn new_key(network: &Network, owner: &Address, key: &User, incarnation: u64, registrars: &[User]) -> NewKey {
    new_key_but(network, owner, key, incarnation, registrars, |_| {})
}

/// As [`new_key`], changed before it is signed.
pub fn new_key_but(
    network: &Network,
    owner: &Address,
    key: &User,
    incarnation: u64,
    registrars: &[User],
    change: impl FnOnce(&mut NewKey),
) -> NewKey {
    let mut new = NewKey {
        incarnation,
        key: key.public.clone(),
        evidence: Digest256([5; 32]),
        tier: 2,
        simulated: false,
        possession: Fixed::new(&[0; 3309]).unwrap(),
        endorsements: List::default(),
    };
    change(&mut new);
    new.possession = key.sign(Domain::ChainPossession, &new.possession_message(network, owner));
    let mut sorted: Vec<_> = registrars.iter().collect();
    sorted.sort_by(|a, b| a.public.cmp(&b.public));
    let endorsements = (0..2_u16).map(|registrar| Endorsement {
        registrar,
        signature: sorted[usize::from(registrar)].says(Domain::ValidatorEndorsement, network, &new.endorsed(owner)),
    });
    new.endorsements = List::new(endorsements.collect()).unwrap();
    new
}

/// What an owner signs to give a validator `key`.
pub fn rotation(network: &Network, owner: &User, key: NewKey) -> Action {
    let signature = owner.sign(Domain::RotateKey, &key.rotation_message(network, &owner.address));
    Action::RotateConsensusKey(RotateConsensusKey {
        owner: owner.public.clone(),
        key,
        signature,
    })
}

/// A vote of whoever has `key`, whatever it voted before.
pub fn cast(network: &Network, key: &User, vote: Vote) -> SignedVote {
    let signature = key.sign(vote.domain(), &vote.message(network));
    SignedVote { vote, signature }
}

pub fn ballot(view: u64, block: u8) -> Ballot {
    Ballot {
        epoch: 0,
        view,
        parent: 0,
        block: Digest256([block; 32]),
    }
}

/// Two votes of `key` that conflict.
pub fn conflict(network: &Network, key: &User, first: Vote, second: Vote) -> Action {
    Action::ReportConflict(ReportConflict {
        key: key.public.clone(),
        first: cast(network, key, first),
        second: cast(network, key, second),
    })
}

pub fn genesis(users: &[User], registrars: &[User], params: Params) -> Genesis {
    let mut allocations: Vec<_> = users.iter().map(|u| (u.address, EACH)).collect();
    allocations.sort();
    let mut keys: Vec<_> = registrars.iter().map(|r| r.public.clone()).collect();
    keys.sort();
    let allocations = allocations
        .into_iter()
        .map(|(address, amount)| Allocation { address, amount });
    let mut validators: Vec<_> = (0..4)
        .map(|n| {
            let (owner, key) = first(n);
            FirstValidator {
                owner: owner.address,
                stake: STAKE,
                key: key.public,
            }
        })
        .collect();
    validators.sort_by_key(|v| v.owner);
    Genesis {
        kind: NetworkKind::AiChain,
        id: MAINNET,
        time_ms: START_MS,
        max_supply: 1_000_000_000_000_000,
        treasury: 1_000,
        allocations: List::new(allocations.collect()).unwrap(),
        validators: List::new(validators).unwrap(),
        registrars: List::new(keys).unwrap(),
        threshold: 2,
        params,
    }
}

/// A boot: its keyset and the keys of its receipts.
pub struct Booted {
    keys: SigningKeys,
    pub keyset: Keyset,
    pub digest: Digest384,
}

pub const LEAVES: u64 = 5;

pub fn leaf(n: u64) -> Digest256 {
    leaf_hash(&[b"C", &n.to_be_bytes()])
}

pub fn weights() -> Vec<Digest256> {
    (0..LEAVES).map(leaf).collect()
}

pub fn weights_root() -> Digest256 {
    root(&weights())
}

pub fn boot(n: u16, change: impl FnOnce(&mut Keyset)) -> Booted {
    let mut seed = [9; 64];
    seed[..2].copy_from_slice(&n.to_be_bytes());
    let keys = SigningKeys::from_seed(SignatureSuite::MlDsa65Ed25519, &seed).unwrap();
    let public = keys.verifying_keys();
    let mut keyset = Keyset {
        capability_digest: Digest384([1; 48]),
        channel_key: KemKey {
            public_key: "00".into(),
            suite: "x-wing".into(),
        },
        config_digest: Digest256([2; 32]),
        image: Name::new("0.1.0").unwrap(),
        issued_at: START_MS / 1000,
        models: vec![ServedModel {
            base_root: None,
            chat_template_sha256: Digest256([3; 32]),
            counted_by: None,
            name: Name::new("smollm2").unwrap(),
            tokenizer_sha256: Digest256([4; 32]),
            weights_root: weights_root(),
        }],
        not_after: START_MS / 1000 + 86_400,
        ohttp_keys: vec![],
        policy_digest: Digest384([6; 48]),
        receipt_keys: SignerKeys {
            ed25519: public.ed25519_hex(),
            ml_dsa: public.ml_dsa_hex(),
            suite: public.suite().name().into(),
        },
        log: None,
        signer_keys: vec![],
        simulated: false,
        tier: 2,
        time: "host".into(),
        tls_spki_sha256: Digest256([7; 32]),
        version: 1,
    };
    change(&mut keyset);
    let digest = keyset.digest().unwrap();
    Booted { keys, keyset, digest }
}

impl Booted {
    pub fn receipt(&self, seq: u64, change: impl FnOnce(&mut Receipt)) -> Answer {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&seq.to_be_bytes());
        let model = &self.keyset.models[0];
        let mut receipt = Receipt {
            base_root: None,
            chat_template_sha256: model.chat_template_sha256,
            completion_tokens: 40,
            counted_by: None,
            id: ReceiptId(id),
            keyset_digest: self.digest,
            model: model.name.clone(),
            outcome: Outcome::Complete,
            prev: self.digest,
            prompt_tokens: 60,
            request_commitment: Digest384([8; 48]),
            response_commitment: Digest384([9; 48]),
            sampling: Sampling {
                max_tokens: 64,
                seed: None,
                temperature_micros: 0,
                top_p_micros: 1_000_000,
            },
            seq,
            simulated: self.keyset.simulated,
            tier: self.keyset.tier,
            time: START_MS / 1000 + 5,
            time_source: self.keyset.time.clone(),
            tokenizer_sha256: model.tokenizer_sha256,
            transport: TRANSPORT_TLS.into(),
            version: 1,
            weights_root: model.weights_root,
            work: None,
        };
        change(&mut receipt);
        let digest = receipt.digest().unwrap();
        let signature = self.keys.sign(Domain::Receipt, &receipt.canonical().unwrap()).unwrap();
        let signature = SignaturePair {
            ed25519: signature.ed25519_hex(),
            ml_dsa: signature.ml_dsa_hex(),
        };
        let bytes = SignedReceipt { receipt, signature }.to_bytes().unwrap();
        Answer { bytes, digest }
    }

    pub fn says(&self, domain: Domain, network: &Network, statement: &impl Canonical) -> BootSignature {
        let signature = self.keys.sign(domain, &message(network, statement)).unwrap();
        let bytes = |hex: String| -> Vec<u8> {
            let digit = |c: u8| (c as char).to_digit(16).unwrap() as u8;
            hex.as_bytes()
                .chunks(2)
                .map(|c| digit(c[0]) * 16 + digit(c[1]))
                .collect()
        };
        BootSignature {
            ml_dsa: Bounded::new(bytes(signature.ml_dsa_hex())).unwrap(),
            ed25519: bytes(signature.ed25519_hex()).try_into().unwrap(),
        }
    }

    pub fn register(&self, network: &Network, miner: &User, incarnation: u64, registrars: &[User]) -> Action {
        let mut sorted: Vec<_> = registrars.iter().collect();
        sorted.sort_by(|a, b| a.public.cmp(&b.public));
        let statement = EndorsedBoot {
            miner: miner.address,
            incarnation,
            keyset: self.digest,
        };
        let endorsements = (0..2_u16).map(|registrar| Endorsement {
            registrar,
            signature: sorted[usize::from(registrar)].says(Domain::Endorsement, network, &statement),
        });
        Action::RegisterBoot(RegisterBoot {
            incarnation,
            keyset: Bounded::new(self.keyset.canonical().unwrap()).unwrap(),
            endorsements: List::new(endorsements.collect()).unwrap(),
        })
    }

    /// What this boot says about the model in its memory.
    pub fn resident(&self, network: &Network, beacon: Digest256, epoch: u64) -> HostingClaim {
        let root = weights_root();
        let index = challenge(&beacon, &self.digest, &root, LEAVES);
        let residency = Residency {
            root,
            epoch,
            beacon,
            index,
            leaf: leaf(index),
            answer: Digest256([11; 32]),
        };
        HostingClaim {
            keyset: self.digest,
            root,
            epoch,
            leaf: residency.leaf,
            path: List::new(inclusion_path(&weights(), index as usize).unwrap()).unwrap(),
            answer: residency.answer,
            signature: self.says(Domain::Residency, network, &residency),
        }
    }
}

/// A signed receipt.
#[derive(Clone)]
pub struct Answer {
    pub bytes: Vec<u8>,
    pub digest: Digest384,
}

impl Answer {
    pub fn cosigned(&self, network: &Network, miner: &User, customer: &User, fee: u128) -> InferenceClaim {
        let terms = PaymentTerms {
            miner: miner.address,
            receipt: self.digest,
            fee,
        };
        let signature = customer.says(Domain::Payment, network, &terms);
        self.paid(customer, fee, Payment::CoSigned(CoSigned { signature }))
    }

    pub fn prepaid(
        &self,
        network: &Network,
        customer: &User,
        voucher: Digest256,
        fee: u128,
        cumulative: u128,
    ) -> InferenceClaim {
        let note = VoucherNote { voucher, cumulative };
        let signature = customer.says(Domain::VoucherNote, network, &note);
        let payment = Prepaid {
            voucher,
            cumulative,
            signature,
        };
        self.paid(customer, fee, Payment::Prepaid(payment))
    }

    fn paid(&self, customer: &User, fee: u128, payment: Payment) -> InferenceClaim {
        InferenceClaim {
            receipt: Bounded::new(self.bytes.clone()).unwrap(),
            fee,
            customer: customer.public.clone(),
            payment,
        }
    }
}

pub fn claimed(claim: InferenceClaim) -> Action {
    Action::Claim(Claim::Inference(claim))
}

pub fn transfer(to: &User, amount: u128) -> Action {
    Action::Transfer(Transfer { to: to.address, amount })
}

/// A chain with four users (0: miner, 1: customer, 2 and 3: others), three registrars and one boot of user 0.
pub struct World {
    pub users: Vec<User>,
    pub registrars: Vec<User>,
    pub boot: Booted,
    pub state: State,
    pub blocks: Vec<Block>,
}

pub fn world(params: Params) -> World {
    world_of(4, params)
}

pub fn world_of(users: u16, params: Params) -> World {
    let users: Vec<_> = (0..users).map(user).collect();
    let registrars: Vec<_> = (100..103).map(user).collect();
    let state = State::new(genesis(&users, &registrars, params)).unwrap();
    let boot = boot(1, |_| {});
    let mut world = World {
        users,
        registrars,
        boot,
        state,
        blocks: Vec::new(),
    };
    let register = world
        .boot
        .register(&world.network(), &world.users[0], 1, &world.registrars);
    world.does(0, register).unwrap();
    world
}

impl World {
    pub fn network(&self) -> Network {
        *self.state.network()
    }

    pub fn nonce(&self, who: usize) -> u64 {
        self.state.account(&self.users[who].address).nonce
    }

    pub fn balance(&self, who: usize) -> u128 {
        self.state.account(&self.users[who].address).balance
    }

    /// A block of one transaction, or why there is none.
    pub fn does(&mut self, who: usize, action: Action) -> Result<(), Reject> {
        let tx = self.users[who].tx(&self.network(), self.nonce(who), action);
        self.takes(tx)
    }

    pub fn takes(&mut self, tx: SignedTx) -> Result<(), Reject> {
        let tx = tx.verify(&self.state)?;
        self.block(vec![tx])
            .into_iter()
            .next()
            .map_or(Ok(()), |(_, why)| Err(why))
    }

    /// The next block, 500 ms later; those left out of it.
    pub fn block(&mut self, txs: Vec<VerifiedTx>) -> Vec<(VerifiedTx, Reject)> {
        self.block_after(500, txs)
    }

    pub fn block_after(&mut self, ms: u64, txs: Vec<VerifiedTx>) -> Vec<(VerifiedTx, Reject)> {
        let time = self.state.head().time_ms + ms;
        let proposal = self.state.propose(self.users[3].address, time, txs).unwrap();
        let bytes = proposal.block.to_block().to_bytes();
        // What a validator does with what it is sent.
        let block = Block::parse(&bytes).unwrap();
        let applied = self.state.apply(&block.clone().verify(&self.state).unwrap()).unwrap();
        assert_eq!(applied.root(), proposal.applied.root());
        self.state.commit(applied).unwrap();
        self.blocks.push(block);
        let supply = self.state.recount().unwrap();
        assert_eq!(supply, self.state.supply());
        assert_eq!(supply.total(), Some(self.state.genesis().max_supply));
        proposal.rejected
    }

    /// Goes to the first block of the next epoch.
    pub fn next_epoch(&mut self) {
        let epoch = self.state.head().beacon.epoch;
        while self.state.head().beacon.epoch == epoch {
            self.block_after(60_000, vec![]);
        }
    }
}
