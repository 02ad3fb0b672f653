//! Validators: who comes, with which key, who votes when, who leaves, and what two conflicting votes cost; each with its refused twin.

#![allow(clippy::result_large_err, reason = "tests stop at the first surprise")]

#[path = "support/fixture.rs"]
mod fixture;

use fixture::*;
use hanzo_attestation::Digest256;
use hanzo_ledger::*;
use hanzo_pqc::Domain;

fn key_of(w: &World, owner: &User, n: u16, incarnation: u64) -> NewKey {
    new_key(&w.network(), &owner.address, &user(n), incarnation, &w.registrars)
}

fn register(w: &mut World, who: usize, bond: u128, key: NewKey) -> Result<(), Reject> {
    w.does(who, Action::RegisterValidator(RegisterValidator { bond, key }))
}

/// Anybody may send it: user 3 does.
fn rotate(w: &mut World, owner: &User, key: NewKey) -> Result<(), Reject> {
    let action = rotation(&w.network(), owner, key);
    w.does(3, action)
}

fn keys(w: &World, epoch: u64) -> Vec<(Address, u64)> {
    let committee = w.state.committee(epoch).unwrap();
    let members = committee.members.iter();
    members.map(|m| (m.validator, m.incarnation)).collect()
}

/// Something that a validator's owner asks for.
fn asks(w: &mut World, owner: &User, action: Action) -> Result<(), Reject> {
    let nonce = w.state.account(&owner.address).nonce;
    let mut tx = owner.unsigned(&w.network(), nonce, action);
    tx.fee = 10;
    w.takes(owner.signed(tx))
}

#[test]
fn the_genesis_names_the_first_committee_of_an_admitted_size() {
    let w = world(params());
    let genesis = w.state.genesis().clone();
    assert_eq!(w.state.head().validators, 4);
    assert_eq!(w.state.supply().deposits, 4 * STAKE);
    let members = &w.state.committee(0).unwrap().members;
    assert_eq!(members.len(), 4);
    assert_eq!(w.state.committee(0), w.state.committee(1));
    assert_eq!(w.state.committee(2), None);
    for member in members.iter() {
        let key = w.state.consensus_key(&member.key).unwrap();
        assert_eq!(
            (key.validator, key.from_epoch, key_digest(&key.public)),
            (member.validator, 0, member.key)
        );
    }
    type Change = fn(&mut Genesis);
    let refused: [(Change, &str); 11] = [
        (
            |g| g.validators = List::new(g.validators[..3].to_vec()).unwrap(),
            "validators",
        ),
        (|g| g.params.committee_max = 16, "params.committee_max"),
        (|g| g.params.committee_max = 3, "params.committee_max"),
        (|g| g.params.committee_min = 3, "params.committee_min"),
        (|g| g.params.committee_min = 8, "params.committee_min"),
        (|g| g.params.committee_min = 5, "validators"),
        (|g| g.params.stake_min = STAKE + 1, "validators.stake"),
        (|g| g.params.slash_bp = 10_001, "params.slash_bp"),
        (|g| g.params.reporter_bp = 5_001, "params.reporter_bp"),
        (|g| g.params.simulated_votes = true, "params.simulated_votes"),
        (|g| g.params.unbond_epochs = 2, "params.unbond_epochs"),
    ];
    for (change, expected) in refused {
        let mut other = genesis.clone();
        change(&mut other);
        match State::new(other) {
            Err(GenesisError::Value { field, .. }) => assert_eq!(field, expected),
            other => panic!("{expected}: {:?}", other.map(|s| s.root())),
        }
    }
    let mut twice = genesis.clone();
    let mut all = twice.validators.to_vec();
    all[1].key = all[0].key.clone();
    twice.validators = List::new(all.clone()).unwrap();
    assert!(matches!(
        State::new(twice),
        Err(GenesisError::Value {
            field: "validators.key",
            ..
        })
    ));
    let mut order = genesis;
    all.swap(0, 1);
    order.validators = List::new(all).unwrap();
    assert!(matches!(
        State::new(order),
        Err(GenesisError::Decode(DecodeError::Order {
            what: "Genesis.validators",
            at: 1
        }))
    ));
}

#[test]
fn a_validator_needs_a_stake_and_votes_from_the_second_epoch_on() {
    let mut w = world(params());
    let owner = user(1);
    let key = key_of(&w, &owner, 400, 1);
    let short = Reject::Balance {
        what: "stake",
        need: STAKE,
        have: STAKE - 1,
    };
    assert_eq!(register(&mut w, 1, STAKE - 1, key.clone()), Err(short));
    assert_eq!((w.balance(1), w.nonce(1)), (EACH, 0), "nothing of it stays");
    // The stake may be there before.
    w.does(1, Action::Bond(Amount { amount: STAKE / 2 })).unwrap();
    register(&mut w, 1, STAKE / 2, key.clone()).unwrap();
    assert_eq!(w.state.stake(&owner.address).bonded, STAKE);
    assert_eq!(w.state.head().validators, 5);
    assert_eq!(
        register(&mut w, 1, STAKE, key),
        Err(Reject::Exists { what: "validator" })
    );
    let registered = w.state.consensus_key(&key_digest(&user(400).public)).unwrap();
    assert_eq!((registered.from_epoch, registered.until_epoch), (2, u64::MAX));
    let has = |w: &World, epoch| keys(w, epoch).contains(&(owner.address, 1));
    assert!(!has(&w, 0) && !has(&w, 1));
    w.next_epoch();
    assert!(!has(&w, 1) && has(&w, 2));
    assert_eq!(w.state.committee(0), None);
    // What is needed cannot be taken out while it votes.
    let spare = Reject::Balance {
        what: "stake above stake_min",
        need: 1,
        have: 0,
    };
    assert_eq!(w.does(1, Action::Unbond(Amount { amount: 1 })), Err(spare));
}

#[test]
fn each_part_of_what_shows_a_key_has_its_refused_twin() {
    let mut w = world(params());
    let (network, owner) = (w.network(), user(1));
    let good = key_of(&w, &owner, 400, 1);
    let tries = |w: &mut World, key| register(w, 1, STAKE, key);
    let wrong = |what| Err(Reject::Signature { what });
    // Held by somebody else; for another validator, incarnation or network; signed as something else.
    let mut other = good.clone();
    other.possession = user(401).sign(
        Domain::ChainPossession,
        &good.possession_message(&network, &owner.address),
    );
    assert_eq!(tries(&mut w, other), wrong("consensus key"));
    let foreign = Network { id: TESTNET, ..network };
    for text in [
        good.possession_message(&network, &user(2).address),
        good.possession_message(&foreign, &owner.address),
    ] {
        let mut other = good.clone();
        other.possession = user(400).sign(Domain::ChainPossession, &text);
        assert_eq!(tries(&mut w, other), wrong("consensus key"));
    }
    let mut domain = good.clone();
    domain.possession = user(400).sign(Domain::RotateKey, &good.possession_message(&network, &owner.address));
    assert_eq!(tries(&mut w, domain), wrong("consensus key"));
    // What the registrars endorsed is exactly this.
    type Change = fn(&mut NewKey);
    let changes: [Change; 3] = [
        |k| k.evidence = Digest256([6; 32]),
        |k| k.tier = 3,
        |k| k.simulated = true,
    ];
    for change in changes {
        let mut other = good.clone();
        change(&mut other);
        assert_eq!(tries(&mut w, other), wrong("endorsement"));
    }
    let mut few = good.clone();
    few.endorsements = List::new(few.endorsements[..1].to_vec()).unwrap();
    assert_eq!(tries(&mut w, few), Err(Reject::Endorsements { need: 2, got: 1 }));
    let mut twice = good.clone();
    twice.endorsements = List::new(vec![good.endorsements[0].clone(); 2]).unwrap();
    assert!(matches!(
        tries(&mut w, twice),
        Err(Reject::Decode(DecodeError::Order { at: 1, .. }))
    ));
    let mut unknown = good.clone();
    let mut all = good.endorsements.to_vec();
    all[1].registrar = 3;
    unknown.endorsements = List::new(all).unwrap();
    assert_eq!(tries(&mut w, unknown), Err(Reject::Unknown { what: "registrar" }));
    // Endorsed as a boot, not as a key.
    let mut boot = good.clone();
    let mut all = good.endorsements.to_vec();
    let mut registrars: Vec<_> = (100..103).map(user).collect();
    registrars.sort_by(|a, b| a.public.cmp(&b.public));
    all[0].signature = registrars[0].says(Domain::Endorsement, &network, &good.endorsed(&owner.address));
    boot.endorsements = List::new(all).unwrap();
    assert_eq!(tries(&mut w, boot), wrong("endorsement"));
    // Endorsed, and refused all the same.
    let but = |w: &World, change: fn(&mut NewKey)| {
        new_key_but(&w.network(), &owner.address, &user(400), 1, &w.registrars, change)
    };
    let key = but(&w, |k| k.simulated = true);
    assert_eq!(tries(&mut w, key), Err(Reject::Simulated { what: "consensus key" }));
    let key = but(&w, |k| k.tier = 0);
    assert_eq!(tries(&mut w, key), Err(Reject::Tier { min: 1, got: 0 }));
    for got in [0, 2] {
        let key = key_of(&w, &owner, 400, got);
        assert_eq!(tries(&mut w, key), Err(Reject::NextIncarnation { expected: 1, got }));
    }
    // A key that is somebody's already.
    let key = new_key(&network, &owner.address, &first(0).1, 1, &w.registrars);
    assert_eq!(tries(&mut w, key), Err(Reject::Exists { what: "consensus key" }));
    assert_eq!(w.state.validator(&owner.address), None);
    tries(&mut w, good).unwrap();
}

#[test]
fn simulated_evidence_votes_where_the_genesis_says_so() {
    let mut w = world(params());
    let mut genesis = w.state.genesis().clone();
    genesis.id = TESTNET;
    genesis.params.simulated_votes = true;
    w.state = State::new(genesis).unwrap();
    let owner = user(1);
    let key = new_key_but(&w.network(), &owner.address, &user(400), 1, &w.registrars, |k| {
        k.simulated = true
    });
    register(&mut w, 1, STAKE, key).unwrap();
}

#[test]
fn a_new_key_ends_the_one_before_and_their_epochs_do_not_meet() {
    let mut w = world(params());
    let (owner, old) = first(2);
    let network = w.network();
    let good = key_of(&w, &owner, 400, 2);
    // By its owner alone, with exactly this evidence and key.
    let mut forged = RotateConsensusKey {
        owner: owner.public.clone(),
        signature: user(3).sign(Domain::RotateKey, &good.rotation_message(&network, &owner.address)),
        key: good.clone(),
    };
    assert_eq!(
        w.does(3, Action::RotateConsensusKey(forged.clone())),
        Err(Reject::Signature { what: "owner" })
    );
    let mut other = good.clone();
    other.evidence = Digest256([6; 32]);
    forged.signature = owner.sign(Domain::RotateKey, &other.rotation_message(&network, &owner.address));
    assert_eq!(
        w.does(3, Action::RotateConsensusKey(forged)),
        Err(Reject::Signature { what: "owner" })
    );
    let nobody = key_of(&w, &user(2), 400, 1);
    assert_eq!(
        rotate(&mut w, &user(2), nobody),
        Err(Reject::Unknown { what: "validator" })
    );
    for got in [0, 1, 3] {
        let key = key_of(&w, &owner, 400, got);
        assert_eq!(
            rotate(&mut w, &owner, key),
            Err(Reject::NextIncarnation { expected: 2, got })
        );
    }
    rotate(&mut w, &owner, good.clone()).unwrap();
    assert_eq!(
        rotate(&mut w, &owner, good),
        Err(Reject::NextIncarnation { expected: 3, got: 2 })
    );
    let again = key_of(&w, &owner, 400, 3);
    assert_eq!(
        rotate(&mut w, &owner, again),
        Err(Reject::Exists { what: "consensus key" })
    );
    // Two boots within one epoch: the first of the two keys never votes.
    let third = key_of(&w, &owner, 401, 3);
    rotate(&mut w, &owner, third).unwrap();
    let window = |w: &World, key: &User| {
        let key = w.state.consensus_key(&key_digest(&key.public)).unwrap();
        (key.from_epoch, key.until_epoch)
    };
    assert_eq!(window(&w, &old), (0, 2));
    assert_eq!(window(&w, &user(400)), (2, 2));
    assert_eq!(window(&w, &user(401)), (2, u64::MAX));
    let mine = |w: &World, epoch| {
        let all = keys(w, epoch);
        all.into_iter().filter(|(v, _)| *v == owner.address).collect::<Vec<_>>()
    };
    assert_eq!(
        (mine(&w, 0), mine(&w, 1)),
        (vec![(owner.address, 1)], vec![(owner.address, 1)])
    );
    w.next_epoch();
    // Too late for the epoch that is fixed now.
    let fourth = key_of(&w, &owner, 402, 4);
    rotate(&mut w, &owner, fourth).unwrap();
    assert_eq!(
        (mine(&w, 1), mine(&w, 2)),
        (vec![(owner.address, 1)], vec![(owner.address, 3)])
    );
    w.next_epoch();
    assert_eq!(
        (mine(&w, 2), mine(&w, 3)),
        (vec![(owner.address, 3)], vec![(owner.address, 4)])
    );
    assert_eq!(window(&w, &user(401)), (2, 3));
    assert_eq!(w.state.validator(&owner.address).unwrap().incarnation, 4);
}

#[test]
fn the_committee_is_of_the_greatest_stakes_and_of_an_admitted_size() {
    let mut rules = params();
    rules.committee_max = 15;
    let mut w = world_of(17, rules);
    // 4 of the genesis and 12 more are 16, which is not admitted: 15 vote.
    for n in 0..12_u16 {
        let key = key_of(&w, &user(n), 400 + n, 1);
        register(&mut w, usize::from(n), STAKE + 1 + u128::from(n), key).unwrap();
    }
    let fixed_at = w.state.head().beacon.epoch + 2;
    let expected = w.state.next_committee();
    w.next_epoch();
    let committee = w.state.committee(fixed_at).unwrap().clone();
    assert_eq!(committee, expected);
    assert_eq!(committee.members.len(), 15);
    assert!(committee.members.is_sorted_by(|a, b| a.validator < b.validator));
    // Of the four equal and lowest stakes it is the highest account that has no place.
    let mut lowest: Vec<_> = (0..4).map(|n| first(n).0.address).collect();
    lowest.sort();
    let out: Vec<_> = lowest
        .iter()
        .filter(|a| !keys(&w, fixed_at).iter().any(|(v, _)| v == *a))
        .collect();
    assert_eq!(out, [&lowest[3]]);
}

#[test]
fn whoever_leaves_votes_to_the_end_of_what_is_fixed_and_its_stake_outlasts_that() {
    let mut w = world(params());
    let owner = user(1);
    let key = key_of(&w, &owner, 400, 1);
    // The first four are as few as may be.
    let few = Err(Reject::Validators { min: 4, got: 4 });
    assert_eq!(
        w.does(1, Action::LeaveValidators(Nothing {})),
        Err(Reject::Unknown { what: "validator" })
    );
    let fee = transfer(&first(0).0, 1_000);
    w.does(2, fee).unwrap();
    assert_eq!(asks(&mut w, &first(0).0, Action::LeaveValidators(Nothing {})), few);
    register(&mut w, 1, STAKE, key).unwrap();
    w.next_epoch();
    w.next_epoch();
    let epoch = w.state.head().beacon.epoch;
    assert!(keys(&w, epoch).contains(&(owner.address, 1)));
    w.does(1, Action::LeaveValidators(Nothing {})).unwrap();
    assert_eq!(w.state.head().validators, 4);
    let got = Standing::Left;
    assert_eq!(
        w.does(1, Action::LeaveValidators(Nothing {})),
        Err(Reject::Standing { got })
    );
    let key = key_of(&w, &owner, 401, 2);
    assert_eq!(rotate(&mut w, &owner, key), Err(Reject::Standing { got }));
    let stake = w.state.stake(&owner.address);
    assert_eq!(
        (stake.bonded, stake.releasing, stake.release_epoch),
        (0, STAKE, epoch + 3)
    );
    let until = w
        .state
        .consensus_key(&key_digest(&user(400).public))
        .unwrap()
        .until_epoch;
    assert_eq!(until, epoch + 2);
    assert!(keys(&w, epoch + 1).contains(&(owner.address, 1)), "fixed before");
    w.next_epoch();
    assert!(!keys(&w, epoch + 2).contains(&(owner.address, 1)));
    w.next_epoch();
    let early = Reject::Epoch {
        expected: epoch + 3,
        got: epoch + 2,
    };
    assert_eq!(w.does(1, Action::Withdraw(Nothing {})), Err(early));
    // Votes of its last epochs still cost it what is on its way back.
    w.next_epoch();
    w.does(1, Action::Withdraw(Nothing {})).unwrap();
    // It comes again under the next number, and no other.
    let key = key_of(&w, &owner, 402, 1);
    assert_eq!(
        register(&mut w, 1, STAKE, key),
        Err(Reject::NextIncarnation { expected: 2, got: 1 })
    );
    let key = key_of(&w, &owner, 402, 2);
    register(&mut w, 1, STAKE, key).unwrap();
    assert_eq!(w.state.validator(&owner.address).unwrap().standing, Standing::Active);
}

#[test]
fn two_conflicting_votes_cost_part_of_the_stake_once_and_the_validator_its_place() {
    let nullify = Vote::Nullify(Skipped { epoch: 0, view: 7 });
    let pairs = [
        (Vote::Notarize(ballot(7, 1)), Vote::Notarize(ballot(7, 2))),
        (Vote::Finalize(ballot(7, 2)), Vote::Finalize(ballot(7, 1))),
        (nullify, Vote::Finalize(ballot(7, 1))),
    ];
    for (one, other) in pairs {
        let mut w = world(params());
        let (network, (owner, key)) = (w.network(), first(1));
        let good = conflict(&network, &key, one, other);
        let Action::ReportConflict(report) = good.clone() else {
            unreachable!()
        };
        let tries = |w: &mut World, change: &dyn Fn(&mut ReportConflict)| {
            let mut report = report.clone();
            change(&mut report);
            w.does(1, Action::ReportConflict(report))
        };
        // The same vote twice, another view, an unknown key, votes of another network, another key or another kind.
        assert!(matches!(
            tries(&mut w, &|r| r.second = r.first.clone()),
            Err(Reject::NoConflict { .. })
        ));
        let later = cast(&network, &key, Vote::Finalize(ballot(8, 1)));
        assert!(matches!(
            tries(&mut w, &|r| r.second = later.clone()),
            Err(Reject::NoConflict { .. })
        ));
        let wrong = |what| Err(Reject::Signature { what });
        let foreign = Network { id: TESTNET, ..network };
        assert_eq!(
            tries(&mut w, &|r| r.second = cast(&foreign, &key, other)),
            wrong("second vote")
        );
        assert_eq!(
            tries(&mut w, &|r| r.first = cast(&network, &user(9), one)),
            wrong("first vote")
        );
        let kind = key.sign(Domain::Transaction, &one.message(&network));
        assert_eq!(
            tries(&mut w, &|r| r.first.signature = kind.clone()),
            wrong("first vote")
        );
        let stranger = conflict(&network, &user(9), one, other);
        assert_eq!(w.does(1, stranger), Err(Reject::Unknown { what: "consensus key" }));
        assert_eq!(w.state.stake(&owner.address).bonded, STAKE);

        let before = (w.balance(1), w.state.supply());
        w.does(1, good.clone()).unwrap();
        let jailed_in = w.state.head().beacon.epoch;
        assert_eq!(keys(&w, jailed_in + 1).len(), 4, "fixed before");
        // A quarter of the stake, a tenth of that for the reporter.
        assert_eq!(w.state.stake(&owner.address).bonded, STAKE - 2_500);
        assert_eq!(w.balance(1), before.0 + 250);
        assert_eq!(w.state.supply().pool, before.1.pool + 2_250);
        assert_eq!(w.state.supply().total(), before.1.total());
        assert_eq!(w.state.validator(&owner.address).unwrap().standing, Standing::Jailed);
        assert_eq!(w.state.head().validators, 3);
        // Once, however it is told, whoever tells it.
        let digest = key_digest(&key.public);
        let again = conflict(&network, &key, other, one);
        assert_eq!(w.does(2, again), Err(Reject::Slashed { key: digest }));
        let more = conflict(
            &network,
            &key,
            Vote::Notarize(ballot(9, 1)),
            Vote::Notarize(ballot(9, 2)),
        );
        assert_eq!(w.does(2, more), Err(Reject::Slashed { key: digest }));
        // It does not come back, and gets the rest.
        let next = key_of(&w, &owner, 400, 2);
        let got = Standing::Jailed;
        assert_eq!(rotate(&mut w, &owner, next.clone()), Err(Reject::Standing { got }));
        let fee = transfer(&owner, 1_000);
        w.does(2, fee).unwrap();
        let register = RegisterValidator { bond: 0, key: next };
        assert_eq!(
            asks(&mut w, &owner, Action::RegisterValidator(register)),
            Err(Reject::Standing { got })
        );
        asks(&mut w, &owner, Action::LeaveValidators(Nothing {})).unwrap();
        assert_eq!(w.state.stake(&owner.address).releasing, STAKE - 2_500);
        assert_eq!(
            asks(&mut w, &owner, Action::LeaveValidators(Nothing {})),
            Err(Reject::Zero { what: "stake" })
        );
        // Three are no committee: from the third epoch on nobody decides.
        while w.state.head().beacon.epoch <= jailed_in {
            w.next_epoch();
        }
        assert_eq!(keys(&w, jailed_in + 2), []);
    }
}

#[test]
fn an_ended_keys_votes_cost_what_its_validator_has_at_stake_even_on_its_way_back() {
    let mut w = world(params());
    let owner = user(1);
    let key = key_of(&w, &owner, 400, 1);
    register(&mut w, 1, STAKE, key).unwrap();
    let key = key_of(&w, &owner, 401, 2);
    rotate(&mut w, &owner, key).unwrap();
    w.does(1, Action::LeaveValidators(Nothing {})).unwrap();
    let report = |n| {
        let (one, other) = (Vote::Notarize(ballot(7, 1)), Vote::Notarize(ballot(7, 2)));
        conflict(&world(params()).network(), &user(n), one, other)
    };
    w.does(2, report(400)).unwrap();
    assert_eq!(w.state.stake(&owner.address).releasing, STAKE - 2_500);
    assert_eq!(w.state.head().validators, 4, "it had left");
    // Each key once: its other key is another evidence.
    w.does(2, report(401)).unwrap();
    assert_eq!(w.state.stake(&owner.address).releasing, STAKE - 2_500 - 1_875);
    assert_eq!(w.state.validator(&owner.address).unwrap().standing, Standing::Jailed);
}

#[test]
fn what_is_signed_for_validators_is_what_the_signer_signs() {
    // The signer's own test of the same bytes is in enclave/mining: these are the lengths that its table names.
    let w = world(params());
    let network = w.network();
    let owner = first(0).0;
    let key = key_of(&w, &owner, 400, 2);
    let head = 1 + 1 + 41;
    assert_eq!(
        key.possession_message(&network, &owner.address).len(),
        head + 32 + 8 + 32
    );
    assert_eq!(
        key.rotation_message(&network, &owner.address).len(),
        head + 32 + 8 + 32 + 32
    );
    assert_eq!(Vote::Notarize(ballot(1, 1)).message(&network).len(), head + 3 * 8 + 32);
    assert_eq!(
        Vote::Nullify(Skipped { epoch: 0, view: 1 }).message(&network).len(),
        head + 16
    );
}
