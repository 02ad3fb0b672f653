//! Witnesses: cosignatures, and what they are for: a log that tells two stories.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use hanzo_attestation::{Digest256, UnixTime};
use hanzo_log::tree::{consistency_proof, leaf_hash, root, verify_consistency};
use hanzo_log::{Checkpoint, LogVerifier, Origin, SignedCheckpoint, WitnessKey};
use hanzo_pqc::SignatureSuite;
use hanzo_pqc::sign::NoteSigningKeys;

/// A small witness: it remembers the newest head, and signs what extends it.
struct Witness {
    keys: Ed25519KeyPair,
    key: WitnessKey,
    log: LogVerifier,
    seen: (u64, Digest256),
}

impl Witness {
    fn new(name: &str, seed: u8, log: &Log) -> Self {
        let keys = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
        Self {
            key: WitnessKey::new(name, keys.public_key().as_ref()).unwrap(),
            keys,
            log: log.verifier(),
            seen: (0, root(&[])),
        }
    }

    /// As C2SP tlog-witness: the old size, the proof, the head. `None`: it does not sign.
    fn add_checkpoint(&mut self, note: SignedCheckpoint, proof: &[Digest256], time: u64) -> Option<SignedCheckpoint> {
        let head = note.verify(&self.log).ok()?;
        verify_consistency(self.seen.0, &self.seen.1, head.size(), &head.root(), proof).ok()?;
        self.seen = (head.size(), head.root());
        let time = UnixTime(time);
        let signature = self.keys.sign(&note.cosigned_bytes(time));
        Some(note.with_cosignature(&self.key, time, signature.as_ref()))
    }
}

struct Log {
    keys: NoteSigningKeys,
    leaves: Vec<Digest256>,
}

impl Log {
    fn new(texts: &[&str]) -> Self {
        Self {
            keys: NoteSigningKeys::from_seed(SignatureSuite::MlDsa65Ed25519, &[5; 64]).unwrap(),
            leaves: texts.iter().map(|t| leaf_hash(&[t.as_bytes()])).collect(),
        }
    }

    fn verifier(&self) -> LogVerifier {
        LogVerifier::new(
            Origin::new("example/receipts").unwrap(),
            self.keys.verifying_keys().clone(),
        )
    }

    fn head(&self) -> SignedCheckpoint {
        let checkpoint = Checkpoint {
            origin: Origin::new("example/receipts").unwrap(),
            size: self.leaves.len() as u64,
            root: root(&self.leaves),
        };
        let signature = self.keys.sign_note(&checkpoint.text()).unwrap();
        SignedCheckpoint::assemble(checkpoint, &self.verifier(), &signature).unwrap()
    }

    fn since(&self, old: u64) -> Vec<Digest256> {
        consistency_proof(&self.leaves, old as usize).unwrap()
    }
}

#[test]
fn a_cosignature_counts_under_its_witness_s_key_and_no_other() {
    let log = Log::new(&["a", "b", "c"]);
    let mut witness = Witness::new("witness.example/w1", 1, &log);
    let other = Witness::new("witness.example/w1", 2, &log);
    let note = witness
        .add_checkpoint(log.head(), &log.since(0), 1_800_000_000)
        .unwrap();
    assert!(
        note.verify(&log.verifier()).is_ok(),
        "the log's own signatures stand as before"
    );
    let read = SignedCheckpoint::parse(note.to_text().as_bytes()).unwrap();
    let found = read.cosignatures(std::slice::from_ref(&witness.key)).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(
        (found[0].witness.as_str(), found[0].time.0),
        ("witness.example/w1", 1_800_000_000)
    );
    assert!(
        read.cosignatures(&[other.key]).unwrap().is_empty(),
        "another key is another witness"
    );
    assert!(
        log.head()
            .cosignatures(std::slice::from_ref(&witness.key))
            .unwrap()
            .is_empty()
    );

    // The key as witnesses publish it.
    let text = witness.key.to_text();
    assert_eq!(WitnessKey::parse(&text).unwrap(), witness.key);
    for (from, to) in [
        ("witness.example/w1", "witness.example/w2"),
        ("+", ""),
        ("+BA", "+AQ"),
        ("=", ""),
    ] {
        let bad = text.replacen(from, to, 1);
        if bad != text {
            assert_eq!(WitnessKey::parse(&bad).unwrap_err().code(), "log.witness.key", "{bad}");
        }
    }

    // One that does not verify is no absent one: of another head, of another time, twice, cut off.
    let signature = witness.keys.sign(&log.head().cosigned_bytes(UnixTime(7)));
    let with = |head: SignedCheckpoint, time: u64, signature: &[u8]| {
        head.with_cosignature(&witness.key, UnixTime(time), signature)
    };
    let shorter = Log::new(&["a", "b"]);
    let twice = with(with(log.head(), 7, signature.as_ref()), 7, signature.as_ref());
    for (what, bad) in [
        ("another head", with(shorter.head(), 7, signature.as_ref())),
        ("another time", with(log.head(), 8, signature.as_ref())),
        ("out of range", with(log.head(), 1 << 53, signature.as_ref())),
        ("cut off", with(log.head(), 7, &signature.as_ref()[..63])),
        ("twice", twice),
    ] {
        let refused = bad.cosignatures(std::slice::from_ref(&witness.key)).unwrap_err();
        assert_eq!(refused.code(), "log.cosignature.invalid", "{what}");
    }
    let good = with(log.head(), 7, signature.as_ref());
    assert_eq!(good.cosignatures(std::slice::from_ref(&witness.key)).unwrap().len(), 1);
}

#[test]
fn a_split_view_gets_one_witness_each_never_both_and_without_witnesses_nothing_tells() {
    let honest = Log::new(&["a", "b"]);
    let mut first = Witness::new("w1.example", 1, &honest);
    let mut second = Witness::new("w2.example", 2, &honest);
    let keys = [first.key.clone(), second.key.clone()];
    let both = first.add_checkpoint(honest.head(), &honest.since(0), 1).unwrap();
    let both = second.add_checkpoint(both, &honest.since(0), 2).unwrap();
    assert_eq!(both.cosignatures(&keys).unwrap().len(), 2);

    // From here on the log tells two stories.
    let (ours, theirs) = (Log::new(&["a", "b", "c", "d"]), Log::new(&["a", "b", "x", "d", "e"]));
    let seen_by_us = first.add_checkpoint(ours.head(), &ours.since(2), 3).unwrap();
    let seen_by_them = second.add_checkpoint(theirs.head(), &theirs.since(2), 3).unwrap();
    assert!(second.add_checkpoint(seen_by_us.clone(), &ours.since(2), 4).is_none());
    assert!(second.add_checkpoint(seen_by_us.clone(), &[], 4).is_none());
    let longer = Log::new(&["a", "b", "c", "d", "e", "f"]);
    assert!(second.add_checkpoint(longer.head(), &longer.since(5), 4).is_none());
    assert!(
        first
            .add_checkpoint(seen_by_them.clone(), &theirs.since(4), 4)
            .is_none()
    );
    for head in [&seen_by_us, &seen_by_them] {
        assert_eq!(
            head.cosignatures(&keys).unwrap().len(),
            1,
            "a reader who asks for two refuses it"
        );
        assert!(
            head.verify(&ours.verifier()).is_ok(),
            "a reader who asks for none cannot tell"
        );
        assert!(head.cosignatures(&[]).unwrap().is_empty());
    }
}
