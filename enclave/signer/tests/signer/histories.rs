//! Random histories, valid and slashable: the history's engine and the guard decide as the plain re-statement does.
//!
//! `cargo test` runs 2 000 of them; `HANZO_SIGNER_HISTORIES=200000` runs that many. A failure names its history; `HANZO_SIGNER_SEED`
//! with that number runs it alone.

use hanzo_signer::history::{Form, Permit, SigningHistory};
use hanzo_signer::interchange::{Entry, Interchange, SignedAttestation, SignedBlock, SigningRoot, ValidatorKey};
use hanzo_signer::{Decision, Network, SignRequest, SigningGuard, Subject, Vote};

use crate::plain::{Minimal, Validator};

const GENESIS: [u8; 32] = [4; 32];

/// SplitMix64: one seed, one history.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

fn validator(n: u64) -> ValidatorKey {
    ValidatorKey([n as u8; 48])
}

/// How much room a history has: in little room much conflicts, in much room little.
struct Room {
    slots: u64,
    epochs: u64,
    roots: u64,
    rootless: u64,
}

impl Room {
    fn draw(r: &mut Random) -> Self {
        Self {
            slots: 3 + r.below(20),
            epochs: 3 + r.below(16),
            roots: 1 + r.below(3),
            rootless: 1 + r.below(8),
        }
    }

    fn root(&self, r: &mut Random) -> Option<SigningRoot> {
        if r.below(self.rootless) == 0 {
            return None;
        }
        SigningRoot::new(&[r.below(self.roots) as u8; 32])
    }

    fn block(&self, r: &mut Random) -> SignedBlock {
        SignedBlock {
            slot: r.below(self.slots),
            root: self.root(r),
        }
    }

    fn vote(&self, r: &mut Random) -> SignedAttestation {
        let target = r.below(self.epochs);
        SignedAttestation {
            source: r.below(target + 1),
            target,
            root: self.root(r),
        }
    }

    /// A file: half of them as an honest signer would have written it, half with whatever comes.
    fn file(&self, r: &mut Random) -> Interchange {
        let honest = r.below(2) == 0;
        let mut entries = Vec::new();
        for _ in 0..1 + r.below(3) {
            let (blocks, votes) = (r.below(4), r.below(4));
            let mut entry = Entry {
                key: validator(r.below(2)),
                blocks: (0..blocks).map(|_| self.block(r)).collect(),
                attestations: (0..votes).map(|_| self.vote(r)).collect(),
            };
            if honest {
                entry.blocks.sort_by_key(|block| block.slot);
                entry.blocks.dedup_by_key(|block| block.slot);
                entry.attestations.sort_by_key(|vote| vote.target);
                entry.attestations.dedup_by_key(|vote| vote.target);
                let mut low = 0;
                for vote in &mut entry.attestations {
                    low = vote.source.max(low);
                    vote.source = low;
                }
            }
            if r.below(4) == 0 {
                let repeated = entry.blocks.first().cloned();
                entry.blocks.extend(repeated);
                let repeated = entry.attestations.last().cloned();
                entry.attestations.extend(repeated);
            }
            entries.push(entry);
        }
        let genesis = if r.below(40) == 0 { [5; 32] } else { GENESIS };
        Interchange { genesis, entries }
    }
}

#[derive(Default, Debug)]
struct Tally {
    histories: u64,
    imported: u64,
    refused: u64,
    signed: u64,
    repeats: u64,
    not_signed: u64,
}

/// One history in both forms, step by step.
fn run(seed: u64, tally: &mut Tally) {
    let mut r = Random(seed);
    let room = Room::draw(&mut r);
    let mut complete = SigningHistory::new(Form::Complete, GENESIS);
    let mut minimal = SigningHistory::new(Form::Minimal, GENESIS);
    let mut plain = [Validator::default(), Validator::default()];
    let mut greatest = [Minimal::default(), Minimal::default()];
    for step in 0..6 + r.below(18) {
        let n = r.below(2);
        let at = usize::try_from(n).unwrap();
        let key = validator(n);
        let place = format!("history {seed}, step {step}");
        match r.below(10) {
            0 | 1 => {
                // What is read back from a file's text is that file.
                let file = room.file(&mut r);
                let file_read = Interchange::parse(file.to_json().as_bytes()).unwrap();
                assert_eq!(file_read, file, "{place}");
                let mut next = plain.clone();
                let consistent = (0..2).all(|n| next[n].import(&file, &validator(n as u64)));
                let expected = consistent && file.genesis == GENESIS;
                assert_eq!(complete.import(&file).is_ok(), expected, "{place}: {file:?}");
                if expected {
                    plain = next;
                    tally.imported += 1;
                } else {
                    tally.refused += 1;
                }
                assert_eq!(minimal.import(&file).is_ok(), file.genesis == GENESIS, "{place}");
                if file.genesis == GENESIS {
                    (0..2).for_each(|n| greatest[n].import(&file, &validator(n as u64)));
                }
            }
            2..=4 => {
                let block = room.block(&mut r);
                let expected = plain[at].may_sign_block(&block);
                let permit = complete.sign_block(&key, &block);
                assert_eq!(permit.is_ok(), expected, "{place}: {block:?}: {permit:?}");
                match permit {
                    Ok(Permit::New) => {
                        assert!(!plain[at].block_convicts(&block), "{place}: {block:?}");
                        plain[at].signed_block(&block);
                        tally.signed += 1;
                    }
                    Ok(Permit::Repeat) => tally.repeats += 1,
                    Err(_) => tally.not_signed += 1,
                }
                let expected = greatest[at].may_sign_block(&block);
                assert_eq!(minimal.sign_block(&key, &block).is_ok(), expected, "{place}: {block:?}");
                if expected {
                    greatest[at].signed_block(&block);
                }
            }
            5..=7 => {
                let mut vote = room.vote(&mut r);
                if r.below(20) == 0 {
                    vote.source = vote.target + 1;
                }
                let expected = plain[at].may_sign_vote(&vote);
                let permit = complete.sign_attestation(&key, &vote);
                assert_eq!(permit.is_ok(), expected, "{place}: {vote:?}: {permit:?}");
                match permit {
                    Ok(Permit::New) => {
                        assert!(!plain[at].vote_convicts(&vote), "{place}: {vote:?}");
                        plain[at].signed_vote(&vote);
                        tally.signed += 1;
                    }
                    Ok(Permit::Repeat) => tally.repeats += 1,
                    Err(_) => tally.not_signed += 1,
                }
                let expected = greatest[at].may_sign_vote(&vote);
                assert_eq!(
                    minimal.sign_attestation(&key, &vote).is_ok(),
                    expected,
                    "{place}: {vote:?}"
                );
                if expected {
                    greatest[at].signed_vote(&vote);
                }
            }
            8 => {
                let (slot, target) = (r.below(room.slots), r.below(room.epochs));
                complete.prune(&key, slot, target);
                plain[at].prune(slot, target);
            }
            _ => moved(&room, &mut r, [&complete, &minimal], &place),
        }
    }
    tally.histories += 1;
}

/// A signer that begins with the exported file signs nothing that the exporting one would not.
fn moved(room: &Room, r: &mut Random, from: [&SigningHistory; 2], place: &str) {
    for history in from {
        for form in [Form::Complete, Form::Minimal] {
            let file = Interchange::parse(history.export().to_json().as_bytes()).unwrap();
            let mut next = SigningHistory::new(form, GENESIS);
            next.import(&file).unwrap();
            for _ in 0..8 {
                let (key, block, vote) = (validator(r.below(2)), room.block(r), room.vote(r));
                let new = next.check_block(&key, &block);
                assert!(
                    new.is_err() || history.check_block(&key, &block).is_ok(),
                    "{place}: {block:?}"
                );
                let new = next.check_attestation(&key, &vote);
                assert!(
                    new.is_err() || history.check_attestation(&key, &vote).is_ok(),
                    "{place}: {vote:?}"
                );
            }
        }
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn random_histories_are_decided_as_the_eip_says() {
    let mut tally = Tally::default();
    match number("HANZO_SIGNER_SEED") {
        Some(seed) => run(seed, &mut tally),
        None => (0..number("HANZO_SIGNER_HISTORIES").unwrap_or(2_000)).for_each(|seed| run(seed, &mut tally)),
    }
    println!("{tally:?}");
    if tally.histories >= 2_000 {
        // Both outcomes of every kind came up, so the agreement says something.
        assert!(tally.imported > 1_000 && tally.refused > 1_000);
        assert!(tally.signed > 1_000 && tally.not_signed > 1_000 && tally.repeats > 100);
    }
}

/// The consensus guard, given blocks as notarizations: what it signs, the plain rules allow, and of what they allow it refuses only
/// messages without root, which no request is, and repeats of the lowest, which it forgot.
#[test]
fn the_guard_of_votes_agrees_about_slots_that_are_views() {
    let network = Network::ai_chain(36964, GENESIS);
    let request = |block: &SignedBlock| SignRequest {
        network,
        subject: Subject::Notarize(Vote {
            epoch: 0,
            view: block.slot,
            parent: 0,
            payload: block
                .root
                .as_ref()
                .map_or([0; 32], |root| root.as_bytes().try_into().unwrap()),
        }),
    };
    let (mut signed, mut refused) = (0, 0);
    for seed in 0..number("HANZO_SIGNER_HISTORIES").unwrap_or(2_000) {
        let mut r = Random(seed);
        let room = Room {
            rootless: u64::MAX,
            ..Room::draw(&mut r)
        };
        let (mut guard, mut plain) = (SigningGuard::new(), Validator::default());
        for _ in 0..12 {
            let block = room.block(&mut r);
            // The EIP refuses slots below the first that was signed; a guard whose floor nobody raised does not.
            let known = plain.may_sign_block(&block);
            let decision = guard.decide(&request(&block));
            assert!(decision.is_ok() || !known, "history {seed}: {block:?}: {decision:?}");
            match decision {
                Ok(Decision::Sign) => {
                    assert!(!plain.block_convicts(&block), "history {seed}: {block:?}");
                    guard.record(&request(&block)).unwrap();
                    plain.signed_block(&block);
                    signed += 1;
                }
                Ok(_) => assert!(!plain.block_convicts(&block), "history {seed}: {block:?}"),
                Err(_) => refused += 1,
            }
        }
    }
    println!("{signed} signed, {refused} refused");
    assert!(signed > 1_000 && refused > 1_000);
}
