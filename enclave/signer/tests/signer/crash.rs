//! Crashes at every point, and everything that a host can do to the files: never a second signature for one place.

use hanzo_signer::{Floor, SignRequest, SignerError};

use crate::doubles::{Counter, Disk, Fault, Line, NETWORK, Released, create, notarize, open, vote};

/// Lengths up to which the interrupted append gets through: nothing, a part of each field, all of it.
const WRITTEN: [usize; 8] = [0, 1, 4, 5, 40, 100, 1000, usize::MAX];

#[test]
fn a_crash_at_any_point_never_gives_a_second_signature() {
    let mut crashes = 0;
    for after in 0..2 {
        for bytes in WRITTEN {
            for asks_the_same in [false, true] {
                let (disk, counter) = (Disk::new(), Counter::new());
                let mut released = Released::default();
                let mut signer = create(1, &disk, &counter).unwrap();
                released.take(&mut signer, &notarize(1, 1)).unwrap();
                *disk.fault.lock().unwrap() = Fault::Power { after, bytes };
                let error = released.take(&mut signer, &notarize(2, 1)).unwrap_err();
                assert_eq!(error.code(), "signer.journal.storage");
                assert_eq!(signer.sign(&notarize(3, 1)).unwrap_err().code(), "signer.halted");
                drop(signer);
                *disk.fault.lock().unwrap() = Fault::None;
                let mut signer = open(1, &disk, &counter).unwrap();
                if asks_the_same {
                    released.take(&mut signer, &notarize(2, 1)).unwrap();
                }
                let other = released.take(&mut signer, &notarize(2, 2));
                let recorded = after == 1 || bytes >= 1000;
                assert_eq!(
                    other.is_err(),
                    asks_the_same || recorded,
                    "after {after}, {bytes} bytes"
                );
                released.take(&mut signer, &notarize(1, 1)).unwrap();
                released.take(&mut signer, &notarize(3, 1)).unwrap();
                drop(signer);
                let mut signer = open(1, &disk, &counter).unwrap();
                released.take(&mut signer, &notarize(3, 1)).unwrap();
                crashes += 1;
            }
        }
    }
    assert_eq!(crashes, 32);
}

#[test]
fn without_an_answer_of_the_counter_no_signature_leaves() {
    for line in [Line::Down, Line::ReplyLost] {
        let (disk, counter) = (Disk::new(), Counter::new());
        let mut released = Released::default();
        let mut signer = create(1, &disk, &counter).unwrap();
        *counter.line.lock().unwrap() = line;
        let refused = released.take(&mut signer, &notarize(1, 1)).unwrap_err();
        assert_eq!(refused.code(), "signer.freshness.unreachable");
        assert_eq!(signer.sign(&notarize(1, 1)).unwrap_err().code(), "signer.halted");
        drop(signer);
        assert_eq!(
            open(1, &disk, &counter).err().unwrap().code(),
            "signer.freshness.unreachable"
        );
        *counter.line.lock().unwrap() = Line::Good;
        let mut signer = open(1, &disk, &counter).unwrap();
        assert_eq!(
            released.take(&mut signer, &notarize(1, 2)).unwrap_err().code(),
            "signer.conflict"
        );
        released.take(&mut signer, &notarize(1, 1)).unwrap();
        assert_eq!(released.len(), 1);
    }
}

/// A signer with a few votes, every state of its disk on the way, and what was signed.
fn history() -> (Vec<Vec<u8>>, Counter, Released) {
    let (disk, counter) = (Disk::new(), Counter::new());
    let mut released = Released::default();
    let mut signer = create(1, &disk, &counter).unwrap();
    let mut states = vec![disk.copy()];
    for view in 1..=3 {
        for request in [notarize(view, 1), SignRequest::finalize(NETWORK, vote(view, 1))] {
            released.take(&mut signer, &request).unwrap();
            states.push(disk.copy());
        }
    }
    (states, counter, released)
}

/// Opens what the host made of the disk, and if it opens asks for everything that would be a second signature.
fn attack(bytes: Vec<u8>, counter: &Counter, released: &mut Released) -> Result<(), SignerError> {
    let mut signer = open(1, &Disk::of(bytes), counter)?;
    for view in 1..=3 {
        for request in [
            notarize(view, 2),
            SignRequest::finalize(NETWORK, vote(view, 2)),
            SignRequest::nullify(NETWORK, 0, view),
        ] {
            assert!(released.take(&mut signer, &request).is_err());
        }
        released.take(&mut signer, &notarize(view, 1)).unwrap();
    }
    Ok(())
}

#[test]
fn every_older_state_of_the_disk_is_refused() {
    let (mut states, counter, mut released) = history();
    let newest = states.pop().unwrap();
    for state in states {
        let refused = attack(state, &counter, &mut released).unwrap_err();
        assert_eq!(refused.code(), "signer.journal.older");
    }
    attack(newest, &counter, &mut released).unwrap();
}

#[test]
fn every_truncation_and_every_changed_byte_is_refused() {
    let (mut states, counter, mut released) = history();
    let newest = states.pop().unwrap();
    for len in (0..newest.len()).step_by(61).chain(newest.len() - 40..newest.len()) {
        let refused = attack(newest[..len].to_vec(), &counter, &mut released).unwrap_err();
        assert_eq!(refused.code(), "signer.journal.older", "cut to {len} bytes");
    }
    for at in (0..newest.len()).step_by(61).chain(0..8) {
        let mut changed = newest.clone();
        changed[at] ^= 1;
        let refused = attack(changed, &counter, &mut released).unwrap_err();
        let codes = ["signer.journal.corrupt", "signer.journal.older"];
        assert!(codes.contains(&refused.code()), "byte {at}: {}", refused.code());
    }
    // What is written behind the end was never answered for: noise is cut off, and the journal is whole.
    let longer = [&newest[..], &[0; 77]].concat();
    attack(longer, &counter, &mut released).unwrap();
}

#[test]
fn a_deleted_journal_is_never_begun_again() {
    let (_, counter, _) = history();
    assert_eq!(
        open(1, &Disk::new(), &counter).err().unwrap().code(),
        "signer.journal.older"
    );
    assert_eq!(
        create(1, &Disk::new(), &counter).err().unwrap().code(),
        "signer.enrolled"
    );
}

#[test]
fn a_lost_counter_is_never_begun_again() {
    let (states, counter, _) = history();
    let newest = states.last().unwrap();
    for lost in [None, Some(hanzo_signer::Head::EMPTY)] {
        *counter.head.lock().unwrap() = lost;
        let refused = open(1, &Disk::of(newest.clone()), &counter).err().unwrap();
        assert_eq!(refused.code(), "signer.freshness.missing");
    }
}

#[test]
fn of_two_clones_one_signs() {
    let (states, counter, mut released) = history();
    let newest = states.last().unwrap();
    let (disk, cloned) = (Disk::of(newest.clone()), Disk::of(newest.clone()));
    let mut signer = open(1, &disk, &counter).unwrap();
    let mut clone = open(1, &cloned, &counter).unwrap();
    released.take(&mut signer, &notarize(4, 1)).unwrap();
    let refused = released.take(&mut clone, &notarize(4, 2)).unwrap_err();
    assert_eq!(refused.code(), "signer.freshness.moved");
    assert_eq!(clone.sign(&notarize(5, 1)).unwrap_err().code(), "signer.halted");
    assert_eq!(
        open(1, &cloned, &counter).err().unwrap().code(),
        "signer.journal.diverged"
    );
    released.take(&mut signer, &notarize(5, 1)).unwrap();
    // Nor does the clone's request get in by the first one's journal.
    assert_eq!(signer.sign(&notarize(4, 2)).unwrap_err().code(), "signer.conflict");
}

#[test]
fn a_journal_is_of_one_key() {
    let (states, counter, _) = history();
    let refused = open(2, &Disk::of(states.last().unwrap().clone()), &counter)
        .err()
        .unwrap();
    assert_eq!(refused.code(), "signer.journal.other");
}

#[test]
fn a_raised_floor_is_remembered() {
    let (disk, counter) = (Disk::new(), Counter::new());
    let mut signer = create(1, &disk, &counter).unwrap();
    signer.sign(&notarize(5, 1)).unwrap();
    signer.raise(Floor::Votes { epoch: 0, view: 5 }).unwrap();
    drop(signer);
    let mut signer = open(1, &disk, &counter).unwrap();
    assert_eq!(signer.sign(&notarize(5, 2)).unwrap_err().code(), "signer.below_floor");
    assert_eq!(signer.sign(&notarize(5, 1)).unwrap_err().code(), "signer.below_floor");
    signer.sign(&notarize(6, 1)).unwrap();
}
