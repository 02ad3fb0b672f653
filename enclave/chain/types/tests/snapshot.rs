//! A final state in parts: what is believed, and the nearest thing to it that is not.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests stop at the first surprise"
)]
#![allow(clippy::result_large_err, reason = "tests stop at the first surprise")]

#[path = "support/light.rs"]
mod light;

use hanzo_chain_types::*;
use hanzo_ledger::snapshot::{Cut, PART_BYTES_MAX, PARTS_MAX, PartError};
use hanzo_ledger::*;
use light::fixture::*;
use light::{Told, certify, told};

/// Parts so short that there are several.
const SHORT: usize = 8_000;

struct Case {
    told: Told,
    cut: Cut,
}

impl Case {
    fn new() -> Self {
        let told = told();
        let cut = told.w.state.clone().cut(SHORT).unwrap();
        assert!(cut.plan().parts().len() > 2 && cut.part(cut.plan().parts().len() as u16).is_none());
        Self { told, cut }
    }

    fn offer(&self) -> Offer {
        let offer = Offer {
            certificate: self.told.certificate.clone(),
            headers: List::default(),
            plan: self.cut.plan().clone(),
        };
        let read = Offer::parse(&offer.to_bytes()).unwrap();
        assert_eq!(read, offer);
        read
    }

    /// One that knows the committees up to the certificate's.
    fn client(&self) -> LightClient {
        let mut client = LightClient::of_genesis(&self.told.genesis()).unwrap();
        client.follow(&self.told.handover).unwrap();
        client
    }

    fn begun(&self) -> Assembly {
        Assembly::begin(self.offer(), &self.client()).unwrap()
    }

    fn refused(&self, offer: Offer) -> SnapshotError {
        Assembly::begin(offer, &self.client()).map(|_| ()).unwrap_err()
    }
}

#[test]
fn a_state_comes_whole_in_parts_of_any_order_and_counts_all_the_money() {
    let case = Case::new();
    let mut assembly = case.begun();
    assert_eq!(assembly.id(), case.told.w.state.tip());
    assert_eq!(assembly.plan(), case.cut.digest());
    let left = assembly.left();
    assert_eq!((assembly.next(), left), (Some(0), case.cut.plan().parts().len()));
    let mut order: Vec<u16> = (0..left as u16).collect();
    order.reverse();
    for part in order {
        assembly.take(part, &case.cut.part(part).unwrap()).unwrap();
        // The same once more changes nothing.
        assembly.take(part, &case.cut.part(part).unwrap()).unwrap();
    }
    assert_eq!((assembly.next(), assembly.left()), (None, 0));
    let snapshot = assembly.finish(case.told.genesis()).unwrap();
    let (held, state) = (&case.told.w.state, snapshot.state());
    assert_eq!(state.entries(), held.entries());
    assert_eq!((state.root(), state.tip()), (held.root(), held.tip()));
    assert_eq!(state.supply(), held.supply());
    assert_eq!(snapshot.header(), &case.told.certificate.header);
    // The next block of either is the same.
    let time = held.head().time_ms + 500;
    let next = |state: &State| state.propose(case.told.w.users[3].address, time, vec![]).unwrap();
    assert_eq!(next(held).applied.root(), next(state).applied.root());
    // A cut of any depth is one of the same state.
    for bytes in [usize::MAX, 2_000, 1] {
        let cut = held.clone().cut(bytes).unwrap();
        assert_eq!(cut.plan().verify(&held.root()), Ok(()), "{bytes}");
        assert!(cut.plan().parts().len() <= PARTS_MAX);
    }
}

#[test]
fn a_changed_part_is_refused_by_name_and_nothing_of_it_is_kept() {
    let case = Case::new();
    let mut assembly = case.begun();
    let left = assembly.left();
    let good = case.cut.part(1).unwrap();
    // Any single byte.
    for at in (0..good.len()).step_by(97) {
        let mut bad = good.clone();
        bad[at] ^= 1;
        let refused = assembly.take(1, &bad).unwrap_err();
        assert!(matches!(refused, SnapshotError::Part(_)), "byte {at}: {refused}");
    }
    let mut bad = good.clone();
    *bad.last_mut().unwrap() ^= 1;
    assert_eq!(assembly.take(1, &bad).unwrap_err().code(), "ledger.snapshot.part");
    let cut_off = assembly.take(1, &good[..good.len() - 1]).unwrap_err();
    assert_eq!(cut_off.code(), "ledger.decode.truncated");
    let more = assembly.take(1, &[&good[..], &[0]].concat()).unwrap_err();
    assert_eq!(more.code(), "ledger.decode.trailing");
    let long = assembly.take(1, &vec![0; PART_BYTES_MAX + 1]).unwrap_err();
    assert_eq!(long.code(), "ledger.decode.too_long");
    // Another part's, whole and genuine; one that there is not; one with nothing in it.
    let other = assembly.take(1, &case.cut.part(0).unwrap()).unwrap_err();
    assert!(
        matches!(other, SnapshotError::Part(PartError::Place { part: 1, at: 0 })),
        "{other}"
    );
    let none = assembly.take(left as u16, &good).unwrap_err();
    assert_eq!(none.code(), "ledger.snapshot.unknown");
    let empty = assembly.take(1, &[0; 4]).unwrap_err();
    assert_eq!(empty.code(), "ledger.snapshot.part");
    assert_eq!(assembly.left(), left);
    assembly.take(1, &good).unwrap();
    assert_eq!(assembly.left(), left - 1);
    let missing = assembly.finish(case.told.genesis()).map(|_| ()).unwrap_err();
    assert_eq!(missing, SnapshotError::Missing { left: left - 1 });
}

#[test]
fn an_offer_counts_for_its_network_committee_block_and_state_alone() {
    let case = Case::new();
    // A committee that nobody led to, and one of strangers.
    let genesis = LightClient::of_genesis(&case.told.genesis()).unwrap();
    let unknown = Assembly::begin(case.offer(), &genesis).map(|_| ()).unwrap_err();
    assert_eq!(unknown, LightError::Epoch { known: 1, got: 2 }.into());
    let strangers = (0..4).map(|n| hanzo_chain_types::Validator {
        id: first(n).0.address,
        key: user(700 + n).public,
    });
    let strangers = ValidatorSet::new(2, strangers.collect()).unwrap();
    let client = LightClient::of_set(case.told.w.network(), strangers.clone());
    let refused = Assembly::begin(case.offer(), &client).map(|_| ()).unwrap_err();
    assert_eq!(refused.code(), "chain.finality.signature");
    let keys: Vec<User> = (0..4).map(|n| user(700 + n)).collect();
    let theirs = Offer {
        certificate: certify(&strangers, case.told.certificate.header, 3, &keys),
        ..case.offer()
    };
    assert_eq!(case.refused(theirs).code(), "chain.finality.signature");
    // Another network's.
    let mut header = case.told.certificate.header;
    header.network.id = TESTNET;
    let set = case.client().newest().unwrap().clone();
    let foreign = Offer {
        certificate: certify(&set, header, 3, &case.told.keys),
        ..case.offer()
    };
    assert_eq!(case.refused(foreign).code(), "chain.finality.network");
    // Another block's state: the one before leads to the certificate, and its root is not this plan's.
    let blocks = &case.told.w.blocks;
    let before = blocks[blocks.len() - 2].header;
    let other = Offer {
        headers: List::new(vec![before]).unwrap(),
        ..case.offer()
    };
    assert_eq!(case.refused(other).code(), "ledger.snapshot.root");
    let far = Offer {
        headers: List::new(vec![blocks[0].header]).unwrap(),
        ..case.offer()
    };
    assert_eq!(case.refused(far).code(), "chain.finality.ancestor");
    // Any byte of the plan, changed in any way that keeps its spelling: no other depth, number or root leads to the certified one.
    let (offer, plan) = (case.offer().to_bytes(), case.cut.plan().to_bytes());
    let mut counts = 0;
    for at in 0..plan.len() {
        for flip in [1, 2, 3] {
            let mut bad = offer.clone();
            let place = offer.len() - plan.len() + at;
            bad[place] ^= flip;
            let entries = at >= 3 && (at - 3) % 33 == 32;
            match Offer::parse(&bad).map(|bad| (Assembly::begin(bad, &case.client()), plan[at])) {
                Err(error) => assert!(error.code().starts_with("ledger.decode."), "byte {at}: {error}"),
                Ok((Err(error), _)) => assert_eq!(error.code(), "ledger.snapshot.root", "byte {at}"),
                // Whether a part has one entry or more does not always show in the root. The parts are the same then, but it is
                // another plan, which is asked for by another name.
                Ok((Ok(other), before)) => {
                    assert!(entries && flip == 3 && before > 0, "byte {at}");
                    assert_ne!(other.plan(), case.cut.digest(), "byte {at}");
                    counts += 1;
                }
            }
        }
    }
    assert!(counts > 0, "2 entries or 1: not tried");
    let mut deep = offer.clone();
    deep[offer.len() - plan.len()] = 13;
    assert_eq!(Offer::parse(&deep).unwrap_err().code(), "ledger.decode.too_long");
    assert_eq!(
        Offer::parse(&offer[..offer.len() - 1]).unwrap_err().code(),
        "ledger.decode.truncated"
    );
    assert_eq!(
        Offer::parse(&vec![1; OFFER_BYTES_MAX + 1]).unwrap_err().code(),
        "ledger.decode.too_long"
    );
}

#[test]
fn a_whole_state_with_another_amount_of_money_is_none() {
    let case = Case::new();
    let mut assembly = case.begun();
    while let Some(part) = assembly.next() {
        assembly.take(part, &case.cut.part(part).unwrap()).unwrap();
    }
    let genesis = Genesis {
        max_supply: case.told.genesis().max_supply + 1,
        ..case.told.genesis()
    };
    let refused = assembly.finish(genesis).map(|_| ()).unwrap_err();
    assert!(
        matches!(refused, SnapshotError::Restore(RestoreError::Supply { .. })),
        "{refused}"
    );
}
