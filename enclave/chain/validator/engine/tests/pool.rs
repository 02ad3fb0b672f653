//! Transactions that wait: bounded, verified, in the order of their nonces.

#[path = "support/committee.rs"]
mod committee;

use committee::Committee;
use hanzo_chain::{Pool, PoolReject, SENDER_TXS_MAX};
use hanzo_ledger::Reject;

#[test]
fn a_pool_takes_what_verifies_once_and_names_what_it_refuses() {
    let (committee, other) = (Committee::new(4), Committee::new(7));
    let (pool, state) = (Pool::new(), &committee.state);
    let tx = committee.transfers(0, 1, 5);
    let id = pool.submit(tx.clone(), state).unwrap();
    assert_eq!(id, tx.tx.digest());
    assert!(pool.contains(&id) && pool.len() == 1 && pool.bytes() > 5_000);
    let code = |tx, state| pool.submit(tx, state).map_err(|e| e.code());
    assert_eq!(pool.submit(tx.clone(), state), Err(PoolReject::Known));
    assert_eq!(
        pool.submit(committee.transfers(0, 2, 5), state),
        Err(PoolReject::Taken { nonce: 0 })
    );
    let last = SENDER_TXS_MAX as u64 - 1;
    assert!(pool.submit(committee.transfers(last, 1, 5), state).is_ok());
    assert_eq!(
        pool.submit(committee.transfers(last + 1, 1, 5), state),
        Err(PoolReject::Ahead {
            max: last,
            got: last + 1
        })
    );
    assert_eq!(code(other.transfers(1, 1, 5), state), Err("ledger.network"));
    let mut forged = committee.transfers(1, 1, 5);
    forged.signature = tx.signature;
    assert_eq!(code(forged, state), Err("ledger.signature"));
    assert_eq!(pool.len(), 2);
    // A nonce that a block used.
    let mut after = state.clone();
    let verified = committee.transfers(0, 1, 5).verify(state).unwrap();
    let time = state.head().time_ms + 500;
    let proposal = state
        .propose(committee.set.validators()[0].id, time, [verified])
        .unwrap();
    after.commit(proposal.applied).unwrap();
    assert_eq!(
        Pool::new().submit(committee.transfers(0, 1, 5), &after),
        Err(PoolReject::Reject(Reject::Nonce { expected: 1, got: 0 }))
    );
}

#[test]
fn a_full_pool_refuses_more_and_keeps_what_it_has() {
    let committee = Committee::new(4);
    let (pool, state) = (Pool::new(), &committee.state);
    // Bounded by the sender long before all of it is.
    for nonce in 0..SENDER_TXS_MAX as u64 {
        pool.submit(committee.paid_by(0, nonce), state).unwrap();
    }
    let refused = pool.submit(committee.paid_by(0, SENDER_TXS_MAX as u64), state);
    assert_eq!(refused.map_err(|e| e.code()), Err("chain.pool.ahead"));
    assert_eq!(pool.len(), SENDER_TXS_MAX);
    assert!(pool.submit(committee.paid_by(1, 0), state).is_ok());
    let bytes = pool.bytes() / pool.len();
    for small in [Pool::bounded(2, usize::MAX), Pool::bounded(usize::MAX, 2 * bytes + 1)] {
        for nonce in [0, 1] {
            small.submit(committee.paid_by(0, nonce), state).unwrap();
        }
        let refused = small.submit(committee.paid_by(1, 0), state);
        assert_eq!(refused.map_err(|e| e.code()), Err("chain.pool.full"));
        assert_eq!(small.len(), 2);
    }
}
