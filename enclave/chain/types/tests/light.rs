//! A light client with the genesis alone: committees followed, accounts and rewards seen, and each changed byte refused by name.

#![allow(clippy::result_large_err, reason = "tests stop at the first surprise")]

#[path = "support/light.rs"]
mod light;

use hanzo_attestation::Digest256;
use hanzo_chain_types::Validator;
use hanzo_chain_types::*;
use hanzo_ledger::*;
use light::fixture::*;
use light::{Told, certify, set, told};

fn client(told: &Told) -> LightClient {
    LightClient::of_genesis(&told.genesis()).unwrap()
}

#[test]
fn a_client_with_the_genesis_alone_follows_the_committees_to_a_final_balance() {
    let told = told();
    let proof = told.account(1);
    assert_eq!(LightProof::parse(&proof.to_bytes()).as_ref(), Ok(&proof));
    let mut light = client(&told);
    let (block, account) = light.account(&proof, &told.w.users[1].address).unwrap();
    assert_eq!(account.balance, told.w.balance(1));
    assert_eq!(block.header().state_root, told.w.state.root());
    assert_eq!(
        light.newest().map(ValidatorSet::digest),
        Some(set(&told.w.state, 2).digest())
    );
    // Going on from a saved set needs no handover.
    let mut saved = LightClient::of_set(told.w.network(), set(&told.w.state, 2));
    let mut short = proof.clone();
    short.handovers = List::default();
    assert_eq!(saved.account(&short, &told.w.users[1].address), Ok((block, account)));
    // Without it, or twice, it does not lead there.
    let epoch = LightError::Epoch { known: 1, got: 2 };
    assert_eq!(client(&told).account(&short, &told.w.users[1].address), Err(epoch));
    let mut twice = proof.clone();
    twice.handovers = List::new(vec![told.handover.clone(); 2]).unwrap();
    let step = LightError::Step { expected: 3, got: 2 };
    assert_eq!(client(&told).account(&twice, &told.w.users[1].address), Err(step));
    // Somebody who is not there has nothing; another's proof says nothing of him.
    let nobody = user(999).address;
    let absent = told.light(Subject::Entry(told.w.state.prove(&Key::Account(nobody))));
    let (_, none) = client(&told).account(&absent, &nobody).unwrap();
    assert_eq!(none, Account::default());
    let other = client(&told).account(&proof, &told.w.users[2].address);
    assert!(matches!(other, Err(LightError::NotProven(_))));
    let subject = client(&told).account(&told.light(Subject::Block), &nobody);
    assert!(matches!(subject, Err(LightError::Subject { .. })));
}

#[test]
fn a_handover_counts_for_the_committee_that_the_final_state_names_and_no_other() {
    let told = told();
    let tries = |change: &dyn Fn(&mut Handover)| {
        let mut handover = told.handover.clone();
        change(&mut handover);
        client(&told).follow(&handover)
    };
    let sets = |members: Vec<Validator>, epoch| {
        let set = ValidatorSet::new(epoch, members).unwrap();
        Bounded::new(set.to_bytes()).unwrap()
    };
    assert_eq!(tries(&|_| {}), Ok(()));
    // Made of the state after its block and of no other.
    assert_eq!(Handover::of(told.handover.certificate.clone(), &told.w.state), Ok(None));
    assert_eq!(committee_of(&told.w.state, 1), Ok(None));
    let good = set(&told.w.state, 2).validators().to_vec();
    let members = Err(LightError::Members { epoch: 2 });
    // The key before, the keys swapped, one more.
    let before = set(&told.w.state, 2).validators().to_vec();
    let mut old = before.clone();
    let at = old.iter().position(|v| v.key == user(400).public).unwrap();
    old[at].key = first(2).1.public;
    assert_eq!(tries(&|h| h.next = sets(old.clone(), 2)), members);
    let mut swapped = before.clone();
    (swapped[0].key, swapped[1].key) = (before[1].key.clone(), before[0].key.clone());
    assert_eq!(tries(&|h| h.next = sets(swapped.clone(), 2)), members);
    let mut more = before;
    more.push(Validator {
        id: user(7).address,
        key: user(7).public,
    });
    assert_eq!(tries(&|h| h.next = sets(more.clone(), 2)), members);
    // The same keys for another epoch.
    let step = Err(LightError::Step { expected: 2, got: 3 });
    assert_eq!(tries(&|h| h.next = sets(good.clone(), 3)), step);
    let proof = told.w.state.prove(&Key::Committee(3));
    assert!(matches!(
        tries(&|h| h.proof = proof.clone()),
        Err(LightError::NotProven(_))
    ));
    // Too few votes; votes of the next committee under this epoch's block.
    let header = told.handover.certificate.header;
    let few = certify(&set(&told.w.state, 2), header, 3, &told.keys);
    assert_eq!(
        tries(&|h| h.certificate = few.clone()),
        Err(LightError::Epoch { known: 1, got: 2 })
    );
    let two = FinalityCertificate::new(
        header,
        (1, header.height, header.height - 1),
        told.handover
            .certificate
            .signatures()
            .take(2)
            .map(|(at, s)| (at, s.clone())),
    )
    .unwrap();
    let quorum = FinalityError::Quorum { quorum: 3, got: 2 };
    assert_eq!(
        tries(&|h| h.certificate = two.clone()),
        Err(LightError::Finality(quorum))
    );
}

#[test]
fn a_state_that_names_nobody_ends_the_chain_for_light_clients_too() {
    let mut w = world(params());
    let keys: Vec<User> = (0..4).map(|n| first(n).1).collect();
    let (one, other) = (Vote::Notarize(ballot(7, 1)), Vote::Notarize(ballot(7, 2)));
    let report = conflict(&w.network(), &keys[0], one, other);
    w.does(1, report).unwrap();
    w.next_epoch();
    let header = w.blocks[w.blocks.len() - 1].header;
    let handover = Handover {
        certificate: certify(&set(&w.state, 1), header, 3, &keys),
        proof: w.state.prove(&Key::Committee(2)),
        next: Bounded::new(
            ValidatorSet::new(2, set(&w.state, 1).validators().to_vec())
                .unwrap()
                .to_bytes(),
        )
        .unwrap(),
    };
    assert_eq!(Handover::of(handover.certificate.clone(), &w.state), Ok(None));
    let mut light = LightClient::of_genesis(w.state.genesis()).unwrap();
    assert_eq!(light.follow(&handover), Err(LightError::Nobody { epoch: 2 }));
}

#[test]
fn a_receipts_reward_is_seen_in_a_final_block_and_is_what_the_ledger_paid() {
    let told = told();
    let (genesis, proof) = (told.genesis(), told.reward.clone());
    assert_eq!(LightProof::parse(&proof.to_bytes()).as_ref(), Ok(&proof));
    let (block, paid) = client(&told).reward(&proof, &genesis, &told.receipt).unwrap();
    assert_eq!(block.header().height, 2);
    assert_eq!(
        (paid.miner, paid.customer),
        (told.w.users[0].address, told.w.users[1].address)
    );
    assert_eq!((paid.pay.fee, paid.pay.burned, paid.pay.reward), (1_000, 200, 160));
    assert_eq!(told.w.balance(0), EACH + 800 + 160, "what the miner has");
    let tries = |change: &dyn Fn(&mut LightProof), receipt: &[u8]| {
        let mut proof = proof.clone();
        change(&mut proof);
        client(&told).reward(&proof, &genesis, receipt)
    };
    let inclusion = |proof: &mut LightProof, change: &dyn Fn(&mut Inclusion)| match &mut proof.subject {
        Subject::Transaction(inclusion) => change(inclusion),
        _ => unreachable!(),
    };
    let twin = told.w.boot.receipt(0, |r| r.completion_tokens = 41).bytes;
    assert!(matches!(tries(&|_| {}, &twin), Err(LightError::Receipt { .. })));
    let leads = |change: &dyn Fn(&mut Inclusion)| tries(&|p| inclusion(p, change), &told.receipt);
    let not_there = |found: &Result<_, _>| matches!(found, Err(LightError::Inclusion { .. }));
    assert!(not_there(&leads(&|i| i.index = 2)));
    assert!(not_there(&leads(&|i| i.count = 3)));
    assert!(not_there(&leads(&|i| i.tx.tx.fee += 1)));
    assert!(not_there(&leads(&|i| i.path = List::default())));
    // Another transaction of the same block; one that is not there.
    assert_eq!(Inclusion::of(&told.w.blocks[1], 5), None);
    let block = &told.w.blocks[1];
    let other = leads(&|i| {
        *i = Inclusion::of(block, 0).unwrap();
    });
    assert_eq!(other.map(|_| ()), Err(LightError::NotAClaim));
    // Headers: one left out, one changed, none.
    let all = proof.headers.to_vec();
    let ancestor = |headers: Vec<Header>| {
        let found = tries(&|p| p.headers = List::new(headers.clone()).unwrap(), &told.receipt);
        matches!(found, Err(LightError::Finality(FinalityError::Ancestor { .. })))
    };
    assert!(ancestor([&all[..1], &all[2..]].concat()));
    let mut changed = all.clone();
    changed[0].tx_root = Digest256([1; 32]);
    assert!(ancestor(changed));
    assert!(not_there(&tries(&|p| p.headers = List::default(), &told.receipt)));
    let entry = Subject::Entry(told.w.state.prove(&Key::Head(One {})));
    let found = tries(&|p| p.subject = entry.clone(), &told.receipt);
    assert!(matches!(found, Err(LightError::Subject { .. })));
}

#[test]
fn another_genesis_is_another_chain() {
    let told = told();
    let mut other = told.genesis();
    other.time_ms += 1;
    let mut light = LightClient::of_genesis(&other).unwrap();
    let found = light.account(&told.account(1), &told.w.users[1].address);
    assert!(matches!(
        found,
        Err(LightError::Finality(FinalityError::Network { .. }))
    ));
    let mut foreign = LightClient::of_set(other.network(), set(&told.w.state, 2));
    let mut short = told.account(1);
    short.handovers = List::default();
    let found = foreign.account(&short, &told.w.users[1].address);
    assert!(matches!(
        found,
        Err(LightError::Finality(FinalityError::Network { .. }))
    ));
}

#[test]
fn every_changed_byte_of_a_light_proof_is_refused() {
    let told = told();
    let (genesis, account) = (told.genesis(), told.w.users[1].address);
    let mut codes = std::collections::BTreeMap::<&str, u32>::new();
    for (bytes, is_reward) in [(told.account(1).to_bytes(), false), (told.reward.to_bytes(), true)] {
        let mut quiet = 0;
        // Everything but the insides of signatures and keys, of which each 61st byte stands for the others: no byte there is another kind.
        let interesting: Vec<usize> = (0..bytes.len())
            .filter(|at| *at < 300 || at % 61 == 0 || bytes.len() - at < 700)
            .collect();
        for at in interesting {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            let found = LightProof::parse(&changed).map_err(LightError::from).and_then(|proof| {
                let mut light = client(&told);
                match is_reward {
                    false => light.account(&proof, &account).map(|_| ()),
                    true => light.reward(&proof, &genesis, &told.receipt).map(|_| ()),
                }
            });
            match found {
                Err(why) => *codes.entry(why.code()).or_default() += 1,
                Ok(()) => quiet += 1,
            }
        }
        assert_eq!(quiet, 0, "bytes that nobody looks at");
    }
    eprintln!("{codes:?}");
    for code in [
        "chain.finality.signature",
        "chain.finality.network",
        "chain.light.not_proven",
        "chain.light.epoch",
        "chain.light.inclusion",
        "ledger.decode.tag",
        "ledger.decode.truncated",
    ] {
        assert!(codes.contains_key(code), "{code} never happened: {codes:?}");
    }
}
