//! ACI receipts and keysets: published vectors where they are at hand, our own (made by another implementation) always, and
//! each refusal beside what is accepted.

use std::io::Write as _;
use std::path::Path;

use aws_lc_rs::signature::Ed25519KeyPair;
use hanzo_attestation::foreign::{ForeignEvidence, ForeignFormat, Supplied};
use hanzo_attestation::{Digest256, Nonce};
use hanzo_verifier::aci::*;
use serde_json::{Value, json};

const REQUEST: &[u8] = br#"{"model":"smollm2","messages":[]}"#;
const RESPONSE: &str = "data: {\"caf\u{e9}\":1}\n\ndata: [DONE]\n\n";
// Computed with Python's hashlib, json and cryptography from the same values.
const PUBLIC_KEY: &str = "d04ab232742bb4ab3a1368bd4615e4e6d0224ab71a016baf8520a332c9778737";
const KEYSET_DIGEST: &str = "sha256:073866be17bd01a859aae6215027fc2f3aa561a2199f1c0ecd82561e5aefebf7";
const SIGNED_SHA256: &str = "c01de7a4978af450942979a3d968dd6d6ad333073bc83502802b579c07c3b2bd";
const SIGNATURE: &str = "e8546d418acda6da6a317fd82fd29df91fd4b36e9517406a7c1f7c874e2e19681ed996fce50ff415f3d31ae71fda7315a687fb908994ac6bfdbab453cd6cbf08";
const CHALLENGED: &str = "b34431653dcb058a9d3a5fce4b49b756c132d8cac2c576470868a6fea6e5c014";
const UNCHALLENGED: &str = "efe51608d1eb0234dc1e4bd7e8d2a25eaf8ea2a3e5357cb0aaab1c7ec714fc91";

fn key() -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[0x11; 32]).unwrap()
}

fn draft() -> AciKeysetDraft {
    AciKeysetDraft {
        e2ee_public_keys: vec![],
        hanzo: None,
        not_after: 1_800_003_600,
        receipt_signing_keys: vec![AciKey {
            algo: "ed25519".into(),
            key_id: "r1".into(),
            public_key: PUBLIC_KEY.into(),
        }],
        subject: "hanzo-guest://example".into(),
        tls_public_keys: vec![AciTlsKey {
            domain: Some("guest.example".into()),
            spki_sha256: Digest256([0xab; 32]),
        }],
    }
}

fn keyset() -> AciKeyset {
    AciKeyset::from_json(&draft().canonical().unwrap()).unwrap()
}

fn receipt() -> AciReceipt {
    AciReceipt {
        api_version: API_VERSION.into(),
        chat_id: Some("chatcmpl-\u{e9}".into()),
        endpoint: "/v1/chat/completions".into(),
        event_log: vec![
            AciEvent::Received {
                body_hash: AciDigest::of(REQUEST),
            },
            AciEvent::Returned {
                body_hash: AciDigest::of(RESPONSE.as_bytes()),
            },
        ],
        key_id: "r1".into(),
        method: "POST".into(),
        model: Some("smollm2".into()),
        receipt_id: "00112233445566778899aabbccddeeff".into(),
        served_at: 1_800_000_000,
        simulated: None,
        workload_keyset_digest: AciDigest(keyset().digest()),
    }
}

fn sign(input: &[u8]) -> [u8; 64] {
    key().sign(input).as_ref().try_into().unwrap()
}

fn document() -> Vec<u8> {
    let receipt = receipt();
    receipt.signed(&sign(&receipt.signing_input().unwrap())).unwrap()
}

/// The document, changed and then signed by the same key: what is refused is what it says.
fn resigned(change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut value: Value = serde_json::from_slice(&document()).unwrap();
    change(&mut value);
    value.as_object_mut().unwrap().remove("signature");
    let input = hanzo_attestation::jcs::to_vec("test", &value).unwrap();
    value["signature"] = hex::encode(sign(&input)).into();
    value.to_string().into_bytes()
}

fn code(bytes: &[u8]) -> &'static str {
    verify_aci_receipt(bytes, &keyset()).map_or_else(|e| e.code(), |_| "verified")
}

#[test]
fn what_is_made_is_byte_for_byte_what_another_implementation_makes() {
    assert_eq!(AciDigest(keyset().digest()).to_string(), KEYSET_DIGEST);
    let input = receipt().signing_input().unwrap();
    assert_eq!(Digest256::of(&input).to_string(), SIGNED_SHA256);
    assert_eq!(hex::encode(sign(&input)), SIGNATURE);
    let digest = keyset().digest();
    for (nonce, expected) in [(Some(Nonce([0x5a; 32])), CHALLENGED), (None, UNCHALLENGED)] {
        let data = report_data(&digest, nonce.as_ref());
        assert_eq!(hex::encode(data), expected.to_owned() + &"0".repeat(64));
    }
    // The reader of reports builds the same statement.
    let report = json!({
        "api_version": "aci/1", "workload_keyset_digest": KEYSET_DIGEST,
        "attestation": {
            "tee_type": "tdx", "workload_keyset": serde_json::to_value(draft()).unwrap(),
            "report_data": CHALLENGED, "evidence": {"quote": "04".repeat(5000)},
        },
    });
    let supplied = Supplied {
        nonce: Some([0x5a; 32]),
        ..Supplied::default()
    };
    let read = ForeignEvidence::read(ForeignFormat::Aci, report.to_string().as_bytes(), &supplied).unwrap();
    let kept = read.documents().iter().find(|d| d.name == "workload_keyset").unwrap();
    assert_eq!(AciKeyset::from_json(&kept.bytes).unwrap(), keyset());
}

#[test]
fn a_receipt_verifies_in_any_encoding_and_opens_for_its_own_bytes_alone() {
    let document = document();
    let value: Value = serde_json::from_slice(&document).unwrap();
    for bytes in [document, serde_json::to_vec_pretty(&value).unwrap()] {
        let verified = verify_aci_receipt(&bytes, &keyset()).unwrap();
        assert_eq!(*verified.receipt(), receipt());
        verified.check_request(REQUEST).unwrap();
        verified.check_response(RESPONSE.as_bytes()).unwrap();
        assert_eq!(verified.forwarded_unchanged(), None);
        assert_eq!(verified.check_request(b"{}").unwrap_err().code(), "aci.body.request");
        let cut = &RESPONSE.as_bytes()[..RESPONSE.len() - 1];
        assert_eq!(verified.check_response(cut).unwrap_err().code(), "aci.body.response");
    }
    // Members and events of later versions are signed too, and do not disturb.
    let later = resigned(|v| {
        v["later"] = json!({"x": 1.5});
        v["event_log"]
            .as_array_mut()
            .unwrap()
            .push(json!({"type": "a.new.one", "y": [1]}));
    });
    let verified = verify_aci_receipt(&later, &keyset()).unwrap();
    assert_eq!(verified.receipt().event_log.last(), Some(&AciEvent::Other));
    assert_eq!(
        verified.receipt().signing_input().unwrap_err().code(),
        "aci.events",
        "what is not known is not written"
    );
}

#[test]
fn every_changed_member_breaks_the_signature() {
    let value: Value = serde_json::from_slice(&document()).unwrap();
    for (member, other, expected) in [
        ("chat_id", json!("chatcmpl-e"), "aci.signature"),
        ("endpoint", json!("/v1/completions"), "aci.signature"),
        ("method", json!("GET"), "aci.signature"),
        ("model", json!("other"), "aci.signature"),
        ("receipt_id", json!("1"), "aci.signature"),
        ("served_at", json!(1_800_000_001_u64), "aci.signature"),
        ("later", json!(null), "aci.signature"),
        ("signature", json!("00".repeat(64)), "aci.signature"),
        ("signature", json!(SIGNATURE.to_uppercase()), "aci.malformed"),
        ("signature", json!(&SIGNATURE[..126]), "aci.malformed"),
        ("signature", json!(null), "aci.malformed"),
        ("api_version", json!("aci/2"), "aci.malformed"),
        ("key_id", json!("r2"), "aci.key"),
        (
            "workload_keyset_digest",
            json!(format!("sha256:{}", "0".repeat(64))),
            "aci.keyset",
        ),
        ("workload_keyset_digest", json!("0".repeat(64)), "aci.malformed"),
        ("event_log", json!([]), "aci.signature"),
    ] {
        let mut changed = value.clone();
        changed[member] = other;
        assert_eq!(code(changed.to_string().as_bytes()), expected, "{member}");
    }
    let twice = document().iter().chain(b"").copied().collect::<Vec<u8>>();
    let twice = String::from_utf8(twice)
        .unwrap()
        .replacen('{', r#"{"model":"smollm2","#, 1);
    assert_eq!(code(twice.as_bytes()), "aci.malformed", "a member twice");
    assert_eq!(code(&vec![b' '; ACI_RECEIPT_BYTES_MAX + 1]), "aci.too_large");
    assert_eq!(code(b"[]"), "aci.malformed");
}

#[test]
fn what_a_key_signed_must_still_tell_of_one_request_and_one_answer_within_its_life() {
    let hash = || json!(AciDigest::of(b"x").to_string());
    let received = || json!({"type": "request.received", "body_hash": hash()});
    let returned = || json!({"type": "response.returned", "body_hash": hash()});
    let sent = || json!({"type": "request.forwarded", "body_hash": hash()});
    for (events, expected) in [
        (json!([received(), returned()]), "verified"),
        (json!([received(), sent(), returned()]), "verified"),
        (json!([sent(), received(), returned()]), "aci.events"),
        (json!([received(), received(), returned()]), "aci.events"),
        (json!([received()]), "aci.events"),
        (json!([received(), returned(), returned()]), "aci.events"),
        (json!([]), "aci.events"),
        (
            json!([received(), {"type": "response.returned", "body_hash": "x"}]),
            "aci.malformed",
        ),
    ] {
        assert_eq!(
            code(&resigned(|v| v["event_log"] = events.clone())),
            expected,
            "{events}"
        );
    }
    let many = |count| {
        resigned(move |v| {
            v["event_log"] = [received()]
                .into_iter()
                .chain((1..count - 1).map(|_| sent()))
                .chain([returned()])
                .collect()
        })
    };
    assert_eq!(code(&many(ACI_EVENTS_MAX)), "verified");
    assert_eq!(code(&many(ACI_EVENTS_MAX + 1)), "aci.events");
    assert_eq!(
        code(&resigned(|v| v["served_at"] = 1_800_003_600_u64.into())),
        "verified"
    );
    assert_eq!(
        code(&resigned(|v| v["served_at"] = 1_800_003_601_u64.into())),
        "aci.time"
    );
    let changed = resigned(|v| {
        v["event_log"].as_array_mut().unwrap().insert(1, sent());
    });
    let verified = verify_aci_receipt(&changed, &keyset()).unwrap();
    assert_eq!(verified.forwarded_unchanged(), Some(false));
}

#[test]
fn receipts_under_a_keyset_of_ours_say_simulated_as_it_does() {
    for (keyset_says, receipt_says, expected) in [
        (Some(true), Some(true), "verified"),
        (Some(false), Some(false), "verified"),
        (None, None, "verified"),
        (None, Some(true), "verified"),
        (Some(true), Some(false), "aci.simulated"),
        (Some(true), None, "aci.simulated"),
        (Some(false), Some(true), "aci.simulated"),
        (Some(false), None, "aci.simulated"),
    ] {
        let mut draft = draft();
        draft.hanzo = keyset_says.map(|simulated| AciHanzo {
            keyset_digest: hanzo_attestation::Digest384([7; 48]),
            simulated,
            tier: 2,
        });
        let keyset = AciKeyset::from_json(&draft.canonical().unwrap()).unwrap();
        assert_eq!(keyset.simulated(), keyset_says == Some(true));
        let mut receipt = receipt();
        receipt.simulated = receipt_says;
        receipt.workload_keyset_digest = AciDigest(keyset.digest());
        let signature = sign(&receipt.signing_input().unwrap());
        let verified = verify_aci_receipt(&receipt.signed(&signature).unwrap(), &keyset);
        let got = verified.map_or_else(|e| e.code(), |_| "verified");
        assert_eq!(got, expected, "{keyset_says:?} {receipt_says:?}");
    }
}

#[test]
fn a_keyset_is_hashed_whole_and_its_keys_are_read_strictly() {
    let with = |keys: Value, more: &str| {
        let text = format!(r#"{{"not_after":1800003600,"receipt_signing_keys":{keys}{more}}}"#);
        AciKeyset::from_json(text.as_bytes())
    };
    let one = || json!({"algo": "ed25519", "key_id": "r1", "public_key": PUBLIC_KEY});
    let plain = with(json!([one()]), "").unwrap();
    assert_eq!(plain.not_after(), 1_800_003_600);
    assert_ne!(plain.digest(), with(json!([one()]), r#","later":[]"#).unwrap().digest());
    // A kind that nobody here knows is left out, whatever it looks like.
    with(json!([{"algo": "ml-dsa", "key_id": "", "public_key": "?"}, one()]), "").unwrap();
    for (keys, more) in [
        (json!([one(), one()]), ""),
        (json!([{"algo": "ed25519", "key_id": "", "public_key": PUBLIC_KEY}]), ""),
        (
            json!([{"algo": "ed25519", "key_id": "r1", "public_key": PUBLIC_KEY.to_uppercase()}]),
            "",
        ),
        (
            json!([{"algo": "ed25519", "key_id": "r1", "public_key": "00".repeat(32)}]),
            "",
        ),
        (json!([{"algo": "ed25519", "key_id": "r1"}]), ""),
        (json!(vec![one(); 65]), ""),
        (json!([one()]), r#","not_after":1"#),
    ] {
        assert_eq!(
            with(keys.clone(), more).unwrap_err().code(),
            "aci.malformed",
            "{keys}{more}"
        );
    }
    let long = AciKeyset::from_json(&vec![b' '; ACI_KEYSET_BYTES_MAX + 1]);
    assert_eq!(long.unwrap_err().code(), "aci.too_large");
}

/// The published document's blocks: keyset, statements, receipt, as that project's own tools make them.
#[test]
fn the_published_keyset_and_receipt_are_reached_byte_for_byte() {
    let Some(text) = published() else { return };
    let blocks: Vec<&str> = text
        .split("```text\n")
        .skip(1)
        .filter_map(|b| b.split("\n```").next())
        .collect();
    let block = |start: &str, end: &str| {
        let found = blocks.iter().find(|b| b.starts_with(start) && b.ends_with(end));
        found.unwrap_or_else(|| panic!("no block {start}")).as_bytes()
    };
    let keyset = AciKeyset::from_json(block(r#"{"e2ee_public_keys""#, "]}")).unwrap();
    assert!(text.contains(&format!("workload_keyset_digest = {}", AciDigest(keyset.digest()))));
    let nonce = Nonce(std::array::from_fn(|i| i as u8));
    assert!(text.contains(&hex::encode(report_data(&keyset.digest(), Some(&nonce)))));
    assert!(text.contains(&hex::encode(&report_data(&keyset.digest(), None)[..32])));
    let served = blocks
        .iter()
        .find(|b| b.contains(r#""signature":""#))
        .unwrap()
        .as_bytes();
    let verified = verify_aci_receipt(served, &keyset).unwrap();
    assert_eq!(verified.forwarded_unchanged(), Some(true));
    let input = verified.receipt().signing_input().unwrap();
    assert!(blocks.iter().any(|b| b.as_bytes() == input));
    let theirs = Ed25519KeyPair::from_seed_unchecked(&[2; 32]).unwrap();
    let signature: [u8; 64] = theirs.sign(&input).as_ref().try_into().unwrap();
    assert_eq!(verified.receipt().signed(&signature).unwrap(), served);
    verified
        .check_request(br#"{"messages":[{"content":"hi","role":"user"}],"model":"demo-model"}"#)
        .unwrap();
    verified
        .check_response(br#"{"choices":[],"id":"chatcmpl-123"}"#)
        .unwrap();
}

/// `None`, said loudly, where the published vectors are absent.
fn published() -> Option<String> {
    let found = [
        "/../../shared/vectors",
        "/../shared/vectors",
        "/../../../shared/vectors",
    ]
    .map(|up| format!("{}{up}/peers/aci/aci-test-vectors.md", env!("CARGO_MANIFEST_DIR")))
    .into_iter()
    .find(|path| Path::new(path).is_file());
    if found.is_none() {
        let _ = writeln!(
            std::io::stderr(),
            "VECTORS MISSING (shared/vectors beside the repository): ACI's published vectors were NOT checked"
        );
    }
    found.map(|path| std::fs::read_to_string(path).unwrap())
}
