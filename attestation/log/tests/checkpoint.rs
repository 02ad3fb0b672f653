//! Signed heads: both signatures, one spelling, one log.

use hanzo_attestation::Digest256;
use hanzo_log::{Checkpoint, LogKey, LogVerifier, Origin, SignedCheckpoint, tree};
use hanzo_pqc::SignatureSuite;
use hanzo_pqc::sign::NoteSigningKeys;

const GOLDEN_KEY: &[u8] = include_bytes!("golden/key.json");
const GOLDEN_NOTE: &[u8] = include_bytes!("golden/checkpoint");

fn keys(seed: u8) -> NoteSigningKeys {
    NoteSigningKeys::from_seed(SignatureSuite::MlDsa65Ed25519, &[seed; 64]).unwrap()
}

fn origin(name: &str) -> Origin {
    Origin::new(name).unwrap()
}

fn checkpoint(size: u64) -> Checkpoint {
    Checkpoint {
        origin: origin("hanzo.example/log"),
        size,
        root: Digest256([7; 32]),
    }
}

fn signed(checkpoint: &Checkpoint, seed: u8) -> SignedCheckpoint {
    let keys = keys(seed);
    let log = LogVerifier::new(checkpoint.origin.clone(), keys.verifying_keys().clone());
    let signature = keys.sign_note(&checkpoint.text()).unwrap();
    SignedCheckpoint::assemble(checkpoint.clone(), &log, &signature).unwrap()
}

fn log(seed: u8) -> LogVerifier {
    LogVerifier::new(origin("hanzo.example/log"), keys(seed).verifying_keys().clone())
}

fn code(note: &str, log: &LogVerifier) -> &'static str {
    match SignedCheckpoint::parse(note.as_bytes()).and_then(|s| s.verify(log)) {
        Ok(_) => "ok",
        Err(e) => e.code(),
    }
}

#[test]
fn the_golden_checkpoint_verifies_and_any_changed_byte_is_refused() {
    let log = LogKey::from_document(GOLDEN_KEY).unwrap().verifier().unwrap();
    let note = SignedCheckpoint::parse(GOLDEN_NOTE).unwrap();
    let head = note.verify(&log).unwrap();
    assert_eq!((head.size(), head.root()), (42, Digest256([7; 32])));
    assert_eq!(note.to_text().as_bytes(), GOLDEN_NOTE);
    let step = GOLDEN_NOTE.len() / 97;
    for at in (0..220).chain((220..GOLDEN_NOTE.len()).step_by(step)) {
        let mut bad = GOLDEN_NOTE.to_vec();
        bad[at] ^= 1;
        let refused = SignedCheckpoint::parse(&bad).and_then(|s| s.verify(&log));
        assert!(refused.is_err(), "byte {at}");
    }
}

/// Writes the golden files anew; ML-DSA is hedged, so they differ every time.
#[test]
#[ignore = "writes tests/golden"]
fn write_golden_files() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden");
    std::fs::create_dir_all(folder).unwrap();
    let key = LogKey::of(origin("hanzo.example/log"), keys(1).verifying_keys());
    let key = hanzo_attestation::jcs::to_vec("key", &key).unwrap();
    std::fs::write(format!("{folder}/key.json"), key).unwrap();
    std::fs::write(format!("{folder}/checkpoint"), signed(&checkpoint(42), 1).to_text()).unwrap();
}

#[test]
fn both_signatures_of_this_very_log_are_needed() {
    let note = signed(&checkpoint(5), 1).to_text();
    assert_eq!(code(&note, &log(1)), "ok");
    assert_eq!(code(&note, &log(2)), "log.signature.missing");
    let lines: Vec<_> = note.split_inclusive('\n').collect();
    let [text @ .., ed25519, ml_dsa] = lines.as_slice() else {
        panic!()
    };
    let text = text.concat();
    assert_eq!(code(&format!("{text}{ml_dsa}{ed25519}"), &log(1)), "ok");
    assert_eq!(code(&format!("{text}{ml_dsa}"), &log(1)), "log.signature.missing");
    assert_eq!(code(&format!("{text}{ed25519}"), &log(1)), "log.signature.missing");
    assert_eq!(code(&format!("{note}{ed25519}"), &log(1)), "log.note.malformed");
    // A witness's line is passed over.
    let witness = ed25519.replace("hanzo.example/log", "witness.example");
    assert_eq!(code(&format!("{note}{witness}"), &log(1)), "ok");
    // One half under another text.
    let other = signed(&checkpoint(6), 1).to_text();
    let other: Vec<_> = other.split_inclusive('\n').collect();
    let [.., other_ed25519, other_ml_dsa] = other.as_slice() else {
        panic!()
    };
    assert_eq!(
        code(&format!("{text}{other_ed25519}{ml_dsa}"), &log(1)),
        "log.signature.invalid"
    );
    assert_eq!(
        code(&format!("{text}{ed25519}{other_ml_dsa}"), &log(1)),
        "log.signature.invalid"
    );
    let elsewhere = LogVerifier::new(origin("hanzo.example/other"), keys(1).verifying_keys().clone());
    assert_eq!(code(&note, &elsewhere), "log.checkpoint.origin");
}

#[test]
fn a_checkpoint_has_one_spelling() {
    let note = signed(&checkpoint(5), 1).to_text();
    let root = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";
    assert!(note.contains(root), "{note}");
    for (from, to) in [
        ("\n5\n", "\n05\n"),
        ("\n5\n", "\n+5\n"),
        ("\n5\n", "\n\n"),
        ("\n5\n", "\n9007199254740992\n"),
        ("\n5\n", "\n0\n"),
        (root, &root[1..]),
        ("BwcHBwc=", "BwcHBwd="),
        ("Bwc=\n\n", "Bwc=\nextension\n\n"),
        ("Bwc=\n\n", "Bwc=\n\n\n"),
        ("hanzo.example/log\n5", "Hanzo.example/log\n5"),
        ("hanzo.example/log\n5", "5"),
    ] {
        let bad = note.replacen(from, to, 1);
        assert_ne!(bad, note);
        assert_eq!(code(&bad, &log(1)), "log.checkpoint.malformed", "{from:?} {to:?}");
    }
    let empty = Checkpoint {
        size: 0,
        root: tree::root(&[]),
        ..checkpoint(0)
    };
    assert_eq!(code(&signed(&empty, 1).to_text(), &log(1)), "ok");
}

#[test]
fn a_key_is_read_from_its_own_document_or_an_identity() {
    let key = LogKey::from_document(GOLDEN_KEY).unwrap();
    let text = String::from_utf8(GOLDEN_KEY.to_vec()).unwrap();
    let within = format!("{{\"log\":{text},\"version\":1}}");
    assert_eq!(LogKey::from_document(within.as_bytes()), Ok(key.clone()));
    for bad in [
        text.replacen("\"suite\"", "\"suites\"", 1),
        text.replacen('{', "{ ", 1),
        format!("{text}{text}"),
        "{\"log\":1}".into(),
        String::new(),
    ] {
        assert_eq!(LogKey::from_document(bad.as_bytes()).unwrap_err().code(), "log.key");
    }
    for (member, value) in [("suite", "ml-dsa-44"), ("ed25519", "00"), ("ml_dsa", "")] {
        let mut changed = key.clone();
        match member {
            "suite" => changed.suite = value.into(),
            "ed25519" => changed.ed25519 = value.into(),
            _ => changed.ml_dsa = value.into(),
        }
        assert_eq!(changed.verifier().unwrap_err().code(), "log.key", "{member}");
    }
    for bad in ["", "a//b", "/a", "a b", "A", "a+b", &"a".repeat(129)] {
        assert!(Origin::new(bad).is_err(), "{bad}");
    }
}
