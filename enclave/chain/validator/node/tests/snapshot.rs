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
use hanzo_ledger::snapshot::Cut;
use hanzo_ledger::{Bounded, Canonical, List, State};
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

/// How a peer answers, and after how many looks.
type Says = Box<dyn Fn(&MiningLedger, &Message) -> (u32, Message)>;

/// Looks after which nobody waits any more.
const NEVER: u32 = u32::MAX;

fn truly() -> Says {
    Box::new(|ledger, question| {
        let told = answer(ledger, question).unwrap().unwrap();
        // As it goes over the wire.
        let bytes = told.to_bytes();
        assert!(bytes.len() <= MESSAGE_BYTES_MAX);
        (0, Message::parse(&bytes).unwrap())
    })
}

fn but(change: impl Fn(&mut Message) + 'static) -> Says {
    Box::new(move |ledger, question| {
        let (after, mut told) = truly()(ledger, question);
        change(&mut told);
        (after, told)
    })
}

/// Hands out the true state, cut so that a part has at most `bytes`; a part comes after so many looks.
fn cutting(state: &State, bytes: usize, after: u32, change: impl Fn(&Cut, &mut Message) + 'static) -> Says {
    let cut = state.clone().cut(bytes).unwrap();
    assert!(cut.plan().parts().len() > 2);
    Box::new(move |ledger, question| match question {
        Message::AskPart(of, part) => {
            let bytes = Bounded::new(cut.part(*part).unwrap()).unwrap();
            let mut said = Message::Part(*of, *part, bytes);
            change(&cut, &mut said);
            (after, said)
        }
        question => {
            let (_, mut said) = truly()(ledger, question);
            if let Message::Offer(offer) = &mut said {
                offer.plan = cut.plan().clone();
            }
            (0, said)
        }
    })
}

struct Fetched {
    went: Option<u64>,
    caught: Vec<usize>,
    looks: u32,
    /// Answers that were taken.
    answers: u32,
}

/// Fetches until it is there or `rounds` looks went by; who was caught.
fn fetched(fetch: &mut Fetch, from: &MiningLedger, says: &[Says], rounds: u32) -> Fetched {
    let mut out = Fetched {
        went: None,
        caught: Vec::new(),
        looks: 0,
        answers: 0,
    };
    let mut coming: Vec<(u32, usize, Message)> = Vec::new();
    for now in 0..rounds {
        out.looks = now;
        let there: Vec<_> = (0..says.len()).filter(|n| !out.caught.contains(n)).collect();
        let peers: Vec<_> = there.iter().map(|n| peer(*n as u16)).collect();
        let mut next = fetch.tick(&peers, true);
        loop {
            if let Some((who, question)) = next.take() {
                let n = (0..says.len()).find(|n| peer(*n as u16) == who).unwrap();
                let (after, said) = says[n](from, &question);
                coming.push((now.saturating_add(after), n, said));
            }
            let Some(at) = coming.iter().position(|(when, ..)| *when <= now) else {
                break;
            };
            let (_, n, said) = coming.remove(at);
            let who = peer(n as u16);
            out.answers += 1;
            assert!(out.answers < 20_000, "it is told things without an end");
            match fetch.take(&who, said) {
                Ok(Taken::Nothing) => {}
                Ok(Taken::Next(question)) => next = Some((who, question)),
                Ok(Taken::Installed(height)) => {
                    out.went = Some(height);
                    return out;
                }
                Err(FetchError::Wrong { peer: liar, .. }) => {
                    out.caught
                        .push((0..says.len()).find(|n| peer(*n as u16) == liar).unwrap());
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
    out
}

fn fetch(fetch: &mut Fetch, from: &MiningLedger, says: &[Says], rounds: u32) -> (Option<u64>, Vec<usize>) {
    let out = fetched(fetch, from, says, rounds);
    (out.went, out.caught)
}

/// The state after the block that `from` hands out.
fn offered(place: &Path, told: &Told, from: &MiningLedger) -> (u64, State) {
    let base = from.offer(0).unwrap().unwrap().header().height;
    let upto = open(place, told);
    for block in &told.w.blocks[..base as usize] {
        upto.submit(block.clone()).unwrap();
    }
    (base, upto.read(State::clone))
}

#[test]
fn a_true_state_in_other_parts_gets_nobody_blocked_who_has_it_in_the_usual_ones() {
    let told = told();
    let dir = tempfile::tempdir().unwrap();
    let from = whole(&dir.path().join("from"), &told);
    let (base, state) = offered(&dir.path().join("upto"), &told, &from);
    // Asked first: it offers the state in parts of its own, and hands out none, or each of them slowly.
    for (n, after) in [NEVER, 39].into_iter().enumerate() {
        let late = open(&dir.path().join(format!("late-{n}")), &told);
        let says = [truly(), cutting(&state, 1, after, |_, _| {}), truly(), truly()];
        let mut fetching = Fetch::new(Arc::clone(&late), 3);
        let out = fetched(&mut fetching, &from, &says, 2_000);
        assert_eq!(
            (out.went, out.caught),
            (Some(base), vec![]),
            "{n}: after {} looks",
            out.looks
        );
        assert_eq!(late.read(|s| s.root()), state.root());
    }
    // All alone it is good for what it is: a true state.
    let alone = open(&dir.path().join("alone"), &told);
    let mut fetching = Fetch::new(Arc::clone(&alone), 3);
    let says = [cutting(&state, 8_000, 1, |_, _| {})];
    assert_eq!(fetch(&mut fetching, &from, &says, 400), (Some(base), vec![]));
    assert_eq!(alone.read(|s| s.root()), state.root());
}

#[test]
fn a_plan_with_an_entry_in_another_place_costs_its_giver_alone() {
    let told = told();
    let dir = tempfile::tempdir().unwrap();
    let from = whole(&dir.path().join("from"), &told);
    let (base, state) = offered(&dir.path().join("upto"), &told, &from);
    // A part with one entry and its empty neighbour, told the other way round: the root is the same.
    let mut plan = state.clone().cut(1).unwrap().plan().to_bytes();
    let head = |n: usize| 3 + 33 * n..3 + 33 * (n + 1);
    let alone = (0..4096)
        .find(|n| plan[head(*n)][32] == 1 && plan[head(n ^ 1)][32] == 0)
        .unwrap();
    let moved = plan[head(alone)].to_vec();
    plan[head(alone)].fill(0);
    plan[head(alone ^ 1)].copy_from_slice(&moved);
    let plan = hanzo_ledger::snapshot::Plan::from_bytes("plan", &plan, plan.len()).unwrap();
    assert_eq!(plan.verify(&state.root()), Ok(()));
    let liar: Says = Box::new(move |ledger, question| match question {
        Message::AskPart(..) => (NEVER, Message::NoOffer),
        question => {
            let (_, mut said) = truly()(ledger, question);
            if let Message::Offer(offer) = &mut said {
                offer.plan = plan.clone();
            }
            (0, said)
        }
    });
    let late = open(&dir.path().join("late"), &told);
    let says = [truly(), liar, truly()];
    let out = fetched(&mut Fetch::new(Arc::clone(&late), 3), &from, &says, 400);
    assert_eq!(
        (out.went, out.caught),
        (Some(base), vec![]),
        "after {} looks",
        out.looks
    );
    assert_eq!(late.read(|s| s.root()), state.root());
}

#[test]
fn who_answers_everything_with_one_part_or_drips_them_holds_nobody_up() {
    let told = told();
    let dir = tempfile::tempdir().unwrap();
    let from = whole(&dir.path().join("from"), &told);
    let (base, state) = offered(&dir.path().join("upto"), &told, &from);
    // Part 0, true, whatever was asked for: of no use, and no reason to ask again.
    let zero = cutting(&state, 8_000, 0, |cut, said| {
        if let Message::Part(_, part, bytes) = said {
            (*part, *bytes) = (0, Bounded::new(cut.part(0).unwrap()).unwrap());
        }
    });
    let late = open(&dir.path().join("late"), &told);
    let says = [truly(), zero, truly(), truly()];
    let out = fetched(&mut Fetch::new(Arc::clone(&late), 3), &from, &says, 400);
    assert_eq!((out.went, out.caught), (Some(base), vec![]));
    assert!(out.answers < 40, "{} answers were taken", out.answers);
    // Each part just before it would be asked of another: the others have the same parts, and give the rest of them at once.
    let late = open(&dir.path().join("dripped"), &told);
    let drip = || cutting(&state, 1, 39, |_, _| {});
    let says = [cutting(&state, 1, 0, |_, _| {}), drip(), drip()];
    let out = fetched(&mut Fetch::new(Arc::clone(&late), 3), &from, &says, 400);
    assert_eq!(
        (out.went, out.caught),
        (Some(base), vec![]),
        "after {} looks",
        out.looks
    );
    // Drips of everybody: after a few minutes of it, blocks are asked for in between.
    let late = open(&dir.path().join("slow"), &told);
    let mut fetching = Fetch::new(late, 3);
    assert_eq!(fetch(&mut fetching, &from, &[drip(), drip()], 640), (None, vec![]));
    assert!(!fetching.is_under_way());
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
