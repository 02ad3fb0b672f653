//! Transactions, blocks and proofs: accepted, and refused one change away, with the very error. What is refused changes nothing.

#![allow(clippy::result_large_err, reason = "tests stop at the first surprise")]

#[path = "support/fixture.rs"]
mod fixture;

use fixture::*;
use hanzo_attestation::Digest256;
use hanzo_ledger::*;
use hanzo_pqc::Domain;

#[test]
fn a_transfer_counts_once_on_its_own_network_and_signed_by_its_sender() {
    let mut w = world(params());
    let network = w.network();
    let good = w.users[1].tx(&network, 0, transfer(&w.users[2], 500));
    w.takes(good.clone()).unwrap();
    assert_eq!((w.balance(1), w.balance(2)), (EACH - 510, EACH + 500));
    assert_eq!(w.state.supply().treasury, 1_010);
    // Replayed; too far ahead.
    assert_eq!(w.takes(good.clone()), Err(Reject::Nonce { expected: 1, got: 0 }));
    let ahead = w.users[1].tx(&network, 2, transfer(&w.users[2], 500));
    assert_eq!(w.takes(ahead), Err(Reject::Nonce { expected: 1, got: 2 }));
    // Another number, or another chain of the same number.
    for other in [
        Network { id: TESTNET, ..network },
        Network {
            genesis: Digest256([1; 32]),
            ..network
        },
    ] {
        let foreign = w.users[1].tx(&other, 1, transfer(&w.users[2], 500));
        assert_eq!(
            w.takes(foreign),
            Err(Reject::Network {
                expected: network,
                got: other
            })
        );
    }
    // Signed by somebody else, as something else, or changed after.
    let tx = w.users[1].unsigned(&network, 1, transfer(&w.users[2], 500));
    let sender = Err(Reject::Signature { what: "sender" });
    let forged = SignedTx {
        signature: w.users[2].sign(Domain::Transaction, &tx.message()),
        tx: tx.clone(),
    };
    assert_eq!(w.takes(forged), sender);
    let domain = SignedTx {
        signature: w.users[1].sign(Domain::Payment, &tx.message()),
        tx: tx.clone(),
    };
    assert_eq!(w.takes(domain), sender);
    let mut changed = w.users[1].signed(tx.clone());
    changed.tx.fee += 1;
    assert_eq!(w.takes(changed), sender);
    // Fees, amounts, expiry.
    let cheap = w.users[1].signed(Tx { fee: 9, ..tx.clone() });
    assert_eq!(w.takes(cheap), Err(Reject::Fee { min: 10, got: 9 }));
    let height = w.state.head().height;
    let late = w.users[1].signed(Tx {
        expires: height,
        ..tx.clone()
    });
    let expired = Reject::Expired {
        what: "transaction",
        expires: height,
        height: height + 1,
    };
    assert_eq!(w.takes(late), Err(expired));
    assert_eq!(
        w.does(1, transfer(&w.users[2], 0).clone()),
        Err(Reject::Zero { what: "amount" })
    );
    let have = w.balance(1) - 10;
    let need = have + 1;
    let action = transfer(&w.users[2], need);
    assert_eq!(
        w.does(1, action),
        Err(Reject::Balance {
            what: "balance",
            need,
            have
        })
    );
    let action = transfer(&w.users[2], u128::MAX);
    assert!(matches!(w.does(1, action), Err(Reject::Balance { .. })));
    let greedy = w.users[1].signed(Tx {
        fee: u128::MAX,
        ..tx.clone()
    });
    assert!(matches!(w.takes(greedy), Err(Reject::Balance { .. })));
    assert_eq!(w.nonce(1), 1);
    w.takes(w.users[1].signed(tx)).unwrap();
}

#[test]
fn amounts_that_overflow_are_refused_and_nothing_is_paid() {
    let mut w = world(params());
    let open = OpenLease {
        keyset: w.boot.digest,
        gpus: u16::MAX,
        price: u128::MAX / 2,
        seconds: u64::MAX,
        expires: NEVER,
    };
    let before = w.state.root();
    assert_eq!(
        w.does(1, Action::OpenLease(open)),
        Err(Reject::Overflow { what: "price" })
    );
    assert_eq!(w.balance(1), EACH);
    assert_ne!(w.state.root(), before, "the empty block is one");
    let mut rich = genesis(&w.users, &w.registrars, params());
    rich.max_supply = SUPPLY_MAX + 1;
    assert!(matches!(
        State::new(rich.clone()),
        Err(GenesisError::Value {
            field: "max_supply",
            ..
        })
    ));
    rich.max_supply = EACH * 4 + 4 * STAKE + 999;
    assert!(matches!(
        State::new(rich.clone()),
        Err(GenesisError::Value {
            field: "allocations",
            ..
        })
    ));
    rich.max_supply = EACH * 4 + 4 * STAKE + 1_000;
    assert_eq!(State::new(rich).unwrap().supply().pool, 0);
}

#[test]
fn stakes_come_back_after_their_epochs_and_not_before() {
    let mut w = world(params());
    let amount = |amount| Amount { amount };
    assert_eq!(
        w.does(2, Action::Unbond(amount(1))),
        Err(Reject::Unknown { what: "stake" })
    );
    w.does(2, Action::Bond(amount(700))).unwrap();
    assert_eq!(w.state.supply().deposits, 4 * STAKE + 700);
    let more = Err(Reject::Balance {
        what: "stake",
        need: 701,
        have: 700,
    });
    assert_eq!(w.does(2, Action::Unbond(amount(701))), more);
    w.does(2, Action::Unbond(amount(300))).unwrap();
    assert_eq!(
        w.does(2, Action::Withdraw(Nothing {})),
        Err(Reject::Epoch { expected: 3, got: 0 })
    );
    w.next_epoch();
    w.next_epoch();
    assert_eq!(
        w.does(2, Action::Withdraw(Nothing {})),
        Err(Reject::Epoch { expected: 3, got: 2 })
    );
    w.next_epoch();
    let before = w.balance(2);
    w.does(2, Action::Withdraw(Nothing {})).unwrap();
    assert_eq!(w.balance(2), before + 300 - 10);
    assert_eq!(w.state.stake(&w.users[2].address).bonded, 400);
    assert_eq!(
        w.does(2, Action::Withdraw(Nothing {})),
        Err(Reject::Zero { what: "releasing" })
    );
}

#[test]
fn a_block_is_applied_whole_or_not_at_all_and_each_part_of_its_header_counts() {
    let mut w = world(params());
    let network = w.network();
    let txs: Vec<_> = (0..3)
        .map(|n| {
            w.users[1]
                .tx(&network, n, transfer(&w.users[2], 5))
                .verify(&w.state)
                .unwrap()
        })
        .collect();
    let (time, proposer) = (w.state.head().time_ms + 500, w.users[3].address);
    let made = w.state.propose(proposer, time, txs.clone()).unwrap();
    let block = made.block.to_block();
    let root = w.state.root();
    let apply = |w: &World, change: &dyn Fn(&mut Header)| {
        let mut block = block.clone();
        change(&mut block.header);
        let verified = block.verify(&w.state)?;
        w.state.apply(&verified).map(|a| a.root())
    };
    assert_eq!(apply(&w, &|_| {}), Ok(made.applied.root()));
    let height = block.header.height;
    assert_eq!(
        apply(&w, &|h| h.height += 1),
        Err(BlockReject::Height {
            expected: height,
            got: height + 1
        })
    );
    assert!(matches!(
        apply(&w, &|h| h.parent = Digest256([1; 32])),
        Err(BlockReject::Parent { .. })
    ));
    assert_eq!(
        apply(&w, &|h| h.time_ms -= 1),
        Err(BlockReject::Interval {
            least: time,
            got: time - 1
        })
    );
    assert!(
        matches!(apply(&w, &|h| h.time_ms += 1), Err(BlockReject::StateRoot { .. })),
        "the state holds the time"
    );
    assert!(matches!(
        apply(&w, &|h| h.state_root = root),
        Err(BlockReject::StateRoot { .. })
    ));
    assert!(matches!(
        apply(&w, &|h| h.tx_root = root),
        Err(BlockReject::TxRoot { .. })
    ));
    assert!(matches!(
        apply(&w, &|h| h.network.id = TESTNET),
        Err(BlockReject::Network { .. })
    ));
    // In another order, or with one of them twice, it does not apply; the state is what it was.
    for order in [[1, 0, 2], [0, 0, 1]] {
        let txs: Vec<_> = order.iter().map(|n: &usize| txs[*n].clone()).collect();
        let header = Header {
            tx_root: tx_root(txs.iter().map(VerifiedTx::signed)),
            ..block.header
        };
        let block = VerifiedBlock::new(header, txs).unwrap();
        assert!(matches!(
            w.state.apply(&block),
            Err(BlockReject::Tx {
                cause: Reject::Nonce { .. },
                ..
            })
        ));
        assert_eq!(w.state.root(), root);
    }
    let forged = {
        let mut block = block.clone();
        let mut all = block.txs.to_vec();
        all[1].tx.fee += 1;
        block.txs = List::new(all).unwrap();
        block.verify(&w.state)
    };
    assert!(matches!(
        forged,
        Err(BlockReject::Tx {
            at: 1,
            cause: Reject::Signature { .. }
        })
    ));
    // An outcome counts for the state that it was computed from.
    let applied = w.state.apply(&made.block).unwrap();
    w.state.commit(made.applied).unwrap();
    assert!(matches!(w.state.commit(applied), Err(BlockReject::Parent { .. })));
    assert!(matches!(w.state.apply(&made.block), Err(BlockReject::Height { .. })));
}

#[test]
fn a_proof_shows_one_entry_or_that_there_is_none_under_one_root() {
    let mut w = world(params());
    let action = transfer(&w.users[2], 500);
    w.does(1, action).unwrap();
    let root = w.state.root();
    let nobody = Key::Account(user(999).address);
    for key in w
        .state
        .entries()
        .keys()
        .chain([&nobody, &Key::Voucher(Digest256([3; 32]))])
    {
        let bytes = w.state.prove(key).to_bytes();
        let proof = Proof::parse(&bytes).unwrap();
        assert_eq!(proof.verify(&root, key), Ok(w.state.entries().get(key)));
        assert_eq!(
            proof.verify(&Digest256([1; 32]), key),
            Err(NotProven {
                root: Digest256([1; 32])
            })
        );
        for other in w.state.entries().keys().filter(|k| *k != key) {
            // Another key is present, and this proof does not say otherwise.
            assert!(proof.verify(&root, other).is_err());
        }
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            let shown = Proof::parse(&changed).ok().map(|p| p.verify(&root, key).is_ok());
            assert_ne!(shown, Some(true), "byte {at}");
        }
    }
    let Some(Value::Account(account)) = w
        .state
        .prove(&Key::Account(w.users[2].address))
        .verify(&root, &Key::Account(w.users[2].address))
        .unwrap()
        .cloned()
    else {
        unreachable!()
    };
    assert_eq!(account.balance, EACH + 500);
}

#[test]
fn a_state_is_restored_from_its_entries_and_from_no_others() {
    let mut w = world(params());
    let action = transfer(&w.users[2], 500);
    w.does(1, action).unwrap();
    let (tip, root, genesis) = (w.state.tip(), w.state.root(), w.state.genesis().clone());
    let restore = |entries| State::restore(genesis.clone(), tip, &root, entries).map(|s| s.root());
    assert_eq!(restore(w.state.entries().clone()), Ok(root));
    let mut fewer = w.state.entries().clone();
    let nonces = Key::Miner(w.users[0].address);
    assert!(fewer.remove(&nonces).is_some());
    assert!(matches!(restore(fewer), Err(RestoreError::Root { .. })));
    let mut richer = w.state.entries().clone();
    richer.insert(
        Key::Account(w.users[2].address),
        Value::Account(Account {
            balance: EACH * 2,
            nonce: 0,
        }),
    );
    assert!(matches!(restore(richer), Err(RestoreError::Supply { .. })));
    let mut headless = w.state.entries().clone();
    headless.remove(&Key::Head(One {}));
    assert_eq!(restore(headless), Err(RestoreError::Head));
    let mut kind = w.state.entries().clone();
    kind.insert(Key::Stake(w.users[2].address), Value::Hosting(3));
    assert!(matches!(restore(kind), Err(RestoreError::Kind { .. })));
}
