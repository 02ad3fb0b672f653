//! Logs of receipts: what an auditor finds, each beside the log that is whole.

use hanzo_attestation::keyset::{KemKey, Keyset, ServedModel, SignaturePair, SignerKeys};
use hanzo_attestation::name::Name;
use hanzo_attestation::{Digest256, Digest384};
use hanzo_log::tree::{leaf_hash, root};
use hanzo_log::{AuthenticCheckpoint, Checkpoint, LogVerifier, Origin, SignedCheckpoint};
use hanzo_pqc::Domain;
use hanzo_pqc::sign::{NoteSigningKeys, SignatureSuite, SigningKeys};
use hanzo_verifier::receipt::*;

const SUITE: SignatureSuite = SignatureSuite::MlDsa65Ed25519;

fn log_keys() -> NoteSigningKeys {
    NoteSigningKeys::from_seed(SUITE, &[50; 64]).unwrap()
}

fn log() -> LogVerifier {
    LogVerifier::new(
        Origin::new("example/receipts").unwrap(),
        log_keys().verifying_keys().clone(),
    )
}

fn signer(boot: u8) -> SigningKeys {
    SigningKeys::from_seed(SUITE, &[boot; 64]).unwrap()
}

fn keyset(boot: u8) -> Keyset {
    let keys = signer(boot);
    let public = keys.verifying_keys();
    Keyset {
        capability_digest: Digest384([1; 48]),
        channel_key: KemKey {
            public_key: "00".into(),
            suite: "x-wing".into(),
        },
        config_digest: Digest256([2; 32]),
        image: Name::new("0.1.0").unwrap(),
        issued_at: 1_800_000_000,
        log: Some(log().key().to_keyset()),
        models: vec![ServedModel {
            base_root: None,
            chat_template_sha256: Digest256([3; 32]),
            counted_by: None,
            name: Name::new("smollm2").unwrap(),
            tokenizer_sha256: Digest256([4; 32]),
            weights_root: Digest256([5; 32]),
        }],
        not_after: 1_800_003_600,
        ohttp_keys: vec![],
        policy_digest: Digest384([6; 48]),
        receipt_keys: SignerKeys {
            ed25519: public.ed25519_hex(),
            ml_dsa: public.ml_dsa_hex(),
            suite: public.suite().name().into(),
        },
        signer_keys: vec![],
        simulated: true,
        tier: 2,
        time: "host".into(),
        tls_spki_sha256: Digest256([7; 32]),
        version: 1,
    }
}

fn salts(n: u8) -> Salts {
    Salts {
        request: Salt([n; 32]),
        response: Salt([n ^ 0xff; 32]),
    }
}

fn receipt(boot: u8, seq: u64, prev: Digest384) -> Receipt {
    let keyset = keyset(boot);
    let model = &keyset.models[0];
    let n = boot * 16 + seq as u8;
    Receipt {
        base_root: None,
        chat_template_sha256: model.chat_template_sha256,
        completion_tokens: 7,
        counted_by: None,
        id: ReceiptId([n; 16]),
        keyset_digest: keyset.digest().unwrap(),
        model: model.name.clone(),
        outcome: Outcome::Complete,
        prev,
        prompt_tokens: 31,
        request_commitment: commitment(&salts(n).request, b"a request"),
        response_commitment: commitment(&salts(n).response, b"an answer"),
        sampling: Sampling {
            max_tokens: 64,
            seed: Some(42),
            temperature_micros: 700_000,
            top_p_micros: 1_000_000,
        },
        seq,
        simulated: true,
        tier: 2,
        time: 1_800_000_100,
        time_source: "host".into(),
        tokenizer_sha256: model.tokenizer_sha256,
        transport: TRANSPORT_TLS.into(),
        version: 1,
        weights_root: model.weights_root,
        work: None,
    }
}

fn sign(boot: u8, receipt: Receipt) -> SignedReceipt {
    let signature = signer(boot)
        .sign(Domain::Receipt, &receipt.canonical().unwrap())
        .unwrap();
    SignedReceipt {
        receipt,
        signature: SignaturePair {
            ed25519: signature.ed25519_hex(),
            ml_dsa: signature.ml_dsa_hex(),
        },
    }
}

fn head_of(leaves: &[Vec<u8>]) -> LogHead {
    let hashes: Vec<_> = leaves.iter().map(|l| leaf_hash(&[l])).collect();
    LogHead {
        root: root(&hashes),
        size: hashes.len() as u64,
    }
}

fn announce(leaves: &mut Vec<Vec<u8>>, keyset: Keyset) {
    let leaf = KeysetLeaf::new(keyset, head_of(leaves), Fence::None).unwrap();
    leaves.push(leaf.to_bytes().unwrap());
}

/// Keyset 1, its receipts 0 and 1, keyset 2, its receipt 0, receipt 2 of keyset 1.
fn leaves() -> Vec<Vec<u8>> {
    let mut leaves = Vec::new();
    let mut prev = [1, 2].map(|boot| keyset(boot).digest().unwrap());
    for (what, boot, seq) in [
        ("k", 1, 0),
        ("r", 1, 0),
        ("r", 1, 1),
        ("k", 2, 0),
        ("r", 2, 0),
        ("r", 1, 2),
    ] {
        if what == "k" {
            announce(&mut leaves, keyset(boot));
            continue;
        }
        let before = &mut prev[usize::from(boot) - 1];
        let receipt = receipt(boot, seq, *before);
        *before = receipt.digest().unwrap();
        leaves.push(sign(boot, receipt).to_bytes().unwrap());
    }
    leaves
}

fn signed(head: LogHead) -> AuthenticCheckpoint {
    let note = SignedCheckpoint::parse(signed_note(head).as_bytes()).unwrap();
    note.verify(&log()).unwrap()
}

fn signed_note(head: LogHead) -> String {
    let checkpoint = Checkpoint {
        origin: log().origin().clone(),
        size: head.size,
        root: head.root,
    };
    let signature = log_keys().sign_note(&checkpoint.text()).unwrap();
    SignedCheckpoint::assemble(checkpoint, &log(), &signature)
        .unwrap()
        .to_text()
}

fn audit(
    leaves: &[Vec<u8>],
    head: LogHead,
    since: Option<LogHead>,
) -> Result<AuditedReceipts, (&'static str, Option<u64>, u8)> {
    let mut audit = ReceiptAudit::new(&log(), since.map(signed));
    let run = |audit: &mut ReceiptAudit| leaves.iter().try_for_each(|leaf| audit.leaf(leaf).map(drop));
    let done = run(&mut audit).and_then(|()| audit.finish(signed(head)));
    done.map_err(|e| (e.code(), e.leaf(), e.exit_code()))
}

/// What is found when the log's keeper signs these leaves anew.
fn found(leaves: &[Vec<u8>]) -> (&'static str, Option<u64>, u8) {
    audit(leaves, head_of(leaves), None).unwrap_err()
}

#[test]
fn a_whole_log_is_and_earlier_heads_of_it_are_extended() {
    let leaves = leaves();
    let audited = audit(&leaves, head_of(&leaves), None).unwrap();
    let counts = audited.counts;
    assert_eq!(
        (counts.keysets, counts.receipts, counts.cut, counts.simulated),
        (2, 4, 0, 4)
    );
    assert_eq!((counts.fenced, audited.head.size()), (0, 6));
    for size in 0..=leaves.len() {
        let since = head_of(&leaves[..size]);
        assert!(audit(&leaves, head_of(&leaves), Some(since)).is_ok(), "{size}");
    }
}

#[test]
fn leaves_taken_out_doubled_or_in_another_order_are_named_although_the_keeper_signs_them_anew() {
    let whole = leaves();
    let without = |n: usize| {
        let mut leaves = whole.clone();
        leaves.remove(n);
        leaves
    };
    assert_eq!(found(&without(0)), ("log.keyset.missing", Some(0), 30));
    assert_eq!(found(&without(1)), ("receipt.chain", Some(1), 30));
    // A gap, which the keyset's leaf behind it shows first.
    assert_eq!(found(&without(2)), ("log.keyset.previous", Some(2), 30));
    assert_eq!(found(&without(3)), ("log.keyset.missing", Some(3), 30));
    assert!(
        audit(&without(5), head_of(&without(5)), None).is_ok(),
        "the end may be held back: nothing tells"
    );

    let mut swapped = whole.clone();
    swapped.swap(1, 2);
    assert_eq!(found(&swapped), ("receipt.chain", Some(1), 30));
    let mut doubled = whole.clone();
    doubled.push(whole[5].clone());
    assert_eq!(found(&doubled), ("receipt.chain", Some(6), 30));
    let mut again = whole.clone();
    announce(&mut again, keyset(1));
    assert_eq!(found(&again), ("log.keyset.again", Some(6), 30));
    let mut elsewhere = whole.clone();
    let mut other = keyset(3);
    other.log = None;
    announce(&mut elsewhere, other);
    assert_eq!(found(&elsewhere), ("log.keyset.log", Some(6), 30));
    let mut junk = whole.clone();
    junk[2] = b"{}".to_vec();
    assert_eq!(found(&junk), ("receipt.malformed", Some(2), 10));

    // A fork of one boot: two receipts of one number, both signed.
    let mut forked = whole[..2].to_vec();
    let prev = SignedReceipt::from_bytes(&whole[1]).unwrap().receipt.digest().unwrap();
    for tokens in [5, 6] {
        let mut r = receipt(1, 1, prev);
        r.completion_tokens = tokens;
        forked.push(sign(1, r).to_bytes().unwrap());
    }
    assert_eq!(found(&forked), ("receipt.chain", Some(3), 30));
}

#[test]
fn each_change_of_a_receipt_is_named_for_what_it_is() {
    let whole = leaves();
    let at = 2;
    let check = |what: &str, expected: &str, change: &dyn Fn(&mut SignedReceipt)| {
        let mut leaves = whole.clone();
        let mut signed = SignedReceipt::from_bytes(&leaves[at]).unwrap();
        change(&mut signed);
        leaves[at] = signed.to_bytes().unwrap();
        let (code, leaf, _) = found(&leaves);
        assert_eq!((code, leaf), (expected, Some(at as u64)), "{what}");
        // The keeper did not sign it anew: the leaves do not lead to its head.
        let (code, _, _) = audit(&leaves, head_of(&whole), None).unwrap_err();
        assert_eq!(code, expected, "{what}");
    };
    check("prompt tokens", "receipt.signature.both", &|s| {
        s.receipt.prompt_tokens += 1
    });
    check("completion tokens", "receipt.signature.both", &|s| {
        s.receipt.completion_tokens += 1
    });
    check("weights root", "receipt.signature.both", &|s| {
        s.receipt.weights_root = Digest256([9; 32])
    });
    check("request", "receipt.signature.both", &|s| {
        s.receipt.request_commitment = Digest384([9; 48])
    });
    check("response", "receipt.signature.both", &|s| {
        s.receipt.response_commitment = Digest384([9; 48])
    });
    check("outcome", "receipt.signature.both", &|s| {
        s.receipt.outcome = Outcome::Cut
    });
    check("order", "receipt.signature.both", &|s| s.receipt.seq = 5);
    check("id", "receipt.signature.both", &|s| s.receipt.id = ReceiptId([0; 16]));
    check("no Ed25519 signature", "receipt.malformed", &|s| {
        s.signature.ed25519.clear()
    });
    check("no ML-DSA signature", "receipt.malformed", &|s| {
        s.signature.ml_dsa.clear()
    });
    check("another Ed25519 signature", "receipt.signature.ed25519", &|s| {
        s.signature.ed25519 = sign(1, receipt(1, 9, Digest384([0; 48]))).signature.ed25519;
    });
    check("another ML-DSA signature", "receipt.signature.ml_dsa", &|s| {
        s.signature.ml_dsa = sign(1, receipt(1, 9, Digest384([0; 48]))).signature.ml_dsa;
    });
    // What the guest's own keys signed, and its keyset denies.
    check("weights root, signed", "receipt.contradiction", &|s| {
        s.receipt.weights_root = Digest256([9; 32]);
        *s = sign(1, s.receipt.clone());
    });
    check("predecessor, signed", "receipt.chain", &|s| {
        s.receipt.prev = Digest384([9; 48]);
        *s = sign(1, s.receipt.clone());
    });
    check("of another keyset", "log.keyset.missing", &|s| {
        *s = sign(2, receipt(2, 1, Digest384([9; 48])));
    });
}

#[test]
fn heads_that_do_not_fit_are_told_apart() {
    let whole = leaves();
    let head = head_of(&whole);
    assert_eq!(audit(&whole[..5], head, None).unwrap_err(), ("log.truncated", None, 20));
    assert_eq!(
        audit(&whole, head_of(&whole[..5]), None).unwrap_err(),
        ("log.truncated", None, 20)
    );
    let other = LogHead {
        root: Digest256([9; 32]),
        ..head
    };
    assert_eq!(audit(&whole, other, None).unwrap_err(), ("log.root", None, 20));
    // A split view: both heads are signed, and no witness was asked.
    assert_eq!(audit(&whole, head, Some(other)).unwrap_err(), ("log.forked", None, 30));
    let fewer = LogHead { size: 3, ..other };
    assert_eq!(
        audit(&whole, head, Some(fewer)).unwrap_err(),
        ("log.rewritten", None, 30)
    );
    let more = LogHead { size: 9, ..other };
    assert_eq!(
        audit(&whole, head, Some(more)).unwrap_err(),
        ("log.rolled_back", None, 30)
    );
}

#[test]
fn the_log_and_ten_thousand_candidates_say_nothing_without_the_salt() {
    let leaves = leaves();
    let Leaf::Receipt(signed) = Leaf::parse(&leaves[1]).unwrap() else {
        panic!("leaf 1")
    };
    let committed = signed.receipt.response_commitment;
    let right = &salts(16).response;
    assert_eq!(
        commitment(right, b"an answer"),
        committed,
        "the owner, who has the salt, can tell"
    );
    // Everything 32 bytes long that the log knows of this receipt, as a guess at the salt.
    let mut known: Vec<[u8; 32]> = vec![
        [0; 32],
        signed.receipt.weights_root.0,
        signed.receipt.tokenizer_sha256.0,
    ];
    known.push(leaf_hash(&[&leaves[1]]).0);
    known.push(Digest256::of(&leaves[1]).0);
    for digest in [
        signed.receipt.prev,
        signed.receipt.request_commitment,
        signed.receipt.keyset_digest,
    ] {
        known.push(*digest.0.first_chunk().unwrap());
    }
    // Every run of 32 bytes anywhere in the log, as it stands and where it is hexadecimal, is no salt of the right answer.
    let mut log: Vec<u8> = leaves.concat();
    log.extend(signed_note(head_of(&leaves)).into_bytes());
    let raw = log.windows(32).map(|w| *w.first_chunk::<32>().unwrap());
    let digits = log
        .windows(64)
        .filter_map(|w| Salt::from_hex(std::str::from_utf8(w).ok()?));
    for salt in raw.map(Salt).chain(digits) {
        assert_ne!(commitment(&salt, b"an answer"), committed);
    }
    // The same answer to the same request, twice: nothing in the two leaves is equal that is not equal for any two answers.
    let Leaf::Receipt(again) = Leaf::parse(&leaves[2]).unwrap() else {
        panic!("leaf 2")
    };
    assert_ne!(again.receipt.response_commitment, committed);
    assert_ne!(again.receipt.request_commitment, signed.receipt.request_commitment);
    for n in 0..10_000 {
        let candidate = if n == 0 {
            "an answer".to_owned()
        } else {
            format!("an answer {n}")
        };
        assert_ne!(Digest384::of(candidate.as_bytes()), committed, "{candidate}");
        for salt in &known {
            assert_ne!(commitment(&Salt(*salt), candidate.as_bytes()), committed, "{candidate}");
        }
    }
}

#[test]
fn the_worked_example_of_a_log_is_what_the_code_writes() {
    let mut small = keyset(1);
    small.log = None;
    small.receipt_keys = SignerKeys {
        ed25519: "00".into(),
        ml_dsa: "00".into(),
        suite: "ml-dsa-65".into(),
    };
    let mut leaves = Vec::new();
    announce(&mut leaves, small);
    let spec = include_str!("../RECEIPT.md");
    let text = String::from_utf8(leaves[0].clone()).unwrap();
    for part in [text.as_str(), &leaf_hash(&[&leaves[0]]).to_string()] {
        assert!(spec.contains(part), "RECEIPT.md lacks {part}");
    }
}

fn order(boot: u8, sequence: u64) -> Vec<u8> {
    use hanzo_verifier::order::{Action, Order, OrderPurpose};
    let order = Order {
        action: Action::UnloadModel {
            model: Name::new("smollm2").unwrap(),
        },
        issued_at: 1_800_000_100,
        keyset_digest: keyset(boot).digest().unwrap(),
        nonce: "0f".repeat(32),
        operator: Name::new("example").unwrap(),
        purpose: OrderPurpose::V1,
        sequence,
    };
    let signed = order.sign(|domain, bytes| signer(9).sign(domain, bytes)).unwrap();
    signed.to_bytes().unwrap()
}

#[test]
fn orders_are_counted_stand_under_a_keyset_that_began_and_only_grow() {
    let mut whole = leaves();
    whole.extend([order(1, 5), order(2, 6)]);
    let audited = audit(&whole, head_of(&whole), None).unwrap();
    assert_eq!((audited.counts.orders, audited.counts.receipts), (2, 4));
    let last = whole.len() as u64 - 1;
    for (changed, code) in [
        (order(2, 5), "receipt.chain"),
        (order(1, 4), "receipt.chain"),
        (order(3, 6), "log.keyset.missing"),
        (order(2, 6)[..100].to_vec(), "receipt.malformed"),
    ] {
        *whole.last_mut().unwrap() = changed;
        let (got, leaf, exit_code) = found(&whole);
        assert_eq!((got, leaf), (code, Some(last)));
        assert!([10, 30].contains(&exit_code), "{exit_code}");
    }
}
