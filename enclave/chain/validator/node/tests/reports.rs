//! Reports of conflicting votes: made once, by turns, until the chain has them; and what is no fault costs nobody anything.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests stop at the first surprise"
)]

#[path = "../../../../ledger/tests/support/fixture.rs"]
mod fixture;

use fixture::*;
use hanzo_attestation::Digest256;
use hanzo_chain::{AIChainVote, Fault, VoteSignature};
use hanzo_chain_node::reports::Reports;
use hanzo_chain_types::Proposal;
use hanzo_ledger::{Action, Address, Reject, Standing};

fn vote(view: u64, block: u8) -> AIChainVote {
    AIChainVote::Notarize(Proposal {
        epoch: 0,
        view,
        parent: 1,
        block: Digest256([block; 32]),
    })
}

/// What the engine tells of validator `n`, who cast both.
fn fault(w: &World, n: u16, first_vote: AIChainVote, second_vote: AIChainVote) -> Fault {
    let (_, key) = first(n);
    let cast = |vote: AIChainVote| {
        let signature = key.sign(vote.domain(), &vote.message(&w.network()));
        (vote, VoteSignature::new(&signature).unwrap())
    };
    Fault {
        validator: 0,
        key: key.public.clone(),
        first: cast(first_vote),
        second: cast(second_vote),
    }
}

/// The first validators in the order of accounts, in which they take turns.
fn by_account() -> Vec<u16> {
    let mut all: Vec<u16> = (0..4).collect();
    all.sort_by_key(|n| first(*n).0.address);
    all
}

fn standing(w: &World, n: u16) -> (Standing, u128) {
    let account: Address = first(n).0.address;
    (
        w.state.validator(&account).unwrap().standing,
        w.state.stake(&account).bonded,
    )
}

#[test]
fn a_fault_is_reported_once_by_whose_turn_it_is_and_forgotten_when_the_chain_has_it() {
    let mut w = world(params());
    let order = by_account();
    let (liar, next, later) = (order[3], first(order[0]).0, first(order[1]).0);
    let dir = tempfile::tempdir().unwrap();
    let path = |who: &str| dir.path().join(who);
    let mut at_next = Reports::load(&path("next")).unwrap();
    let mut at_later = Reports::load(&path("later")).unwrap();
    let seen = fault(&w, liar, vote(7, 1), vote(7, 2));
    assert!(at_next.hear(&seen) && at_later.hear(&seen));
    // Seen again, and other votes of the same key: nothing new.
    assert!(!at_next.hear(&seen) && !at_next.hear(&fault(&w, liar, vote(8, 1), vote(8, 2))));
    assert_eq!((at_next.len(), at_later.len()), (1, 1));

    // Only the one whose turn it is makes a transaction; a restart forgets nothing.
    assert!(at_later.due(&w.state, &later.public).is_empty() && at_later.ready().is_empty());
    drop(at_next);
    let mut at_next = Reports::load(&path("next")).unwrap();
    let mut due = at_next.due(&w.state, &next.public);
    let tx = next.signed(due.pop().unwrap());
    assert!(due.is_empty() && at_next.ready().is_empty());
    at_next.signed(tx.clone());
    assert_eq!(at_next.ready(), [tx.clone()]);
    // It stays the same one while it waits.
    assert!(at_next.due(&w.state, &next.public).is_empty());

    // The other's turn comes three blocks later, if the chain still does not have it.
    for _ in 0..2 {
        w.block(vec![]);
        assert!(at_later.due(&w.state, &later.public).is_empty());
    }
    w.block(vec![]);
    assert_eq!(at_later.due(&w.state, &later.public).len(), 1);

    let before = standing(&w, order[1]);
    assert_eq!(w.takes(tx.clone()), Ok(()));
    assert_eq!(standing(&w, liar), (Standing::Jailed, STAKE - STAKE / 4));
    assert_eq!(standing(&w, order[1]), before, "nobody else loses anything");
    // Both know now; what comes later of that key is no news, and the file is empty too.
    assert!(at_next.due(&w.state, &next.public).is_empty() && at_later.due(&w.state, &later.public).is_empty());
    assert!(at_next.is_empty() && at_later.is_empty() && !at_later.hear(&seen));
    assert!(Reports::load(&path("next")).unwrap().is_empty());
    // A second report is refused by the ledger, whoever sends it.
    let Action::ReportConflict(report) = &tx.tx.action else {
        panic!()
    };
    let again = w.does(0, Action::ReportConflict(report.clone()));
    assert!(matches!(again, Err(Reject::Slashed { .. })), "{again:?}");
}

#[test]
fn votes_that_do_not_conflict_are_refused_by_name_and_dropped() {
    let w = world(params());
    let order = by_account();
    let (liar, next) = (order[3], first(order[0]).0);
    let dir = tempfile::tempdir().unwrap();
    let mut reports = Reports::load(&dir.path().join("reports.bin")).unwrap();
    assert!(reports.hear(&fault(&w, liar, vote(7, 1), vote(8, 2))));
    let tx = next.signed(reports.due(&w.state, &next.public).pop().unwrap());
    reports.signed(tx.clone());
    let refused = tx.clone().verify(&w.state).map(|_| ());
    assert!(
        matches!(
            refused,
            Err(Reject::NoConflict {
                what: "the votes are of different views"
            })
        ),
        "{refused:?}"
    );
    reports.refused(&tx);
    assert!(reports.is_empty() && reports.ready().is_empty());
    assert_eq!(standing(&w, liar), (Standing::Active, STAKE));
}

#[test]
fn a_file_that_holds_no_reports_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("reports.bin");
    std::fs::write(&path, [0, 1, 2]).unwrap();
    let refused = Reports::load(&path).map(|_| ()).unwrap_err();
    assert_eq!(refused.code(), "node.reports");
    std::fs::write(&path, [0, 0]).unwrap();
    assert!(Reports::load(&path).unwrap().is_empty());
}
