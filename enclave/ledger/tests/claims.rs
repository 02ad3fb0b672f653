//! Each kind of reward against its evidence, and the nearest evidence that is refused, with the very error.

#[path = "support/fixture.rs"]
mod fixture;

use fixture::*;
use hanzo_attestation::Digest256;
use hanzo_ledger::claim::*;
use hanzo_ledger::*;
use hanzo_pqc::Domain;
use hanzo_verifier::receipt::{Outcome, ReceiptError};

fn pays(w: &mut World, answer: &Answer, fee: u128) -> Result<(), Reject> {
    let claim = answer.cosigned(&w.network(), &w.users[0], &w.users[1], fee);
    w.does(0, claimed(claim))
}

#[test]
fn an_answer_is_paid_once_for_the_customers_signature_and_within_what_the_fee_gave_back() {
    let mut w = world(params());
    let answer = w.boot.receipt(0, |_| {});
    let pool = w.state.supply().pool;
    pays(&mut w, &answer, 1_000).unwrap();
    // 20 % of 1,000 go back; 100 tokens at 3 would be 300, at most 80 % of 200 are paid.
    assert_eq!(w.balance(0), EACH + 800 + 160);
    assert_eq!(w.balance(1), EACH - 1_000);
    assert_eq!(w.state.supply().pool, pool + 200 - 160);
    assert_eq!(pays(&mut w, &answer, 1_000), Err(Reject::Claimed { seq: 0 }));
    // The same number in another receipt is the same number.
    let twin = w.boot.receipt(0, |r| r.completion_tokens = 41);
    assert_eq!(pays(&mut w, &twin, 1_000), Err(Reject::Claimed { seq: 0 }));
    // Well paid work has its rate and no more.
    let rich = w.boot.receipt(1, |_| {});
    pays(&mut w, &rich, 100_000).unwrap();
    assert_eq!(w.balance(0), EACH + 960 + 80_000 + 300);
    // A miner who is his own customer has less afterwards.
    let own = w.boot.receipt(2, |_| {});
    let before = w.balance(0);
    let claim = own.cosigned(&w.network(), &w.users[0], &w.users[0], 1_000);
    w.does(0, claimed(claim)).unwrap();
    assert_eq!(w.balance(0), before - 1_000 + 800 + 160);
    assert_eq!(w.state.supply(), w.state.recount().unwrap());
}

#[test]
fn an_answer_whose_counts_are_a_servers_word_earns_nothing() {
    use hanzo_attestation::keyset::CountedBy;
    let mut w = world(params());
    let counted = w.boot.receipt(0, |_| {});
    pays(&mut w, &counted, 1_000).unwrap();
    let lie = w.boot.receipt(1, |r| r.counted_by = Some(CountedBy::Upstream));
    assert!(matches!(
        pays(&mut w, &lie, 1_000),
        Err(Reject::Receipt(ReceiptError::Contradiction {
            field: "counted_by",
            ..
        }))
    ));
    let upstream = boot(2, |k| k.models[0].counted_by = Some(CountedBy::Upstream));
    let register = upstream.register(&w.network(), &w.users[0], 2, &w.registrars);
    w.does(0, register).unwrap();
    let told = upstream.receipt(0, |r| r.counted_by = Some(CountedBy::Upstream));
    let before = (w.balance(0), w.balance(1));
    let refused = pays(&mut w, &told, 1_000).unwrap_err();
    assert_eq!(
        (&refused, refused.code()),
        (&Reject::Counted, "ledger.receipt.counted_by")
    );
    let claim = told.cosigned(&w.network(), &w.users[0], &w.users[1], 1_000);
    assert_eq!(params().inference_pay(&claim).unwrap_err(), Reject::Counted);
    // One that leaves it out contradicts its keyset.
    let lie = upstream.receipt(0, |_| {});
    assert!(matches!(
        pays(&mut w, &lie, 1_000),
        Err(Reject::Receipt(ReceiptError::Contradiction {
            field: "counted_by",
            ..
        }))
    ));
    assert_eq!((w.balance(0), w.balance(1)), before);
}

#[test]
fn receipts_of_simulated_boots_earn_nothing_on_a_real_network() {
    let mut w = world(params());
    let simulated = boot(2, |k| k.simulated = true);
    let register = simulated.register(&w.network(), &w.users[0], 2, &w.registrars);
    assert_eq!(w.does(0, register), Err(Reject::Simulated { what: "boot" }));
    // A real boot's receipt that says simulated contradicts its keyset.
    let lie = w.boot.receipt(0, |r| r.simulated = true);
    let refused = pays(&mut w, &lie, 1_000);
    assert!(matches!(
        refused,
        Err(Reject::Receipt(ReceiptError::Contradiction { field: "simulated", .. }))
    ));

    // A test network that says so pays them; the main network's genesis cannot.
    let mut says_so = params();
    says_so.simulated_earns = true;
    let (users, registrars): (Vec<_>, Vec<_>) = ((0..4).map(user).collect(), (100..103).map(user).collect());
    let mut other = genesis(&users, &registrars, says_so);
    assert!(matches!(
        State::new(other.clone()),
        Err(GenesisError::Value {
            field: "params.simulated_earns",
            ..
        })
    ));
    other.id = TESTNET;
    let mut test = World {
        state: State::new(other).unwrap(),
        boot: simulated,
        users,
        registrars,
        blocks: vec![],
    };
    let register = test.boot.register(&test.network(), &test.users[0], 1, &test.registrars);
    test.does(0, register).unwrap();
    let answer = test.boot.receipt(0, |_| {});
    pays(&mut test, &answer, 1_000).unwrap();
    assert_eq!(test.balance(0), EACH + 960);
}

#[test]
fn each_part_of_an_inference_claim_has_its_refused_twin() {
    let mut w = world(params());
    let network = w.network();
    let good = w.boot.receipt(0, |_| {});
    let claim = |w: &World| good.cosigned(&network, &w.users[0], &w.users[1], 1_000);
    let signature = |what| Err(Reject::Signature { what });

    let mut more = claim(&w);
    more.fee += 1;
    assert_eq!(w.does(0, claimed(more)), signature("payment"));
    let mut other = claim(&w);
    other.customer = w.users[2].public.clone();
    assert_eq!(w.does(0, claimed(other)), signature("payment"));
    // Signed for another network, for another miner, or as another statement.
    let elsewhere = Network { id: TESTNET, ..network };
    let foreign = good.cosigned(&elsewhere, &w.users[0], &w.users[1], 1_000);
    assert_eq!(w.does(0, claimed(foreign)), signature("payment"));
    let foreign = good.cosigned(&network, &w.users[2], &w.users[1], 1_000);
    assert_eq!(w.does(0, claimed(foreign)), signature("payment"));
    let mut domain = claim(&w);
    let terms = PaymentTerms {
        miner: w.users[0].address,
        receipt: good.digest,
        fee: 1_000,
    };
    let signed = w.users[1].says(Domain::Delivery, &network, &terms);
    domain.payment = Payment::CoSigned(CoSigned { signature: signed });
    assert_eq!(w.does(0, claimed(domain)), signature("payment"));

    // Another account claims with the boot of user 0.
    let stolen = good.cosigned(&network, &w.users[2], &w.users[1], 1_000);
    assert_eq!(w.does(2, claimed(stolen)), Err(Reject::NotYours { what: "boot" }));
    // A byte of the receipt, a boot that nobody endorsed, an answer that failed, one that is too old or of tomorrow.
    let mut bytes = good.clone();
    let at = bytes.bytes.len() / 2;
    bytes.bytes[at] = if bytes.bytes[at] == b'1' { b'2' } else { b'1' };
    assert!(matches!(pays(&mut w, &bytes, 1_000), Err(Reject::Receipt(_))));
    let unknown = boot(3, |_| {}).receipt(0, |_| {});
    assert_eq!(pays(&mut w, &unknown, 1_000), Err(Reject::Unknown { what: "boot" }));
    let failed = w.boot.receipt(0, |r| r.outcome = Outcome::Failed);
    assert_eq!(pays(&mut w, &failed, 1_000), Err(Reject::Failed));
    let tomorrow = w.boot.receipt(0, |r| r.time += 3_600);
    assert!(matches!(pays(&mut w, &tomorrow, 1_000), Err(Reject::Age { .. })));
    // Nothing paid, nothing that it would be worth, more than there is.
    assert_eq!(
        pays(&mut w, &good, 0),
        Err(Reject::Zero {
            what: "fee of the customer"
        })
    );
    let kind = RewardKind::InferenceServing;
    assert_eq!(pays(&mut w, &good, 1), Err(Reject::Nothing { kind }));
    let need = EACH + 1;
    assert_eq!(
        pays(&mut w, &good, need),
        Err(Reject::Balance {
            what: "balance",
            need,
            have: EACH
        })
    );
    // None of this used the receipt up.
    let last = claim(&w);
    w.does(0, claimed(last)).unwrap();

    let mut old = world(Params {
        claim_age_s: 60,
        ..params()
    });
    old.block_after(120_000, vec![]);
    let answer = old.boot.receipt(0, |_| {});
    assert!(matches!(pays(&mut old, &answer, 1_000), Err(Reject::Age { .. })));
}

#[test]
fn a_voucher_pays_what_its_notes_say_and_the_rest_goes_back() {
    let mut w = world(params());
    let open = OpenVoucher {
        miner: w.users[0].address,
        amount: 5_000,
        expires: 20,
    };
    let id = Tx::id_of(&w.users[1].address, w.nonce(1));
    w.does(1, Action::OpenVoucher(open)).unwrap();
    assert_eq!(w.state.supply().escrows, 5_000);
    let network = w.network();
    let prepaid = |w: &World, seq, fee, cumulative| {
        claimed(
            w.boot
                .receipt(seq, |_| {})
                .prepaid(&network, &w.users[1], id, fee, cumulative),
        )
    };
    let one = prepaid(&w, 0, 1_000, 2_000);
    w.does(0, one).unwrap();
    let two = prepaid(&w, 1, 1_000, 2_000);
    w.does(0, two).unwrap();
    // One note is good for what it says, whatever the number of claims.
    let three = prepaid(&w, 2, 1, 2_000);
    assert!(matches!(
        w.does(0, three),
        Err(Reject::Balance {
            what: "voucher note",
            need: 2_001,
            have: 2_000
        })
    ));
    let more = prepaid(&w, 2, 3_001, 9_000);
    assert!(matches!(w.does(0, more), Err(Reject::Balance { what: "voucher", .. })));
    let forged = claimed(
        w.boot
            .receipt(2, |_| {})
            .prepaid(&network, &w.users[2], id, 1_000, 9_000),
    );
    assert_eq!(w.does(0, forged), Err(Reject::NotYours { what: "voucher" }));
    // Before it expires the customer cannot take it back; afterwards it pays nothing.
    let close = Action::CloseVoucher(Close { id });
    assert!(matches!(
        w.does(1, close.clone()),
        Err(Reject::Open { what: "voucher", .. })
    ));
    assert_eq!(w.does(2, close.clone()), Err(Reject::NotYours { what: "voucher" }));
    while w.state.head().height < 20 {
        w.block(vec![]);
    }
    let late = prepaid(&w, 2, 1_000, 3_000);
    assert!(matches!(
        w.does(0, late),
        Err(Reject::Expired {
            what: "voucher",
            expires: 20,
            height: 21
        })
    ));
    let before = w.balance(1);
    w.does(1, close.clone()).unwrap();
    assert_eq!(w.balance(1), before + 3_000 - 10);
    assert_eq!(w.state.supply().escrows, 0);
    assert_eq!(w.does(1, close), Err(Reject::Unknown { what: "voucher" }));
}

#[test]
fn gpu_seconds_are_paid_for_the_boots_heartbeat_and_the_lessees_word() {
    let mut w = world(params());
    let network = w.network();
    let open = OpenLease {
        keyset: w.boot.digest,
        gpus: 2,
        price: 10,
        seconds: 1_000,
        expires: NEVER,
    };
    let lease = Tx::id_of(&w.users[1].address, w.nonce(1));
    w.does(1, Action::OpenLease(open)).unwrap();
    assert_eq!(w.state.supply().escrows, 20_000);
    w.next_epoch();
    let (epoch, beacon) = (w.state.head().before.epoch, w.state.head().before.digest);
    let claim = |w: &World, epoch, beacon, seconds| {
        let gpu_evidence = hanzo_attestation::Digest384([5; 48]);
        let heartbeat = Heartbeat {
            lease,
            epoch,
            beacon,
            gpu_evidence,
        };
        ComputeClaim {
            lease,
            epoch,
            gpu_evidence,
            heartbeat: w.boot.says(Domain::Heartbeat, &network, &heartbeat),
            lessee: w.users[1].public.clone(),
            seconds,
            signature: w.users[1].says(Domain::LeaseNote, &network, &LeaseNote { lease, seconds }),
        }
    };
    let ask = |claim: ComputeClaim| Action::Claim(Claim::Compute(claim));
    let good = claim(&w, epoch, beacon, 60);
    let mut stale = good.clone();
    stale.heartbeat = claim(&w, epoch, Digest256([1; 32]), 60).heartbeat;
    assert_eq!(w.does(0, ask(stale)), Err(Reject::Signature { what: "heartbeat" }));
    let mut other = good.clone();
    other.gpu_evidence = hanzo_attestation::Digest384([6; 48]);
    assert_eq!(w.does(0, ask(other)), Err(Reject::Signature { what: "heartbeat" }));
    let mut more = good.clone();
    more.seconds = 61;
    assert_eq!(w.does(0, ask(more)), Err(Reject::Signature { what: "lease note" }));
    let mut unsigned = good.clone();
    unsigned.lessee = w.users[2].public.clone();
    unsigned.signature = w.users[2].says(Domain::LeaseNote, &network, &LeaseNote { lease, seconds: 60 });
    assert_eq!(w.does(0, ask(unsigned)), Err(Reject::NotYours { what: "lease" }));
    let running = claim(&w, epoch + 1, w.state.head().beacon.digest, 60);
    assert!(matches!(w.does(0, ask(running)), Err(Reject::Epoch { .. })));
    let long = claim(&w, epoch, beacon, 1_000);
    assert!(matches!(
        w.does(0, ask(long)),
        Err(Reject::Balance {
            what: "seconds of the epoch",
            ..
        })
    ));
    let before = w.balance(0);
    w.does(0, ask(good.clone())).unwrap();
    // 120 GPU-seconds at 10: 1,200, of which 240 go back; at most 90 % of them are the reward.
    assert_eq!(w.balance(0), before + 960 + 216);
    let again = claim(&w, epoch, beacon, 90);
    assert!(matches!(w.does(0, ask(again)), Err(Reject::Epoch { .. })));
    let refused = w.does(1, Action::CloseLease(Close { id: lease }));
    assert!(matches!(
        refused,
        Err(Reject::Open {
            what: "lease",
            expires: NEVER,
            ..
        })
    ));
    w.does(0, Action::CloseLease(Close { id: lease })).unwrap();
    assert_eq!(w.state.supply().escrows, 0);
}

fn register_model(w: &mut World, bytes: u64) -> Result<(), Reject> {
    let register = RegisterModel {
        root: weights_root(),
        licence: Digest256([1; 32]),
        bytes,
        leaves: LEAVES,
    };
    w.does(2, Action::RegisterModel(register))
}

#[test]
fn a_registration_is_paid_once_out_of_what_its_customers_gave_back() {
    let mut w = world(params());
    assert!(matches!(
        register_model(&mut w, 6 << 20),
        Err(Reject::Balance {
            what: "room of the leaves",
            ..
        })
    ));
    register_model(&mut w, 5 << 20).unwrap();
    assert_eq!(w.state.supply().deposits, 4 * STAKE + 5_000);
    assert_eq!(register_model(&mut w, 5 << 20), Err(Reject::Exists { what: "model" }));
    let claim = Action::Claim(Claim::Registration(RegistrationClaim { root: weights_root() }));
    let kind = RewardKind::ModelRegistration;
    assert_eq!(w.does(2, claim.clone()), Err(Reject::Nothing { kind }));
    let answer = w.boot.receipt(0, |_| {});
    pays(&mut w, &answer, 10_000).unwrap();
    assert_eq!(w.does(1, claim.clone()), Err(Reject::NotYours { what: "model" }));
    let before = w.balance(2);
    w.does(2, claim.clone()).unwrap();
    assert_eq!(w.balance(2), before + 400);
    assert_eq!(
        w.does(2, claim),
        Err(Reject::Exists {
            what: "reward of this registration"
        })
    );
    w.does(2, Action::RetireModel(Close { id: weights_root() })).unwrap();
    assert_eq!(w.state.supply().deposits, 4 * STAKE);
}

#[test]
fn hosting_is_paid_for_the_leaf_that_the_beacon_chose_once_an_epoch() {
    let mut w = world(Params {
        rate: [2, 50, 10_000_000, 500, 3],
        ..params()
    });
    let network = w.network();
    register_model(&mut w, 5 << 20).unwrap();
    let ask = |claim: HostingClaim| Action::Claim(Claim::Hosting(claim));
    w.next_epoch();
    // The boot came in the middle of epoch 0.
    let head = *w.state.head();
    let early = w.boot.resident(&network, head.before.digest, head.before.epoch);
    assert!(matches!(
        w.does(0, ask(early.clone())),
        Err(Reject::Demand { min: 100, got: 0 })
    ));
    let answer = w.boot.receipt(0, |_| {});
    pays(&mut w, &answer, 10_000).unwrap();
    assert_eq!(w.does(0, ask(early)), Err(Reject::Epoch { expected: 1, got: 0 }));
    w.next_epoch();
    let head = *w.state.head();
    let good = w.boot.resident(&network, head.before.digest, head.before.epoch);
    let mut leaf = good.clone();
    leaf.leaf = Digest256([1; 32]);
    assert!(matches!(w.does(0, ask(leaf)), Err(Reject::Residency { .. })));
    let mut answer = good.clone();
    answer.answer = Digest256([1; 32]);
    assert_eq!(w.does(0, ask(answer)), Err(Reject::Signature { what: "residency" }));
    let mut other = good.clone();
    other.signature = boot(4, |_| {})
        .resident(&network, head.before.digest, head.before.epoch)
        .signature;
    assert_eq!(w.does(0, ask(other)), Err(Reject::Signature { what: "residency" }));
    assert_eq!(w.does(1, ask(good.clone())), Err(Reject::NotYours { what: "boot" }));
    let before = w.balance(0);
    w.does(0, ask(good.clone())).unwrap();
    let seconds = u128::from((head.beacon.time_ms - head.before.time_ms) / 1000);
    assert_eq!(
        w.balance(0),
        before + (5_u128 << 20) * seconds * 10_000_000 / ((1 << 30) * 3600)
    );
    assert_eq!(w.does(0, ask(good)), Err(Reject::Epoch { expected: 2, got: 1 }));
}

#[test]
fn deliveries_are_paid_once_and_only_for_the_recipients_signature() {
    let mut w = world(params());
    let network = w.network();
    let claim = |w: &World, seq, fee| {
        let delivery = Delivery {
            provider: w.users[2].address,
            seq,
            chunk_root: Digest256([4; 32]),
            bytes: 10_000,
            fee,
        };
        DataClaim {
            recipient: w.users[1].public.clone(),
            signature: w.users[1].says(Domain::Delivery, &network, &delivery),
            delivery,
        }
    };
    let ask = |claim: DataClaim| Action::Claim(Claim::Data(claim));
    let good = claim(&w, 7, 1_000);
    let mut bytes = good.clone();
    bytes.delivery.bytes += 1;
    assert_eq!(w.does(2, ask(bytes)), Err(Reject::Signature { what: "delivery" }));
    let mut own = good.clone();
    own.signature = w.users[2].says(Domain::Delivery, &network, &own.delivery);
    assert_eq!(w.does(2, ask(own)), Err(Reject::Signature { what: "delivery" }));
    assert_eq!(w.does(0, ask(good.clone())), Err(Reject::NotYours { what: "delivery" }));
    let free = claim(&w, 7, 0);
    assert_eq!(
        w.does(2, ask(free)),
        Err(Reject::Zero {
            what: "fee of the recipient"
        })
    );
    w.does(2, ask(good.clone())).unwrap();
    assert_eq!(w.balance(2), EACH + 800 + 180);
    assert_eq!(w.does(2, ask(good)), Err(Reject::Claimed { seq: 7 }));
    let earlier = claim(&w, 3, 1_000);
    w.does(2, ask(earlier)).unwrap();
}

#[test]
fn caps_hold_for_a_kind_and_for_a_miner_until_the_next_epoch() {
    let mut caps = params();
    caps.epoch_cap[RewardKind::InferenceServing as usize] = 300;
    let mut w = world(caps);
    let answers: Vec<_> = (0..3).map(|seq| w.boot.receipt(seq, |_| {})).collect();
    pays(&mut w, &answers[0], 1_000).unwrap();
    let kind = RewardKind::InferenceServing;
    let refused = Err(Reject::EpochCap {
        kind,
        wanted: 160,
        left: 140,
    });
    assert_eq!(pays(&mut w, &answers[1], 1_000), refused);
    w.next_epoch();
    pays(&mut w, &answers[1], 1_000).unwrap();

    let mut w = world(Params {
        miner_cap: 200,
        ..params()
    });
    pays(&mut w, &answers[0], 1_000).unwrap();
    assert_eq!(
        pays(&mut w, &answers[1], 1_000),
        Err(Reject::MinerCap { wanted: 160, left: 40 })
    );
    w.next_epoch();
    pays(&mut w, &answers[1], 1_000).unwrap();
    assert_eq!(w.state.miner(&w.users[0].address).paid, 160);
}

#[test]
fn a_boot_needs_its_registrars_a_higher_incarnation_and_a_block_of_its_own() {
    let mut w = world(params());
    let network = w.network();
    let second = boot(2, |_| {});
    let again = w.boot.register(&network, &w.users[0], 2, &w.registrars);
    assert_eq!(w.does(0, again), Err(Reject::Exists { what: "boot" }));
    let low = second.register(&network, &w.users[0], 1, &w.registrars);
    assert_eq!(w.does(0, low), Err(Reject::Incarnation { last: 1, got: 1 }));
    let foreign = second.register(&network, &w.users[1], 2, &w.registrars);
    assert_eq!(w.does(0, foreign), Err(Reject::Signature { what: "endorsement" }));
    let Action::RegisterBoot(good) = second.register(&network, &w.users[0], 2, &w.registrars) else {
        unreachable!()
    };
    let one = RegisterBoot {
        endorsements: List::new(good.endorsements[..1].to_vec()).unwrap(),
        ..good.clone()
    };
    assert_eq!(
        w.does(0, Action::RegisterBoot(one)),
        Err(Reject::Endorsements { need: 2, got: 1 })
    );
    let mut twice = good.endorsements[..1].to_vec();
    twice.extend_from_slice(&good.endorsements[..1]);
    let twice = RegisterBoot {
        endorsements: List::new(twice).unwrap(),
        ..good.clone()
    };
    assert!(matches!(
        w.does(0, Action::RegisterBoot(twice)),
        Err(Reject::Decode(DecodeError::Order { at: 1, .. }))
    ));
    let mut spelling = good.keyset.to_vec();
    spelling.push(b' ');
    let spelling = RegisterBoot {
        keyset: Bounded::new(spelling).unwrap(),
        ..good.clone()
    };
    assert!(matches!(
        w.does(0, Action::RegisterBoot(spelling)),
        Err(Reject::Keyset { .. })
    ));
    let tier = boot(5, |k| k.tier = 0);
    let register = tier.register(&network, &w.users[0], 2, &w.registrars);
    w.does(0, register).unwrap();
    let answer = tier.receipt(0, |_| {});
    assert_eq!(pays(&mut w, &answer, 1_000), Err(Reject::Tier { min: 1, got: 0 }));
}
