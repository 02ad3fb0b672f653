//! Files of EIP-3076: their form, what conflicts in them, our votes in them.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use hanzo_signer::history::{Form, SigningHistory};
use hanzo_signer::interchange::{Interchange, SignedAttestation, SignedBlock, SigningRoot, ValidatorKey};
use hanzo_signer::{SignRequest, SignerError};
use serde_json::{Value, json};

use crate::doubles::{Counter, Disk, NETWORK, TestSigner, create, key, notarize, open, vote};

/// web3signer's files, and what becomes of each.
const VECTORS: [(&str, Option<&str>); 14] = [
    ("conflictingBlocks", Some("signer.history.double_block")),
    ("dataFieldNotArray", Some("signer.interchange.json")),
    ("duplicateAttestation", None),
    ("duplicateBlocks", None),
    ("emptyDataArray", None),
    ("errorInSecondBlock", Some("signer.interchange.json")),
    ("errorInSecondValidator", Some("signer.interchange.json")),
    (
        "invalidAttestationContent",
        Some("signer.interchange.source_after_target"),
    ),
    ("missingDataField", Some("signer.interchange.json")),
    ("missingPublicKey", Some("signer.interchange.json")),
    ("multipleNullSigningRootAttestation", None),
    ("multipleNullSigningRootBlock", None),
    ("singleValidAttestation", None),
    ("singleValidBlock", None),
];

/// Reads a file and takes it into an empty complete history of its own chain.
fn take(bytes: &[u8]) -> Result<(Interchange, SigningHistory), SignerError> {
    let file = Interchange::parse(bytes)?;
    let mut history = SigningHistory::new(Form::Complete, file.genesis);
    history.import(&file)?;
    Ok((file, history))
}

fn refused(bytes: &[u8]) -> &'static str {
    take(bytes).err().unwrap().code()
}

#[test]
fn the_malformed_and_conflicting_files_of_web3signer_are_refused_and_the_others_taken() {
    let folder = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../../shared/vectors/chain/web3signer-interchange"
    );
    for (name, expected) in VECTORS {
        let path = format!("{folder}/{name}.json");
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) => {
                let _ = writeln!(std::io::stderr(), "VECTORS MISSING {path} ({error}): not run");
                return;
            }
        };
        match (take(&bytes), expected) {
            (Ok((file, history)), None) => {
                for entry in &file.entries {
                    for block in &entry.blocks {
                        let other = SignedBlock {
                            slot: block.slot,
                            root: SigningRoot::new(&[1; 32]),
                        };
                        assert!(history.check_block(&entry.key, &other).is_err(), "{name}");
                        assert_eq!(
                            history.check_block(&entry.key, block).is_ok(),
                            block.root.is_some(),
                            "{name}"
                        );
                    }
                    for vote in &entry.attestations {
                        let other = SignedAttestation {
                            root: SigningRoot::new(&[1; 32]),
                            ..vote.clone()
                        };
                        assert!(history.check_attestation(&entry.key, &other).is_err(), "{name}");
                    }
                }
                let again = Interchange::parse(history.export().to_json().as_bytes()).unwrap();
                SigningHistory::new(Form::Minimal, again.genesis)
                    .import(&again)
                    .unwrap();
            }
            (Err(error), Some(code)) => assert_eq!(error.code(), code, "{name}: {error}"),
            (got, _) => panic!("{name}: {:?}", got.map(|_| ()).map_err(|e| e.code())),
        }
    }
}

fn good() -> Value {
    json!({
        "metadata": {
            "interchange_format_version": "5",
            "genesis_validators_root": format!("0x{}", "04".repeat(32)),
        },
        "data": [{
            "pubkey": format!("0x{}", "b8".repeat(48)),
            "signed_blocks": [{"slot": "81952", "signing_root": format!("0x{}", "4f".repeat(32))}, {"slot": "81951"}],
            "signed_attestations": [
                {"source_epoch": "2290", "target_epoch": "3007", "signing_root": "0x587d6a"},
                {"source_epoch": "2290", "target_epoch": "3008"},
            ],
        }],
    })
}

#[test]
fn every_member_has_one_form() {
    take(&serde_json::to_vec(&good()).unwrap()).unwrap();
    let block = "/data/0/signed_blocks/0";
    let attestation = "/data/0/signed_attestations/0";
    for (place, value, code) in [
        (
            "/metadata/interchange_format_version",
            json!("4"),
            "signer.interchange.version",
        ),
        (
            "/metadata/interchange_format_version",
            json!(5),
            "signer.interchange.json",
        ),
        (
            "/metadata/genesis_validators_root",
            json!("0x04"),
            "signer.interchange.member",
        ),
        (
            "/metadata/genesis_validators_root",
            json!("04".repeat(32)),
            "signer.interchange.member",
        ),
        ("/data/0/pubkey", json!("0xb8"), "signer.interchange.member"),
        (
            "/data/0/pubkey",
            json!(format!("0x{}", "zz".repeat(48))),
            "signer.interchange.member",
        ),
        ("/data/0/signed_blocks", json!({}), "signer.interchange.json"),
        ("/data/0/signed_attestations", json!(null), "signer.interchange.json"),
        (&format!("{block}/slot"), json!(81952), "signer.interchange.json"),
        (&format!("{block}/slot"), json!("-1"), "signer.interchange.member"),
        (&format!("{block}/slot"), json!("+1"), "signer.interchange.member"),
        (&format!("{block}/slot"), json!("01"), "signer.interchange.member"),
        (&format!("{block}/slot"), json!(""), "signer.interchange.member"),
        (&format!("{block}/slot"), json!("0x10"), "signer.interchange.member"),
        (
            &format!("{block}/slot"),
            json!("18446744073709551616"),
            "signer.interchange.member",
        ),
        (
            &format!("{block}/signing_root"),
            json!("0x"),
            "signer.interchange.member",
        ),
        (
            &format!("{block}/signing_root"),
            json!("0x123"),
            "signer.interchange.member",
        ),
        (
            &format!("{block}/signing_root"),
            json!(format!("0x{}", "4f".repeat(33))),
            "signer.interchange.member",
        ),
        (
            &format!("{attestation}/source_epoch"),
            json!("3008"),
            "signer.interchange.source_after_target",
        ),
        (
            &format!("{attestation}/target_epoch"),
            json!("2289"),
            "signer.interchange.source_after_target",
        ),
        (
            &format!("{attestation}/target_epoch"),
            json!(null),
            "signer.interchange.json",
        ),
    ] {
        let mut file = good();
        *file.pointer_mut(place).unwrap() = value.clone();
        assert_eq!(refused(&serde_json::to_vec(&file).unwrap()), code, "{place} = {value}");
    }
    let text = serde_json::to_string(&good()).unwrap();
    let twice = text.replace(r#""slot":"81951""#, r#""slot":"81951","slot":"81950""#);
    assert_ne!(twice, text);
    assert_eq!(refused(twice.as_bytes()), "signer.interchange.json");
    assert_eq!(refused(&text.as_bytes()[..text.len() - 1]), "signer.interchange.json");
    assert_eq!(refused(format!("{text}x").as_bytes()), "signer.interchange.json");
    // The largest number there is, and members that the EIP does not name.
    let mut file = good();
    *file.pointer_mut(&format!("{block}/slot")).unwrap() = json!("18446744073709551615");
    file["metadata"]["interchange_format"] = json!("complete");
    take(&serde_json::to_vec(&file).unwrap()).unwrap();
}

#[test]
fn files_that_conflict_with_themselves_with_the_past_or_with_the_chain_change_nothing() {
    let bytes = serde_json::to_vec(&good()).unwrap();
    let (file, before) = take(&bytes).unwrap();
    let validator = ValidatorKey([0xb8; 48]);
    let changes: [(&str, &str, Value, &str); 4] = [
        (
            "/data/0/signed_blocks/0",
            "signing_root",
            json!("0x01"),
            "signer.history.double_block",
        ),
        (
            "/data/0/signed_attestations/0",
            "signing_root",
            json!("0x01"),
            "signer.history.double_vote",
        ),
        (
            "/data/0/signed_attestations/1",
            "source_epoch",
            json!("2291"),
            "signer.history.double_vote",
        ),
        (
            "/metadata",
            "genesis_validators_root",
            json!(format!("0x{}", "05".repeat(32))),
            "signer.history.genesis",
        ),
    ];
    for (place, member, value, code) in changes {
        let mut other = good();
        other.pointer_mut(place).unwrap()[member] = value;
        let other = Interchange::parse(&serde_json::to_vec(&other).unwrap()).unwrap();
        let mut history = before.clone();
        assert_eq!(history.import(&other).unwrap_err().code(), code);
        assert_eq!(history.export(), before.export());
    }
    let mut around = file.clone();
    around.entries[0].attestations = vec![SignedAttestation {
        source: 2289,
        target: 3009,
        root: None,
    }];
    let mut history = before.clone();
    assert_eq!(history.import(&around).unwrap_err().code(), "signer.history.surround");
    // The minimal form takes the greatest numbers of any of them.
    let mut minimal = SigningHistory::new(Form::Minimal, file.genesis);
    minimal.import(&file).unwrap();
    minimal.import(&around).unwrap();
    let next = |source, target| SignedAttestation {
        source,
        target,
        root: None,
    };
    assert!(minimal.check_attestation(&validator, &next(2290, 3010)).is_ok());
    assert!(minimal.check_attestation(&validator, &next(2290, 3009)).is_err());
    assert!(minimal.check_attestation(&validator, &next(2289, 3010)).is_err());
    // The same file again is nothing new.
    let mut history = before.clone();
    history.import(&file).unwrap();
    assert_eq!(history.export(), before.export());
}

#[test]
fn between_two_imports_nothing_is_signed() {
    let part = |slot: u64, source, target| {
        let mut file = Interchange::parse(&serde_json::to_vec(&good()).unwrap()).unwrap();
        file.entries[0].blocks = vec![SignedBlock { slot, root: None }];
        file.entries[0].attestations = vec![SignedAttestation {
            source,
            target,
            root: None,
        }];
        file
    };
    let mut history = SigningHistory::new(Form::Complete, part(1, 1, 1).genesis);
    history.import(&part(40, 2, 30)).unwrap();
    history.import(&part(50, 10, 50)).unwrap();
    let validator = ValidatorKey([0xb8; 48]);
    for (slot, may) in [(39, false), (45, false), (50, false), (51, true)] {
        let root = SigningRoot::new(&[1]);
        assert_eq!(
            history.check_block(&validator, &SignedBlock { slot, root }).is_ok(),
            may
        );
    }
    for (source, target, may) in [(10, 40, false), (5, 51, false), (10, 51, true)] {
        let root = SigningRoot::new(&[1]);
        let vote = SignedAttestation { source, target, root };
        assert_eq!(history.check_attestation(&validator, &vote).is_ok(), may);
    }
}

fn signer() -> (Disk, Counter, TestSigner) {
    let (disk, counter) = (Disk::new(), Counter::new());
    let signer = create(1, &disk, &counter).unwrap();
    (disk, counter, signer)
}

#[test]
fn votes_move_to_another_signer_and_are_not_cast_twice() {
    let (_, _, mut first) = signer();
    let finalize = |view, payload| SignRequest::finalize(NETWORK, vote(view, payload));
    let nullify = |view| SignRequest::nullify(NETWORK, 0, view);
    for request in [
        notarize(1, 1),
        finalize(1, 1),
        notarize(2, 1),
        nullify(2),
        notarize(3, 1),
        finalize(3, 1),
    ] {
        first.sign(&request).unwrap();
    }
    let file = Interchange::parse(first.export().unwrap().to_json().as_bytes()).unwrap();
    let (disk, counter, mut second) = signer();
    second.import(&file).unwrap();
    drop(second);
    // It is in the journal, not in memory alone.
    let mut second = open(1, &disk, &counter).unwrap();
    for (request, code) in [
        (notarize(1, 2), "signer.below_floor"),
        (notarize(2, 2), "signer.conflict"),
        (notarize(3, 2), "signer.conflict"),
        (finalize(2, 1), "signer.conflict"),
        (finalize(3, 2), "signer.conflict"),
        (nullify(3), "signer.finalized"),
        (nullify(1), "signer.below_floor"),
    ] {
        assert_eq!(second.sign(&request).unwrap_err().code(), code, "{request:?}");
    }
    // The same content again is no other content, and new views are free.
    for request in [notarize(3, 1), finalize(3, 1), notarize(4, 2), nullify(4)] {
        second.sign(&request).unwrap();
    }
    // And back: the first one learns what the second did.
    first.import(&second.export().unwrap()).unwrap();
    assert_eq!(first.sign(&notarize(4, 3)).unwrap_err().code(), "signer.conflict");
    assert_eq!(first.sign(&finalize(4, 3)).unwrap_err().code(), "signer.conflict");
}

#[test]
fn files_that_are_no_votes_of_this_key_and_chain_are_refused_and_change_nothing() {
    let (disk, _, mut signer) = signer();
    signer.sign(&notarize(7, 1)).unwrap();
    let before = disk.copy();
    let of = |slot, root: u8| {
        let mut file = signer.export().unwrap();
        let root = SigningRoot::new(&[root; 32]);
        file.entries[0].blocks = vec![SignedBlock { slot, root }];
        file
    };
    let (conflicting, free) = (of(7, 9), of(8, 9));
    let mut short = of(8, 9);
    short.entries[0].blocks[0].root = SigningRoot::new(&[9]);
    let mut foreign = of(8, 9);
    foreign.genesis = [1; 32];
    let mut spread = of(8, 9);
    spread.entries[0].attestations = vec![SignedAttestation {
        source: 1,
        target: 2,
        root: None,
    }];
    let mut double = of(8, 9);
    let root = SigningRoot::new(&[8; 32]);
    double.entries[0].blocks.push(SignedBlock { slot: 8, root });
    for (file, code) in [
        (conflicting, "signer.conflict"),
        (short, "signer.history.no_vote"),
        (foreign, "signer.history.genesis"),
        (spread, "signer.history.no_vote"),
        (double, "signer.history.double_block"),
    ] {
        assert_eq!(signer.import(&file).unwrap_err().code(), code);
        assert_eq!(disk.copy(), before);
    }
    signer.import(&free).unwrap();
    assert_eq!(signer.sign(&notarize(8, 1)).unwrap_err().code(), "signer.below_floor");
    // Who blocks were notarized for, but nothing is said of finalizations: those are not known.
    let decided = SignRequest::finalize(NETWORK, vote(8, 1));
    assert_eq!(signer.sign(&decided).unwrap_err().code(), "signer.below_floor");
    let mut of_another = signer.export().unwrap();
    of_another.entries[0].key = ValidatorKey(key(2).public().interchange_id());
    of_another.entries[0].blocks = vec![SignedBlock { slot: 100, root: None }];
    signer.import(&of_another).unwrap();
    signer.sign(&notarize(100, 1)).unwrap();
}

#[derive(serde::Deserialize)]
struct Case {
    genesis_validators_root: String,
    steps: Vec<Step>,
}

#[derive(serde::Deserialize)]
struct Step {
    should_succeed: bool,
    contains_slashable_data: bool,
    interchange: Value,
    #[serde(default)]
    blocks: Vec<Value>,
    #[serde(default)]
    attestations: Vec<Value>,
}

/// Files in the form of the EIP's own tests (steps of imports and of messages to sign), or bare interchange files, from a folder that
/// `HANZO_EIP3076_FILES` names: in both forms, with what the file expects of each.
#[test]
fn files_of_a_folder_do_what_they_say() {
    let Ok(folder) = std::env::var("HANZO_EIP3076_FILES") else {
        return;
    };
    let mut wrong = Vec::new();
    let mut cases = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "json") {
            cases += 1;
            let bytes = fs::read(&path).unwrap();
            match serde_json::from_slice::<Case>(&bytes) {
                Ok(case) => [Form::Complete, Form::Minimal]
                    .into_iter()
                    .for_each(|form| steps(&case, form, &path, &mut wrong)),
                Err(_) => println!(
                    "{}: {:?}",
                    path.display(),
                    take(&bytes).map(|_| ()).map_err(|e| e.code())
                ),
            }
        }
    }
    println!("{cases} files");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn steps(case: &Case, form: Form, path: &Path, wrong: &mut Vec<String>) {
    let genesis = hex::decode(case.genesis_validators_root.trim_start_matches("0x")).unwrap();
    let mut history = SigningHistory::new(form, genesis.try_into().unwrap());
    for (n, step) in case.steps.iter().enumerate() {
        let at = format!("{} {form:?} step {n}", path.display());
        let text = serde_json::to_vec(&step.interchange).unwrap();
        let taken = Interchange::parse(&text).map_err(SignerError::from);
        let taken = taken.and_then(|file| Ok(history.import(&file)?));
        match (&taken, step.should_succeed) {
            (Ok(()), true) => {}
            (Err(_), true) if step.contains_slashable_data => return,
            (Err(_), false) => return,
            _ => wrong.push(format!("{at}: import: {:?}", taken.as_ref().map_err(|e| e.to_string()))),
        }
        let expected = |value: &Value| match form {
            Form::Complete => value["should_succeed_complete"].as_bool(),
            Form::Minimal => value["should_succeed"].as_bool(),
        };
        for value in &step.blocks {
            let file = one(step, value, "signed_blocks");
            let got = history.sign_block(&file.key, &file.blocks[0]);
            if Some(got.is_ok()) != expected(value) {
                wrong.push(format!("{at}: {value}: {got:?}"));
            }
        }
        for value in &step.attestations {
            let file = one(step, value, "signed_attestations");
            let got = history.sign_attestation(&file.key, &file.attestations[0]);
            if Some(got.is_ok()) != expected(value) {
                wrong.push(format!("{at}: {value}: {got:?}"));
            }
        }
    }
}

/// A message to sign has the members that it has in a file.
fn one(step: &Step, value: &Value, list: &str) -> hanzo_signer::interchange::Entry {
    let mut entry = json!({"pubkey": value["pubkey"], "signed_blocks": [], "signed_attestations": []});
    entry[list] = json!([value]);
    let file = json!({"metadata": step.interchange["metadata"], "data": [entry]});
    let file = Interchange::parse(&serde_json::to_vec(&file).unwrap()).unwrap();
    file.entries.into_iter().next().unwrap()
}
