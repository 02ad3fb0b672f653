//! Bytes from anybody: one spelling each, bounded, and no panic. `HANZO_LEDGER_MUTATIONS=5000000 cargo test -p hanzo-ledger --test decode`
//! runs more of them.

#[path = "support/fixture.rs"]
mod fixture;

use fixture::*;
use hanzo_attestation::Digest256;
use hanzo_ledger::claim::*;
use hanzo_ledger::*;
use hanzo_pqc::Domain;

/// One transaction of each kind.
fn transactions(w: &World) -> Vec<SignedTx> {
    let network = w.network();
    let answer = w.boot.receipt(0, |_| {});
    let delivery = Delivery {
        provider: w.users[0].address,
        seq: 1,
        chunk_root: Digest256([1; 32]),
        bytes: 9,
        fee: 8,
    };
    let id = Digest256([2; 32]);
    let note = LeaseNote { lease: id, seconds: 3 };
    let actions = vec![
        transfer(&w.users[1], 5),
        Action::OpenVoucher(OpenVoucher {
            miner: w.users[0].address,
            amount: 1,
            expires: 2,
        }),
        Action::CloseVoucher(Close { id }),
        boot(8, |_| {}).register(&network, &w.users[0], 2, &w.registrars),
        Action::RegisterModel(RegisterModel {
            root: id,
            licence: id,
            bytes: 1,
            leaves: 1,
        }),
        Action::RetireModel(Close { id }),
        Action::OpenLease(OpenLease {
            keyset: w.boot.digest,
            gpus: 1,
            price: 1,
            seconds: 1,
            expires: 9,
        }),
        Action::CloseLease(Close { id }),
        Action::Bond(Amount { amount: 1 }),
        Action::Unbond(Amount { amount: 1 }),
        Action::Withdraw(Nothing {}),
        claimed(answer.cosigned(&network, &w.users[0], &w.users[1], 9)),
        claimed(answer.prepaid(&network, &w.users[1], id, 9, 9)),
        Action::Claim(Claim::Compute(ComputeClaim {
            lease: id,
            epoch: 0,
            gpu_evidence: w.boot.digest,
            heartbeat: w.boot.says(Domain::Heartbeat, &network, &note),
            lessee: w.users[1].public.clone(),
            seconds: 3,
            signature: w.users[1].says(Domain::LeaseNote, &network, &note),
        })),
        Action::Claim(Claim::Hosting(w.boot.resident(&network, id, 0))),
        Action::Claim(Claim::Registration(RegistrationClaim { root: id })),
        Action::Claim(Claim::Data(DataClaim {
            recipient: w.users[1].public.clone(),
            delivery,
            signature: w.users[1].says(Domain::Delivery, &network, &delivery),
        })),
        Action::RegisterValidator(RegisterValidator {
            bond: STAKE,
            key: new_key(&network, &w.users[0].address, &user(400), 1, &w.registrars),
        }),
        rotation(
            &network,
            &first(0).0,
            new_key(&network, &first(0).0.address, &user(400), 2, &w.registrars),
        ),
        Action::LeaveValidators(Nothing {}),
        conflict(
            &network,
            &first(0).1,
            Vote::Finalize(ballot(3, 1)),
            Vote::Nullify(Skipped { epoch: 0, view: 3 }),
        ),
    ];
    actions
        .into_iter()
        .map(|action| w.users[0].tx(&network, 1, action))
        .collect()
}

#[test]
fn every_kind_has_one_spelling_and_nothing_may_be_missing_or_follow() {
    let w = world(params());
    let all = transactions(&w);
    assert_eq!(all.len(), 21);
    for tx in &all {
        let bytes = tx.to_bytes();
        assert_eq!(SignedTx::parse(&bytes).as_ref(), Ok(tx));
        for cut in (0..bytes.len()).filter(|n| *n < 2_200 || n % 61 == 0) {
            assert!(
                matches!(SignedTx::parse(&bytes[..cut]), Err(DecodeError::Truncated { .. })),
                "cut at {cut}"
            );
        }
        let mut long = bytes.clone();
        long.push(0);
        assert_eq!(
            SignedTx::parse(&long),
            Err(DecodeError::Trailing {
                what: "transaction",
                got: 1
            })
        );
    }
    let huge = vec![1; TX_BYTES_MAX + 1];
    assert!(matches!(
        SignedTx::parse(&huge),
        Err(DecodeError::TooLong {
            what: "transaction",
            ..
        })
    ));
    let block = Block {
        header: w.blocks[0].header,
        txs: List::new(all).unwrap(),
    };
    let bytes = block.to_bytes();
    assert_eq!(Block::parse(&bytes).as_ref(), Ok(&block));
    assert!(matches!(
        Block::parse(&[&bytes[..], &[0]].concat()),
        Err(DecodeError::Trailing { .. })
    ));
}

#[test]
fn tags_and_lengths_outside_their_lists_are_refused_by_name() {
    let w = world(params());
    let bytes = transactions(&w)[0].to_bytes();
    let with = |at: usize, byte: u8| {
        let mut changed = bytes.clone();
        changed[at] = byte;
        SignedTx::parse(&changed)
    };
    // version, kind of network; then id, genesis, sender, nonce, fee, expires, and the action's tag.
    assert!(matches!(
        with(0, 2),
        Err(DecodeError::Tag {
            what: "Tx.version",
            got: 2,
            ..
        })
    ));
    assert!(matches!(
        with(1, 0),
        Err(DecodeError::Tag {
            what: "Network.kind",
            got: 0,
            ..
        })
    ));
    let action = 1 + 1 + 8 + 32 + 1952 + 8 + 16 + 8;
    for tag in [0, 17, 255] {
        assert!(matches!(
            with(action, tag),
            Err(DecodeError::Tag { what: "Tx.action", .. })
        ));
    }
    // A receipt that says it is longer than any, before anything is allocated for it.
    let claim = transactions(&w)[11].to_bytes();
    let mut long = claim.clone();
    long[action + 2..action + 6].copy_from_slice(&u32::MAX.to_be_bytes());
    assert!(matches!(
        SignedTx::parse(&long),
        Err(DecodeError::TooLong {
            what: "InferenceClaim.receipt",
            ..
        })
    ));
    // More transactions than a block holds.
    let mut block = w.blocks[0].to_bytes();
    let at = w.blocks[0].header.to_bytes().len();
    block[at..at + 2].copy_from_slice(&u16::MAX.to_be_bytes());
    assert!(matches!(
        Block::parse(&block),
        Err(DecodeError::TooLong {
            what: "Block.txs",
            max: BLOCK_TXS_MAX,
            ..
        })
    ));
    let mut proof = w.state.prove(&Key::Head(One {})).to_bytes();
    proof[0] = 2;
    assert!(matches!(
        Proof::parse(&proof),
        Err(DecodeError::Tag {
            what: "Proof.value",
            got: 2,
            ..
        })
    ));
    // Accounts of a genesis that are not sorted, or twice there.
    let mut genesis = w.state.genesis().clone();
    let mut accounts = genesis.allocations.to_vec();
    accounts.swap(0, 1);
    genesis.allocations = List::new(accounts).unwrap();
    assert!(matches!(
        Genesis::parse(&genesis.to_bytes()),
        Err(GenesisError::Decode(DecodeError::Order { at: 1, .. }))
    ));
}

#[test]
fn changed_bytes_are_refused_or_are_the_spelling_of_what_was_read() {
    let rounds: u64 = std::env::var("HANZO_LEDGER_MUTATIONS").map_or(20_000, |n| n.parse().unwrap());
    let w = world(params());
    let mut corpus: Vec<Vec<u8>> = transactions(&w).iter().map(Canonical::to_bytes).collect();
    corpus.push(w.blocks[0].to_bytes());
    corpus.push(w.state.genesis().to_bytes());
    corpus.extend(w.state.entries().keys().map(|k| w.state.prove(k).to_bytes()));
    corpus.extend(w.state.entries().values().map(Canonical::to_bytes));
    corpus.extend(w.state.entries().keys().map(Canonical::to_bytes));
    let mut random = 0x9E37_79B9_7F4A_7C15_u64;
    let mut draw = move |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % below.max(1) as u64) as usize
    };
    fn same<T: Canonical>(read: Result<T, DecodeError>, bytes: &[u8]) -> u64 {
        read.map_or(0, |value| {
            assert_eq!(value.to_bytes(), bytes, "a second spelling");
            1
        })
    }
    let mut read = 0;
    for _ in 0..rounds {
        let mut bytes = corpus[draw(corpus.len())].clone();
        for _ in 0..=draw(3) {
            // Lengths and tags stand mostly at the start.
            let near = if draw(2) == 0 {
                bytes.len()
            } else {
                bytes.len().min(2_200)
            };
            let at = draw(near);
            match draw(5) {
                0 => bytes.truncate(at),
                1 => bytes.insert(at.min(bytes.len()), draw(256) as u8),
                2 if !bytes.is_empty() => drop(bytes.remove(at)),
                3 => bytes.extend_from_slice(&[0; 3][..draw(4)]),
                _ if !bytes.is_empty() => bytes[at] = [0, 1, 2, 0x7f, 0xff, draw(256) as u8][draw(6)],
                _ => {}
            }
        }
        read += same(SignedTx::parse(&bytes), &bytes);
        read += same(Block::parse(&bytes), &bytes);
        read += same(Proof::parse(&bytes), &bytes);
        read += same(Key::from_bytes("key", &bytes, KEY_BYTES_MAX), &bytes);
        read += same(Value::from_bytes("value", &bytes, VALUE_BYTES_MAX), &bytes);
        read += same(Genesis::from_bytes("genesis", &bytes, 1 << 20), &bytes);
    }
    assert!(read > rounds / 100, "only {read} of {rounds} were read");
}
