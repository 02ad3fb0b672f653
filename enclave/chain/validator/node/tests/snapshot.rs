//! Who is far behind takes a state: of whoever has it, around those who lie about it, and never in part.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests stop at the first surprise"
)]
#![allow(clippy::result_large_err, reason = "tests stop at the first surprise")]

#[path = "../../../types/tests/support/light.rs"]
mod light;

use std::path::Path;
use std::sync::Arc;

use hanzo_chain::ValidatorKey;
use hanzo_chain_node::snapshot::{Fetch, FetchError, MESSAGE_BYTES_MAX, Message, Taken, answer};
use hanzo_ledger::{Bounded, Canonical, List};
use hanzo_mining::MiningLedger;
use hanzo_pqc::Dek;
use light::fixture::*;
use light::{Told, told};

fn open(place: &Path, told: &Told) -> Arc<MiningLedger> {
    let _ = std::fs::create_dir(place);
    let key = Dek::from_slice(&[9; 32]).unwrap();
    Arc::new(MiningLedger::open(&place.join("ledger.db"), &key, told.genesis()).unwrap())
}

fn whole(place: &Path, told: &Told) -> Arc<MiningLedger> {
    let ledger = open(place, told);
    for block in &told.w.blocks {
        ledger.submit(block.clone()).unwrap();
        if block.header == told.handover.certificate.header {
            ledger.certify(&told.handover.certificate).unwrap();
        }
    }
    ledger.certify(&told.certificate).unwrap();
    ledger
}

fn peer(n: u16) -> ValidatorKey {
    ValidatorKey::new(&user(900 + n).public).unwrap()
}

/// How a peer answers.
type Says = Box<dyn Fn(&MiningLedger, &Message) -> Message>;

fn truly() -> Says {
    Box::new(|ledger, question| {
        let told = answer(ledger, question).unwrap().unwrap();
        // As it goes over the wire.
        let bytes = told.to_bytes();
        assert!(bytes.len() <= MESSAGE_BYTES_MAX);
        Message::parse(&bytes).unwrap()
    })
}

fn but(change: impl Fn(&mut Message) + 'static) -> Says {
    Box::new(move |ledger, question| {
        let mut told = truly()(ledger, question);
        change(&mut told);
        told
    })
}

/// Fetches until it is there or `rounds` looks went by; who was caught.
fn fetch(fetch: &mut Fetch, from: &MiningLedger, says: &[Says], rounds: u32) -> (Option<u64>, Vec<usize>) {
    let mut caught = Vec::new();
    for _ in 0..rounds {
        let peers: Vec<_> = (0..says.len())
            .filter(|n| !caught.contains(n))
            .map(|n| peer(n as u16))
            .collect();
        let mut next = fetch.tick(&peers, true);
        while let Some((who, question)) = next.take() {
            let n = (0..says.len()).find(|n| peer(*n as u16) == who).unwrap();
            match fetch.take(&who, says[n](from, &question)) {
                Ok(Taken::Nothing) => {}
                Ok(Taken::Next(question)) => next = Some((who, question)),
                Ok(Taken::Installed(height)) => return (Some(height), caught),
                Err(FetchError::Wrong { peer: liar, .. }) => {
                    caught.push((0..says.len()).find(|n| peer(*n as u16) == liar).unwrap());
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
    (None, caught)
}

#[test]
fn a_state_is_taken_around_every_kind_of_liar_and_the_liar_is_named() {
    let told = told();
    let dir = tempfile::tempdir().unwrap();
    let from = whole(&dir.path().join("from"), &told);
    let base = from.offer(0).unwrap().unwrap().header().height;
    let flip = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        *bytes.last_mut().unwrap() ^= 1;
        Bounded::new(bytes).unwrap()
    };
    let liars: Vec<Says> = vec![
        // A part with another byte; one that is cut off; handovers of nobody; a certificate of an early block for a late state.
        but(move |m| {
            if let Message::Part(.., bytes) = m {
                *bytes = flip(bytes);
            }
        }),
        but(|m| {
            if let Message::Part(.., bytes) = m {
                *bytes = Bounded::new(bytes[..bytes.len() - 1].to_vec()).unwrap();
            }
        }),
        but(|m| {
            if let Message::Handovers(all) = m {
                let twice: Vec<_> = all.iter().chain(all.iter()).cloned().collect();
                *all = List::new(twice).unwrap();
            }
        }),
        but(|m| {
            if let Message::Offer(offer) = m {
                let mut headers = offer.headers.to_vec();
                headers[0].state_root.0[0] ^= 1;
                offer.headers = List::new(headers).unwrap();
            }
        }),
    ];
    for (n, liar) in liars.into_iter().enumerate() {
        let late = open(&dir.path().join(format!("late-{n}")), &told);
        let mut fetching = Fetch::new(Arc::clone(&late), 3);
        // Whoever is asked first: with two peers both orders happen before long.
        let says = [liar, truly()];
        let (went, caught) = fetch(&mut fetching, &from, &says, 400);
        assert_eq!(went, Some(base), "liar {n}");
        assert!(caught.is_empty() || caught == [0], "liar {n}: {caught:?}");
        assert_eq!(
            late.read(|s| s.root()),
            told.w.blocks[base as usize - 1].header.state_root
        );
        assert_eq!(late.base(), Some(base));
        // It goes on with blocks, and needs no state any more.
        for block in &told.w.blocks[base as usize..] {
            late.submit(block.clone()).unwrap();
        }
        assert_eq!(
            late.read(|s| (s.root(), s.supply())),
            (told.w.state.root(), told.w.state.supply())
        );
        assert_eq!(fetch(&mut fetching, &from, &says, 100), (None, vec![]), "liar {n}");
        // Alone it is caught, and nothing of what it said is kept.
        let alone = open(&dir.path().join(format!("alone-{n}")), &told);
        let [liar, _] = says;
        let (went, caught) = fetch(&mut Fetch::new(Arc::clone(&alone), 3), &from, &[liar], 100);
        assert_eq!((went, caught), (None, vec![0]), "liar {n}");
        assert_eq!(alone.read(|s| (s.head().height, s.root())), {
            let state = hanzo_ledger::State::new(told.genesis()).unwrap();
            (0, state.root())
        });
    }
}

#[test]
fn parts_that_are_gone_and_handovers_that_are_missing_are_asked_of_others() {
    let told = told();
    let dir = tempfile::tempdir().unwrap();
    let from = whole(&dir.path().join("from"), &told);
    for (n, poor) in [
        but(|m| {
            if let Message::Part(block, ..) = m {
                *m = Message::Gone(*block);
            }
        }),
        but(|m| {
            if let Message::Handovers(all) = m {
                *all = List::default();
            }
        }),
        but(|m| {
            if let Message::Offer(_) = m {
                *m = Message::NoOffer;
            }
        }),
    ]
    .into_iter()
    .enumerate()
    {
        let late = open(&dir.path().join(format!("late-{n}")), &told);
        let mut fetching = Fetch::new(late, 3);
        let (went, caught) = fetch(&mut fetching, &from, &[poor, truly()], 400);
        assert!(went.is_some() && caught.is_empty(), "{n}: being poor is no fault");
    }
}

#[test]
fn who_is_near_or_wants_no_state_asks_for_none_and_a_stop_in_the_middle_leaves_what_was() {
    let told = told();
    let dir = tempfile::tempdir().unwrap();
    let from = whole(&dir.path().join("from"), &told);
    let late = open(&dir.path().join("late"), &told);
    let far = told.w.blocks.len() as u64 + 1;
    for behind in [0, far] {
        let mut fetching = Fetch::new(Arc::clone(&late), behind);
        assert_eq!(fetch(&mut fetching, &from, &[truly()], 50), (None, vec![]));
        assert!(!fetching.is_under_way());
    }
    // An offer that does not keep to what was asked for is not followed.
    let mut fetching = Fetch::new(Arc::clone(&late), far);
    let (who, _) = fetching.tick(&[peer(0)], true).unwrap();
    let offer = answer(&from, &Message::AskOffer(0)).unwrap().unwrap();
    assert_eq!(fetching.take(&who, offer.clone()).unwrap(), Taken::Nothing);
    assert!(!fetching.is_under_way());
    drop(fetching);
    // Nobody asked, or somebody else was asked: nothing happens.
    let mut fetching = Fetch::new(Arc::clone(&late), 3);
    assert_eq!(fetching.take(&peer(0), offer.clone()).unwrap(), Taken::Nothing);
    let (who, _) = fetching.tick(&[peer(0)], true).unwrap();
    assert_eq!(fetching.take(&peer(1), offer.clone()).unwrap(), Taken::Nothing);
    // In the middle: the process ends here.
    let next = fetching.take(&who, offer).unwrap();
    assert!(matches!(next, Taken::Next(Message::AskHandovers(1))), "{next:?}");
    assert!(fetching.is_under_way());
    drop((fetching, late));
    let late = open(&dir.path().join("late"), &told);
    assert_eq!((late.read(|s| s.head().height), late.base()), (0, None));
    let mut fetching = Fetch::new(Arc::clone(&late), 3);
    assert!(fetch(&mut fetching, &from, &[truly()], 10).0.is_some());
}

#[test]
fn messages_are_read_in_their_one_spelling_and_within_bounds() {
    for message in [
        Message::AskOffer(7),
        Message::NoOffer,
        Message::AskHandovers(1),
        Message::Handovers(List::default()),
    ] {
        let bytes = message.to_bytes();
        assert_eq!(Message::parse(&bytes).unwrap(), message);
        let more = Message::parse(&[&bytes[..], &[0]].concat()).unwrap_err();
        assert_eq!(more.code(), "ledger.decode.trailing");
    }
    assert_eq!(Message::parse(&[8]).unwrap_err().code(), "ledger.decode.tag");
    assert_eq!(Message::parse(&[0, 1]).unwrap_err().code(), "ledger.decode.truncated");
    let long = [&[6][..], &[0; 34], &u32::MAX.to_be_bytes()].concat();
    assert_eq!(Message::parse(&long).unwrap_err().code(), "ledger.decode.too_long");
}
