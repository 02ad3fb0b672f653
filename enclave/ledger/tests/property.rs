//! Random steps: transactions good and bad, duplicates, other orders, proposals that are dropped, crashes, and a replay of it all.
//!
//! `HANZO_LEDGER_STEPS=1000000 HANZO_LEDGER_SEED=7 cargo test -p hanzo-ledger --test property -- --nocapture` runs more, from
//! another seed. A step is one transaction offered to one proposal. A failure names the seed of its episode.

#[path = "support/fixture.rs"]
mod fixture;

use std::collections::{BTreeMap, BTreeSet};

use fixture::*;
use hanzo_attestation::Digest384;
use hanzo_ledger::claim::*;
use hanzo_ledger::*;
use hanzo_pqc::Domain;
use hanzo_verifier::receipt::SignedReceipt;

/// Accounts; the first is the miner's.
const USERS: u64 = 12;

/// xorshift64*.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % n.max(1)
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            items.swap(at, self.below(at as u64 + 1) as usize);
        }
    }
}

#[derive(Default)]
struct Seen {
    steps: u64,
    included: u64,
    blocks: u64,
    dropped: u64,
    crashes: u64,
    claims: u64,
    keys: u64,
    slashed: u64,
    refused: BTreeMap<&'static str, u64>,
}

/// What a miner, its customers and others do to a chain.
struct Episode {
    w: World,
    random: Random,
    /// What was offered before: it comes again.
    old: Vec<VerifiedTx>,
    next_seq: u64,
    vouchers: Vec<(usize, hanzo_attestation::Digest256)>,
    leases: Vec<(usize, hanzo_attestation::Digest256)>,
    paid: BTreeSet<(Digest384, u64)>,
    delivered: BTreeSet<(Address, Address, u64)>,
    /// Owner and number of every consensus key that was offered; `first` of the genesis.
    keys: Vec<(User, User)>,
    slashed: BTreeSet<PublicKey>,
    earned: [u128; 5],
}

impl Episode {
    fn new(seed: u64) -> Self {
        let mut rules = params();
        rules.epoch_cap = [300, 400, 300, 300, 800];
        rules.miner_cap = 850;
        rules.rate[2] = 1_000_000;
        Self {
            w: world_of(USERS as u16, rules),
            random: Random(seed | 1),
            old: Vec::new(),
            next_seq: 0,
            vouchers: Vec::new(),
            leases: Vec::new(),
            paid: BTreeSet::new(),
            delivered: BTreeSet::new(),
            keys: (0..4).map(first).collect(),
            slashed: BTreeSet::new(),
            earned: [0; 5],
        }
    }

    fn action(&mut self, who: usize, nonce: u64) -> Action {
        let (network, r) = (self.w.network(), &mut self.random);
        let other = r.below(USERS) as usize;
        let amount = match r.below(20) {
            0 => 0,
            1 => u128::MAX,
            2 => EACH,
            _ => u128::from(r.below(5_000)),
        };
        let near = self.w.state.head().height + r.below(30);
        let id = Tx::id_of(&self.w.users[who].address, nonce);
        match r.below(40) {
            0 => {
                self.vouchers.push((who, id));
                Action::OpenVoucher(OpenVoucher {
                    miner: self.w.users[0].address,
                    amount,
                    expires: near,
                })
            }
            1 if !self.vouchers.is_empty() => Action::CloseVoucher(Close {
                id: self.vouchers[r.below(self.vouchers.len() as u64) as usize].1,
            }),
            2 => {
                self.leases.push((who, id));
                Action::OpenLease(OpenLease {
                    keyset: self.w.boot.digest,
                    gpus: 1 + r.below(4) as u16,
                    price: 1 + u128::from(r.below(9)),
                    seconds: r.below(300),
                    expires: near + 20,
                })
            }
            3 if !self.leases.is_empty() => Action::CloseLease(Close {
                id: self.leases[r.below(self.leases.len() as u64) as usize].1,
            }),
            4 => Action::Bond(Amount { amount }),
            5 => Action::Unbond(Amount { amount }),
            6 => Action::Withdraw(Nothing {}),
            7 => Action::RegisterModel(RegisterModel {
                root: weights_root(),
                licence: weights_root(),
                bytes: LEAVES << 20,
                leaves: LEAVES,
            }),
            8 if r.one_in(4) => Action::RetireModel(Close { id: weights_root() }),
            9 => Action::Claim(Claim::Registration(RegistrationClaim { root: weights_root() })),
            10 => {
                let before = self.w.state.head().before;
                Action::Claim(Claim::Hosting(self.w.boot.resident(
                    &network,
                    before.digest,
                    before.epoch,
                )))
            }
            11 if !self.leases.is_empty() => self.compute(),
            12 | 13 => {
                let delivery = Delivery {
                    provider: self.w.users[who].address,
                    seq: r.below(self.w.state.head().height + 9),
                    chunk_root: weights_root(),
                    bytes: r.below(10_000),
                    fee: u128::from(r.below(2_000)),
                };
                let recipient = &self.w.users[other];
                Action::Claim(Claim::Data(DataClaim {
                    recipient: recipient.public.clone(),
                    signature: recipient.says(Domain::Delivery, &network, &delivery),
                    delivery,
                }))
            }
            14..=17 => self.inference(other),
            18..=20 => self.register(who),
            21 | 22 => self.rotate(),
            23 => Action::LeaveValidators(Nothing {}),
            24 => self.report(),
            25 => Action::Bond(Amount {
                amount: u128::from(r.below(3 * STAKE as u64)),
            }),
            _ => transfer(&self.w.users[other], amount),
        }
    }

    fn inference(&mut self, customer: usize) -> Action {
        let (network, r) = (self.w.network(), &mut self.random);
        // Mostly the next number, now and then an earlier or a later one.
        let seq = match r.below(6) {
            0 => self.next_seq.saturating_sub(r.below(1_200)),
            1 => self.next_seq + r.below(400),
            _ => self.next_seq,
        };
        self.next_seq = self.next_seq.max(seq + 1);
        let tokens = r.below(65);
        let time = self.w.state.head().time_ms / 1000;
        let answer = self.w.boot.receipt(seq, |receipt| {
            receipt.completion_tokens = tokens;
            receipt.time = time;
        });
        let fee = u128::from(r.below(3_000));
        if r.one_in(3)
            && let Some((who, id)) = self.vouchers.last()
        {
            let spent = self.w.state.voucher(id).map_or(0, |v| v.spent);
            let cumulative = spent + fee.saturating_sub(u128::from(r.below(3)));
            return claimed(answer.prepaid(&network, &self.w.users[*who], *id, fee, cumulative));
        }
        claimed(answer.cosigned(&network, &self.w.users[0], &self.w.users[customer], fee))
    }

    /// Mostly with the next incarnation; now and then simulated, or with a key that is known.
    fn key_for(&mut self, owner: User) -> NewKey {
        let last = self.w.state.validator(&owner.address).map_or(0, |v| v.incarnation);
        let r = &mut self.random;
        let key = match r.below(8) {
            0 => first(r.below(4) as u16).1,
            _ => user(1_000 + self.keys.len() as u16),
        };
        let incarnation = if r.one_in(6) { r.below(5) } else { last + 1 };
        let simulated = r.one_in(12);
        let (network, registrars) = (self.w.network(), &self.w.registrars);
        let new = new_key_but(&network, &owner.address, &key, incarnation, registrars, |k| {
            k.simulated = simulated
        });
        self.keys.push((owner, key));
        new
    }

    fn register(&mut self, who: usize) -> Action {
        let bond = [0, STAKE - 1, STAKE, 3 * STAKE][self.random.below(4) as usize];
        let key = self.key_for(user(who as u16));
        Action::RegisterValidator(RegisterValidator { bond, key })
    }

    fn rotate(&mut self) -> Action {
        let n = self.random.below(USERS + 4) as u16;
        let owner = || if n < 4 { first(n).0 } else { user(n - 4) };
        let key = self.key_for(owner());
        rotation(&self.w.network(), &owner(), key)
    }

    fn report(&mut self) -> Action {
        let at = self.random.below(self.keys.len() as u64) as usize;
        let (view, block) = (self.random.below(4), self.random.below(3) as u8);
        let one = [Vote::Notarize(ballot(view, 1)), Vote::Finalize(ballot(view, 1))][self.random.below(2) as usize];
        let nullify = Vote::Nullify(Skipped { epoch: 0, view });
        let other = [
            Vote::Notarize(ballot(view, block)),
            Vote::Finalize(ballot(view, block)),
            nullify,
        ];
        conflict(
            &self.w.network(),
            &self.keys[at].1,
            one,
            other[self.random.below(3) as usize],
        )
    }

    fn compute(&mut self) -> Action {
        let (network, r) = (self.w.network(), &mut self.random);
        let (who, lease) = self.leases[r.below(self.leases.len() as u64) as usize];
        let before = self.w.state.head().before;
        let heartbeat = Heartbeat {
            lease,
            epoch: before.epoch,
            beacon: before.digest,
            gpu_evidence: Digest384([5; 48]),
        };
        let seconds = self.w.state.lease(&lease).map_or(0, |l| l.seconds) + r.below(8);
        Action::Claim(Claim::Compute(ComputeClaim {
            lease,
            epoch: heartbeat.epoch,
            gpu_evidence: heartbeat.gpu_evidence,
            heartbeat: self.w.boot.says(Domain::Heartbeat, &network, &heartbeat),
            lessee: self.w.users[who].public.clone(),
            seconds,
            signature: self.w.users[who].says(Domain::LeaseNote, &network, &LeaseNote { lease, seconds }),
        }))
    }

    /// New candidates, and old ones again; in some order.
    fn candidates(&mut self, seen: &mut Seen) -> Vec<VerifiedTx> {
        let mut nonces: Vec<u64> = (0..USERS as usize).map(|who| self.w.nonce(who)).collect();
        let mut all = Vec::new();
        for _ in 0..4 + self.random.below(20) {
            let who = self.random.below(USERS) as usize;
            let nonce = if self.random.one_in(12) {
                nonces[who] + self.random.below(3)
            } else {
                nonces[who]
            };
            let action = self.action(who, nonce);
            let who = if matches!(
                action,
                Action::Claim(Claim::Inference(_) | Claim::Compute(_) | Claim::Hosting(_))
            ) {
                0
            } else {
                who
            };
            let nonce = if who == 0 { nonces[0] } else { nonce };
            let mut network = self.w.network();
            if self.random.one_in(60) {
                network.id = TESTNET;
            }
            let mut tx = self.w.users[who].unsigned(&network, nonce, action);
            if self.random.one_in(40) {
                tx.expires = self.w.state.head().height + self.random.below(3);
            }
            let mut signed = self.w.users[who].signed(tx);
            if self.random.one_in(80) {
                signed.tx.fee += 1;
            }
            match signed.verify(&self.w.state) {
                Ok(tx) => {
                    nonces[who] += 1;
                    all.push(tx);
                }
                Err(why) => {
                    seen.steps += 1;
                    *seen.refused.entry(why.code()).or_default() += 1;
                }
            }
        }
        self.old.extend(all.iter().cloned());
        for _ in 0..self.random.below(10) {
            let at = self.random.below(self.old.len() as u64) as usize;
            all.extend(self.old.get(at).cloned());
        }
        if self.random.one_in(3) {
            self.random.shuffle(&mut all);
        }
        all
    }

    /// What a block did, told without the ledger's own words.
    fn account_for(&mut self, block: &VerifiedBlock, before: &State, seen: &mut Seen) {
        for tx in block.txs() {
            if let Action::ReportConflict(report) = &tx.tx().action {
                assert!(self.slashed.insert(report.key.clone()), "a key slashed twice");
                seen.slashed += 1;
            }
            let Action::Claim(claim) = &tx.tx().action else {
                seen.keys += u64::from(matches!(
                    tx.tx().action,
                    Action::RegisterValidator(_) | Action::RotateConsensusKey(_)
                ));
                continue;
            };
            seen.claims += 1;
            match claim {
                Claim::Inference(claim) => {
                    let receipt = SignedReceipt::from_bytes(&claim.receipt).unwrap().receipt;
                    assert!(
                        self.paid.insert((receipt.keyset_digest, receipt.seq)),
                        "a receipt paid twice"
                    );
                }
                Claim::Data(claim) => {
                    let delivery = (
                        claim.delivery.provider,
                        Address::of(&claim.recipient),
                        claim.delivery.seq,
                    );
                    assert!(self.delivered.insert(delivery), "a delivery paid twice");
                }
                _ => {}
            }
        }
        let (old, new) = (before.head(), self.w.state.head());
        let fresh = old.beacon.epoch != new.beacon.epoch;
        for (kind, paid) in new.paid.iter().enumerate() {
            self.earned[kind] += paid - if fresh { 0 } else { old.paid[kind] };
            assert!(
                *paid <= self.w.state.genesis().params.epoch_cap[kind],
                "a cap was passed"
            );
        }
        // Paid work never takes more out of the pool than its customers put there; hosting alone is emission.
        let backed: u128 = [0, 1, 3, 4].iter().map(|kind| self.earned[*kind]).sum();
        assert!(backed <= new.burned, "{backed} paid for {} given back", new.burned);
    }

    /// The rules of validators, told without the ledger's own words.
    fn validators(&self) {
        let state = &self.w.state;
        let (epoch, rules) = (state.head().beacon.epoch, &state.genesis().params);
        let mut windows: BTreeMap<Address, Vec<(u64, u64, u64)>> = BTreeMap::new();
        let (mut active, mut committees) = (0, 0);
        for (key, value) in state.entries() {
            match (key, value) {
                (Key::Validator(account), Value::Validator(validator)) => {
                    let live = state.consensus_key(&validator.key).unwrap();
                    assert_eq!((live.validator, live.incarnation), (*account, validator.incarnation));
                    let votes = validator.standing == Standing::Active;
                    assert_eq!(votes, live.until_epoch == u64::MAX);
                    active += u32::from(votes);
                    assert!(!votes || state.stake(account).bonded >= rules.stake_min);
                }
                (Key::ConsensusKey(_), Value::ConsensusKey(key)) => {
                    let window = (key.incarnation, key.from_epoch, key.until_epoch);
                    windows.entry(key.validator).or_default().push(window);
                    assert_eq!(key.slashed, self.slashed.contains(&key.public));
                }
                (Key::Committee(at), Value::Committee(committee)) => {
                    committees += 1;
                    assert!(*at == epoch || *at == epoch + 1);
                    let n = committee.members.len();
                    assert!(n == 0 || [4, 5, 6, 7].contains(&n), "{n} members");
                    let mut accounts = BTreeSet::new();
                    for member in committee.members.iter() {
                        assert!(accounts.insert(member.validator));
                        let key = state.consensus_key(&member.key).unwrap();
                        assert_eq!((key.validator, key.incarnation), (member.validator, member.incarnation));
                        assert!(
                            key.from_epoch <= *at && *at < key.until_epoch,
                            "a key outside its epochs"
                        );
                    }
                }
                _ => {}
            }
        }
        assert_eq!((active, committees), (state.head().validators, 2));
        for mut all in windows.into_values() {
            all.sort();
            for (at, pair) in all.windows(2).enumerate() {
                let ((one, _, until), (next, from, _)) = (pair[0], pair[1]);
                assert!(
                    one == at as u64 + 1 && next == one + 1 && until <= from,
                    "two keys at once"
                );
            }
        }
    }

    fn block(&mut self, seen: &mut Seen) {
        let all = self.candidates(seen);
        let proposer = self.w.users[3].address;
        let time = self.w.state.head().time_ms + 500 + self.random.below(3_000);
        // Proposals that lose: another order, another time. They leave no trace.
        if self.random.one_in(4) {
            let (root, mut other) = (self.w.state.root(), all.clone());
            self.random.shuffle(&mut other);
            seen.steps += other.len() as u64;
            let lost = self.w.state.propose(proposer, time + 7, other).unwrap();
            assert_eq!(lost.applied.supply().total(), Some(self.w.state.genesis().max_supply));
            assert_eq!(self.w.state.root(), root);
            seen.dropped += 1;
        }
        seen.steps += all.len() as u64;
        let proposal = self.w.state.propose(proposer, time, all).unwrap();
        for (_, why) in &proposal.rejected {
            *seen.refused.entry(why.code()).or_default() += 1;
        }
        let block = proposal.block;
        let applied = self.w.state.apply(&block).unwrap();
        assert_eq!(applied.root(), proposal.applied.root(), "proposer and validator differ");
        let before = self.w.state.clone();
        // A crash before the commit loses the block, which comes again; one after it keeps it whole.
        if self.random.one_in(9) {
            drop(applied);
            self.crash(seen);
            let applied = self.w.state.apply(&block).unwrap();
            self.w.state.commit(applied).unwrap();
        } else {
            self.w.state.commit(applied).unwrap();
        }
        if self.random.one_in(9) {
            self.crash(seen);
        }
        let supply = self.w.state.recount().unwrap();
        assert_eq!(supply, self.w.state.supply());
        assert_eq!(
            supply.total(),
            Some(self.w.state.genesis().max_supply),
            "money came or went"
        );
        seen.included += block.txs().len() as u64;
        seen.blocks += 1;
        self.account_for(&block, &before, seen);
        self.validators();
        self.w.blocks.push(block.to_block());
    }

    /// All that survives is bytes.
    fn crash(&mut self, seen: &mut Seen) {
        let stored: Vec<_> = self
            .w
            .state
            .entries()
            .iter()
            .map(|(k, v)| (k.to_bytes(), v.to_bytes()))
            .collect();
        let read = stored.iter().map(|(k, v)| {
            let key = Key::from_bytes("key", k, KEY_BYTES_MAX).unwrap();
            (key, Value::from_bytes("value", v, VALUE_BYTES_MAX).unwrap())
        });
        let (tip, root, genesis) = (self.w.state.tip(), self.w.state.root(), self.w.state.genesis().clone());
        self.w.state = State::restore(genesis, tip, &root, read.collect()).unwrap();
        seen.crashes += 1;
    }

    /// From the genesis on, out of the bytes of the blocks alone.
    fn replay(&self) {
        let mut state = State::new(self.w.state.genesis().clone()).unwrap();
        for block in &self.w.blocks {
            let block = Block::parse(&block.to_bytes()).unwrap().verify(&state).unwrap();
            let applied = state.apply(&block).unwrap();
            state.commit(applied).unwrap();
        }
        assert_eq!(state.root(), self.w.state.root(), "the replay leads elsewhere");
        assert_eq!(state.tip(), self.w.state.tip());
        assert_eq!(state.entries(), self.w.state.entries());
    }
}

#[test]
fn random_steps_conserve_the_supply_pay_each_receipt_once_and_replay_to_the_same_root() {
    let steps: u64 = std::env::var("HANZO_LEDGER_STEPS").map_or(5_000, |n| n.parse().unwrap());
    let first: u64 = std::env::var("HANZO_LEDGER_SEED").map_or(1, |n| n.parse().unwrap());
    let (mut seen, mut episodes) = (Seen::default(), 0);
    while seen.steps < steps {
        let seed = first.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(episodes);
        eprintln!("episode {episodes}: seed {seed}, {} steps so far", seen.steps);
        let mut episode = Episode::new(seed);
        for _ in 0..60 {
            episode.block(&mut seen);
        }
        episode.replay();
        episodes += 1;
    }
    eprintln!(
        "{} steps in {episodes} episodes: {} included in {} blocks, {} of them claims, {} consensus keys, {} slashed; {} proposals dropped, {} crashes; refused: {:?}",
        seen.steps,
        seen.included,
        seen.blocks,
        seen.claims,
        seen.keys,
        seen.slashed,
        seen.dropped,
        seen.crashes,
        seen.refused
    );
    assert!(seen.included > seen.steps / 20 && seen.claims > 20 && seen.crashes > 0 && seen.dropped > 0);
    assert!(seen.keys > 20 && seen.slashed > 0);
    for code in ["ledger.nonce", "ledger.network", "ledger.signature", "ledger.balance"] {
        assert!(seen.refused.contains_key(code), "{code} never happened");
    }
}
