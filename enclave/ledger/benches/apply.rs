//! How many transactions a core applies, with and without their signatures; what a block and a proof take.
//!
//! `cargo bench -p hanzo-ledger --bench apply`; with `-- --smoke` a few, to see that it works. One run prints all sides. Transfers of 64
//! senders to accounts drawn from a large set, so that the tree grows while it is measured. The goal is 50,000 a second without
//! signatures: nonces, balances, fees, the Merkle root, the sum of all money.
#![allow(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    reason = "a bench stops at the first surprise"
)]

#[path = "../tests/support/fixture.rs"]
mod fixture;

use std::time::{Duration, Instant};

use fixture::*;
use hanzo_ledger::*;

const SENDERS: u64 = 64;

fn rate(what: &str, n: usize, took: Duration) {
    println!("{what:<58} {:>10.0} /s", n as f64 / took.as_secs_f64());
}

fn main() {
    let smoke = std::env::args().any(|a| a == "--smoke");
    let (blocks, each, set) = if smoke { (2, 64, 100) } else { (16, 2_000, 100_000) };
    let (users, registrars): (Vec<_>, Vec<_>) =
        ((0..SENDERS as u16).map(user).collect(), (100..103).map(user).collect());
    let mut rules = params();
    rules.epoch_blocks = 120;
    let mut state = State::new(genesis(&users, &registrars, rules)).unwrap();
    let network = *state.network();
    println!("{blocks} blocks of {each} transfers, {SENDERS} senders, {set} recipients, one core");

    let (mut nonces, mut random) = (vec![0_u64; SENDERS as usize], 7_u64);
    let (mut verifying, mut making, mut applying, mut committing) =
        (Duration::ZERO, Duration::ZERO, Duration::ZERO, Duration::ZERO);
    let mut bytes = 0;
    for _ in 0..blocks {
        let signed: Vec<_> = (0..each)
            .map(|n| {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                let mut to = [0; 32];
                to[..8].copy_from_slice(&(random % set).wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes());
                let who = n % SENDERS as usize;
                nonces[who] += 1;
                let action = Action::Transfer(Transfer {
                    to: Address(to),
                    amount: 1,
                });
                users[who].tx(&network, nonces[who] - 1, action)
            })
            .collect();
        let begun = Instant::now();
        let verified: Vec<_> = signed.into_iter().map(|tx| tx.verify(&state).unwrap()).collect();
        verifying += begun.elapsed();
        let begun = Instant::now();
        let time = state.head().time_ms + 500;
        let proposal = state.propose(users[0].address, time, verified).unwrap();
        making += begun.elapsed();
        assert!(proposal.rejected.is_empty());
        let begun = Instant::now();
        let applied = state.apply(&proposal.block).unwrap();
        applying += begun.elapsed();
        bytes += proposal.block.to_block().to_bytes().len();
        let begun = Instant::now();
        state.commit(applied).unwrap();
        committing += begun.elapsed();
    }
    let all = blocks * each;
    rate("verified: ML-DSA-65 of the sender", all, verifying);
    rate("proposed: applied, root, hash of every signed transaction", all, making);
    rate("applied, without signatures (goal 50,000)", all, applying);
    rate("applied and committed, without signatures", all, applying + committing);
    println!(
        "state of {} entries; {} bytes a transaction in a block",
        state.entries().len(),
        bytes / all
    );

    let root = state.root();
    let keys: Vec<_> = state
        .entries()
        .keys()
        .step_by(state.entries().len().div_ceil(1_000))
        .copied()
        .collect();
    let proofs: Vec<_> = keys.iter().map(|key| state.prove(key).to_bytes()).collect();
    let begun = Instant::now();
    for (key, proof) in keys.iter().zip(&proofs) {
        assert!(Proof::parse(proof).unwrap().verify(&root, key).unwrap().is_some());
    }
    rate("proofs of entries, parsed and verified", keys.len(), begun.elapsed());
    let (sum, most) = (
        proofs.iter().map(Vec::len).sum::<usize>(),
        proofs.iter().map(Vec::len).max(),
    );
    println!(
        "a proof: {} bytes on average, {} at most",
        sum / proofs.len(),
        most.unwrap_or(0)
    );
}
