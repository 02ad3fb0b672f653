//! What a light client reads and how long it takes, for committees of 4, 7 and 20.
//!
//! `cargo bench -p hanzo-chain-types --bench light`; with `-- --smoke` a few rounds, to see that it works. Each line is one proof of an
//! account's balance from a trusted set, without and with one handover to the next epoch.
#![allow(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    reason = "a bench stops at the first surprise"
)]

#[path = "../tests/support/light.rs"]
mod light;

use std::time::Instant;

use hanzo_chain_types::*;
use hanzo_ledger::{Address, Canonical, FirstValidator, Genesis, Key, List, State};
use light::fixture::{STAKE, User, genesis, params, user};
use light::{certify, set};

fn chain(n: u16) -> (Genesis, Vec<User>) {
    let keys: Vec<User> = (0..n).map(|i| user(500 + i)).collect();
    let users: Vec<User> = (0..4).map(user).collect();
    let registrars: Vec<User> = (100..103).map(user).collect();
    let mut rules = params();
    (rules.committee_max, rules.epoch_blocks) = (42, 2);
    let mut genesis = genesis(&users, &registrars, rules);
    let mut validators: Vec<_> = keys
        .iter()
        .map(|key| FirstValidator {
            owner: key.address,
            stake: STAKE,
            key: key.public.clone(),
        })
        .collect();
    validators.sort_by_key(|v| v.owner);
    genesis.validators = List::new(validators).unwrap();
    (genesis, keys)
}

fn next(state: &mut State) -> hanzo_ledger::Header {
    let time = state.head().time_ms + 500;
    let proposal = state.propose(Address([1; 32]), time, []).unwrap();
    state.commit(proposal.applied).unwrap();
    *proposal.block.header()
}

fn main() {
    let smoke = std::env::args().any(|a| a == "--smoke");
    let rounds = if smoke { 3 } else { 200 };
    for n in [4, 7, 20] {
        let (genesis, keys) = chain(n);
        let mut state = State::new(genesis.clone()).unwrap();
        let account = user(1).address;
        let votes = set(&state, 0).quorum();
        next(&mut state);
        let header = next(&mut state);
        let handover = Handover::of(certify(&set(&state, 1), header, votes, &keys), &state)
            .unwrap()
            .unwrap();
        next(&mut state);
        let header = next(&mut state);
        let mut proof = LightProof {
            handovers: List::default(),
            certificate: certify(&set(&state, 2), header, votes, &keys),
            headers: List::default(),
            subject: Subject::Entry(state.prove(&Key::Account(account))),
        };
        let trusted = LightClient::of_set(genesis.network(), set(&state, 2));
        for (what, from) in [
            ("from a set", trusted),
            ("with a handover", LightClient::of_genesis(&genesis).unwrap()),
        ] {
            if from.newest().map(ValidatorSet::epoch) == Some(1) {
                proof.handovers = List::new(vec![handover.clone()]).unwrap();
            }
            let bytes = proof.to_bytes();
            let begun = Instant::now();
            for _ in 0..rounds {
                let read = LightProof::parse(&bytes).unwrap();
                let (_, found) = from.clone().account(&read, &account).unwrap();
                assert_eq!(found.balance, light::fixture::EACH);
            }
            let took = begun.elapsed() / rounds;
            println!(
                "n = {n:>2}, {what:<16} {:>7} bytes, parsed and verified in {took:?}",
                bytes.len()
            );
        }
    }
}
