//! The receipt format: the worked example of RECEIPT.md, and the nearest refused twin of every accepted case.

use hanzo_attestation::keyset::{CountedBy, KemKey, Keyset, ServedModel, SignaturePair, SignerKeys};
use hanzo_attestation::name::Name;
use hanzo_attestation::{Digest256, Digest384};
use hanzo_pqc::Domain;
use hanzo_pqc::sign::{SignatureSuite, SigningKeys};
use hanzo_verifier::receipt::*;

fn keys(byte: u8) -> SigningKeys {
    SigningKeys::from_seed(SignatureSuite::MlDsa65Ed25519, &[byte; 64]).unwrap()
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn keyset(keys: &SigningKeys) -> Keyset {
    let public = keys.verifying_keys();
    Keyset {
        capability_digest: Digest384([1; 48]),
        channel_key: KemKey {
            public_key: "00".into(),
            suite: "x-wing".into(),
        },
        config_digest: Digest256([2; 32]),
        image: name("0.1.0"),
        issued_at: 1_800_000_000,
        models: vec![ServedModel {
            base_root: None,
            chat_template_sha256: Digest256([3; 32]),
            counted_by: None,
            name: name("smollm2"),
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
        log: None,
        signer_keys: vec![],
        simulated: true,
        tier: 2,
        time: "host".into(),
        tls_spki_sha256: Digest256([7; 32]),
        version: 1,
    }
}

fn salts() -> Salts {
    Salts {
        request: Salt([8; 32]),
        response: Salt([9; 32]),
    }
}

const REQUEST: &[u8] = br#"{"model":"smollm2","messages":[{"role":"user","content":"Hi"}]}"#;
const RESPONSE: &[u8] = br#"{"choices":[]}"#;

fn receipt(keyset: &Keyset) -> Receipt {
    let model = &keyset.models[0];
    Receipt {
        base_root: None,
        chat_template_sha256: model.chat_template_sha256,
        completion_tokens: 7,
        counted_by: None,
        id: ReceiptId([10; 16]),
        keyset_digest: keyset.digest().unwrap(),
        model: model.name.clone(),
        outcome: Outcome::Complete,
        prev: keyset.digest().unwrap(),
        prompt_tokens: 31,
        request_commitment: commitment(&salts().request, REQUEST),
        response_commitment: commitment(&salts().response, RESPONSE),
        sampling: Sampling {
            max_tokens: 64,
            seed: Some(42),
            temperature_micros: 700_000,
            top_p_micros: 1_000_000,
        },
        seq: 0,
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

fn sign(receipt: Receipt, keys: &SigningKeys) -> SignedReceipt {
    let signature = keys.sign(Domain::Receipt, &receipt.canonical().unwrap()).unwrap();
    SignedReceipt {
        receipt,
        signature: SignaturePair {
            ed25519: signature.ed25519_hex(),
            ml_dsa: signature.ml_dsa_hex(),
        },
    }
}

#[test]
fn a_receipt_verifies_and_opens_its_commitments() {
    let keys = keys(1);
    let keyset = keyset(&keys);
    let signed = sign(receipt(&keyset), &keys);
    let verified = verify_receipt(&signed.to_bytes().unwrap(), &keyset).unwrap();
    verified.check_request(&salts().request, REQUEST).unwrap();
    verified.check_response(&salts().response, RESPONSE).unwrap();
    let code = |r: Result<(), ReceiptError>| r.unwrap_err().code();
    assert_eq!(
        code(verified.check_request(&salts().request, b"x")),
        "receipt.commitment.request"
    );
    assert_eq!(
        code(verified.check_response(&salts().request, RESPONSE)),
        "receipt.commitment.response"
    );
    let disclosed = signed.disclose(salts()).to_bytes().unwrap();
    let (again, opened) = verify_disclosed(&disclosed, &keyset).unwrap();
    assert!(again == verified && opened == salts());
    assert_eq!(
        verify_receipt(&disclosed, &keyset).unwrap_err().code(),
        "receipt.malformed",
        "salts have no place in the log"
    );
}

#[test]
fn one_signature_is_not_enough() {
    let (mine, other) = (keys(1), keys(2));
    let keyset = keyset(&mine);
    let good = sign(receipt(&keyset), &mine);
    let foreign = sign(receipt(&keyset), &other);
    let verify = |ml_dsa: &str, ed25519: &str| {
        let signed = SignedReceipt {
            receipt: good.receipt.clone(),
            signature: SignaturePair {
                ed25519: ed25519.into(),
                ml_dsa: ml_dsa.into(),
            },
        };
        verify_receipt(&signed.to_bytes().unwrap(), &keyset)
            .map(|_| ())
            .map_err(|e| e.code())
    };
    let (g, f) = (&good.signature, &foreign.signature);
    assert_eq!(verify(&g.ml_dsa, &g.ed25519), Ok(()));
    assert_eq!(verify(&f.ml_dsa, &g.ed25519), Err("receipt.signature.ml_dsa"));
    assert_eq!(verify(&g.ml_dsa, &f.ed25519), Err("receipt.signature.ed25519"));
    assert_eq!(verify(&f.ml_dsa, &f.ed25519), Err("receipt.signature.both"));
    assert_eq!(verify("", &g.ed25519), Err("receipt.malformed"));
    assert_eq!(verify(&g.ml_dsa, ""), Err("receipt.malformed"));
    // The same bytes signed for another purpose are no receipt.
    let grant = mine.sign(Domain::Grant, &good.receipt.canonical().unwrap()).unwrap();
    assert_eq!(
        verify(&grant.ml_dsa_hex(), &grant.ed25519_hex()),
        Err("receipt.signature.both")
    );
}

#[test]
fn a_receipt_of_another_keyset_is_refused() {
    let keys = keys(1);
    let mine = keyset(&keys);
    let signed = sign(receipt(&mine), &keys).to_bytes().unwrap();
    let mut other = mine.clone();
    other.not_after += 1;
    assert_eq!(verify_receipt(&signed, &other).unwrap_err().code(), "receipt.keyset");
}

#[test]
fn what_a_request_was_is_named_unless_it_goes_without_saying() {
    let keys = keys(1);
    let keyset = keyset(&keys);
    let verify = |answers, endpoint, tokens| {
        let mut receipt = receipt(&keyset);
        receipt.work = Some(Work { answers, endpoint });
        receipt.completion_tokens = tokens;
        let bytes = sign(receipt, &keys).to_bytes().unwrap();
        verify_receipt(&bytes, &keyset).map(|_| ()).map_err(|e| e.code())
    };
    assert_eq!(verify(2, Endpoint::Chat, 128), Ok(()));
    assert_eq!(verify(1, Endpoint::Messages, 64), Ok(()));
    assert_eq!(verify(2, Endpoint::Chat, 129), Err("receipt.malformed"), "64 for each");
    assert_eq!(
        verify(1, Endpoint::Chat, 64),
        Err("receipt.malformed"),
        "one spelling of each"
    );
    assert_eq!(verify(0, Endpoint::Embeddings, 0), Err("receipt.malformed"));
    assert_eq!(verify(4097, Endpoint::Embeddings, 0), Err("receipt.malformed"));
    assert_eq!(Work::of(Endpoint::Chat, 1), None);
}

#[test]
fn what_contradicts_the_keyset_is_refused_even_if_both_keys_signed_it() {
    let keys = keys(1);
    let keyset = keyset(&keys);
    let refused = |change: fn(&mut Receipt)| {
        let mut receipt = receipt(&keyset);
        change(&mut receipt);
        verify_signed(&sign(receipt, &keys), &keyset).unwrap_err().code()
    };
    assert_eq!(
        refused(|r| r.weights_root = Digest256([0; 32])),
        "receipt.contradiction"
    );
    assert_eq!(
        refused(|r| r.tokenizer_sha256 = Digest256([0; 32])),
        "receipt.contradiction"
    );
    assert_eq!(
        refused(|r| r.chat_template_sha256 = Digest256([0; 32])),
        "receipt.contradiction"
    );
    assert_eq!(refused(|r| r.model = name("other")), "receipt.contradiction");
    // An adapter on some base, where the keyset says that it is none.
    assert_eq!(
        refused(|r| r.base_root = Some(Digest256([9; 32]))),
        "receipt.contradiction"
    );
    assert_eq!(refused(|r| r.tier = 3), "receipt.contradiction");
    assert_eq!(refused(|r| r.simulated = false), "receipt.contradiction");
    assert_eq!(refused(|r| r.time_source = "securetsc".into()), "receipt.contradiction");
    assert_eq!(refused(|r| r.time = 1_799_999_999), "receipt.time");
    assert_eq!(refused(|r| r.prev = Digest384([0; 48])), "receipt.chain");
    assert_eq!(refused(|r| r.version = 2), "receipt.malformed");
    assert_eq!(refused(|r| r.transport = "plain".into()), "receipt.malformed");
    assert_eq!(refused(|r| r.completion_tokens = 65), "receipt.malformed");
}

#[test]
fn whose_word_the_counts_are_is_the_keysets_to_say() {
    let keys = keys(1);
    let verify = |model: Option<CountedBy>, said: Option<CountedBy>| {
        let mut keyset = keyset(&keys);
        keyset.models[0].counted_by = model;
        let mut receipt = receipt(&keyset);
        receipt.counted_by = said;
        let bytes = sign(receipt, &keys).to_bytes().unwrap();
        let read = verify_receipt(&bytes, &keyset).map(|verified| verified.receipt().counted_by);
        (
            read.map_err(|e| e.to_string()),
            String::from_utf8(bytes).unwrap(),
            keyset,
        )
    };
    let upstream = Some(CountedBy::Upstream);
    assert_eq!(verify(None, None).0, Ok(None));
    let (read, text, keyset) = verify(upstream, upstream);
    assert_eq!(read, Ok(upstream));
    // Neither is left out or put in, though both keys signed it.
    for (model, said, named) in [
        (
            upstream,
            None,
            "counted_by: the keyset says upstream, the receipt says engine",
        ),
        (
            None,
            upstream,
            "counted_by: the keyset says engine, the receipt says upstream",
        ),
    ] {
        let error = verify(model, said).0.unwrap_err();
        assert!(error.contains(named), "{error}");
    }
    // One spelling of each.
    for (to, code) in [
        ("", "receipt.signature.both"),
        (r#""counted_by":"engine","#, "receipt.malformed"),
        (r#""counted_by":null,"#, "receipt.malformed"),
    ] {
        let changed = text.replacen(r#""counted_by":"upstream","#, to, 1);
        assert_ne!(changed, text);
        assert_eq!(verify_receipt(changed.as_bytes(), &keyset).unwrap_err().code(), code);
    }
}

#[test]
fn changed_bytes_are_refused() {
    let keys = keys(1);
    let keyset = keyset(&keys);
    let text = String::from_utf8(sign(receipt(&keyset), &keys).to_bytes().unwrap()).unwrap();
    for (from, to, code) in [
        (
            r#""completion_tokens":7"#,
            r#""completion_tokens":8"#,
            "receipt.signature.both",
        ),
        (
            r#""outcome":"complete""#,
            r#""outcome":"failed""#,
            "receipt.signature.both",
        ),
        (r#""outcome":"complete""#, r#""outcome":"done""#, "receipt.malformed"),
        (r#""seq":0"#, r#""seq":0.0"#, "receipt.malformed"),
        (r#""seq":0"#, r#""seq":9007199254740992"#, "receipt.malformed"),
        (r#""seq":0"#, r#""seq":0,"seq":0"#, "receipt.malformed"),
        (r#""seq":0"#, r#""seq":0,"more":1"#, "receipt.malformed"),
        (r#"{"receipt""#, r#" {"receipt""#, "receipt.malformed"),
        (r#""simulated":true,"#, "", "receipt.malformed"),
    ] {
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text, "{from}");
        assert_eq!(
            verify_receipt(changed.as_bytes(), &keyset).unwrap_err().code(),
            code,
            "{to}"
        );
    }
    let long = vec![b' '; RECEIPT_BYTES_MAX + 1];
    assert_eq!(verify_receipt(&long, &keyset).unwrap_err().code(), "receipt.too_large");
}

/// Whichever byte of the signed document is changed, in whichever member it lies, it is no receipt any more; and the two
/// commitments open to no other byte of request and answer.
#[test]
fn no_byte_of_receipt_request_or_answer_can_be_another() {
    let keys = keys(1);
    let keyset = keyset(&keys);
    let signed = sign(receipt(&keyset), &keys);
    let bytes = signed.to_bytes().unwrap();
    let members = String::from_utf8(bytes.clone()).unwrap();
    let signatures = members.find("\"signature\"").unwrap();
    let ml_dsa = members.find("\"ml_dsa\":\"").unwrap() + 10;
    for at in 0..bytes.len() {
        let mut other = bytes.clone();
        // Another digit where it is one, so that most changes are of what is said rather than of its form.
        other[at] = match other[at] {
            b'9' => b'8',
            b'f' => b'e',
            byte => byte ^ 1,
        };
        let code = verify_receipt(&other, &keyset).unwrap_err().code();
        let named = match code {
            "receipt.malformed" | "receipt.keyset" => true,
            "receipt.signature.both" => at < signatures,
            "receipt.signature.ed25519" => (signatures..ml_dsa).contains(&at),
            "receipt.signature.ml_dsa" => at >= ml_dsa,
            _ => false,
        };
        assert!(named, "byte {at}: {code}");
    }
    let verified = verify_signed(&signed, &keyset).unwrap();
    for at in 0..REQUEST.len().max(RESPONSE.len()) {
        let changed = |bytes: &[u8]| {
            let mut other = bytes.to_vec();
            *other.get_mut(at)? ^= 1;
            Some(other)
        };
        if let Some(other) = changed(REQUEST) {
            let refused = verified.check_request(&salts().request, &other).unwrap_err();
            assert_eq!(refused.code(), "receipt.commitment.request");
        }
        if let Some(other) = changed(RESPONSE) {
            let refused = verified.check_response(&salts().response, &other).unwrap_err();
            assert_eq!(refused.code(), "receipt.commitment.response");
        }
    }
    for shorter in [&REQUEST[1..], &REQUEST[..REQUEST.len() - 1], b""] {
        assert!(verified.check_request(&salts().request, shorter).is_err());
    }
}

#[test]
fn a_dropped_signature_is_named_and_so_is_what_was_changed() {
    let keys = keys(1);
    let keyset = keyset(&keys);
    let good = sign(receipt(&keyset), &keys);
    let text = |change: fn(&mut SignedReceipt)| {
        let mut signed = good.clone();
        change(&mut signed);
        verify_signed(&signed, &keyset).unwrap_err().to_string()
    };
    assert!(text(|s| s.signature.ed25519.clear()).contains("signature.ed25519: expected both"));
    assert!(text(|s| s.signature.ml_dsa.clear()).contains("signature.ml_dsa: expected both"));
    let document = String::from_utf8(good.to_bytes().unwrap()).unwrap();
    let (head, tail) = document.split_once("\"ed25519\":\"").unwrap();
    let without = format!("{head}{}", tail.split_once("\",").unwrap().1);
    let refused = verify_receipt(without.as_bytes(), &keyset).unwrap_err().to_string();
    assert!(refused.contains("ed25519"), "{refused}");

    let mut other = good.receipt.clone();
    other.completion_tokens = 8;
    other.weights_root = Digest256([0xee; 32]);
    other.sampling.seed = None;
    other.work = Some(Work {
        answers: 2,
        endpoint: Endpoint::Chat,
    });
    let named: Vec<String> = other
        .differences(&good.receipt)
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        named,
        [
            "completion_tokens: signed 7, here 8".to_owned(),
            "sampling.seed: signed 42, here null".to_owned(),
            format!(
                "weights_root: signed {}, here {}",
                Digest256([5; 32]),
                Digest256([0xee; 32])
            ),
            "work.answers: signed nothing, here 2".to_owned(),
            "work.endpoint: signed nothing, here chat".to_owned(),
        ]
    );
    assert!(good.receipt.differences(&good.receipt).is_empty());
    let against = other.contradictions(&keyset);
    assert_eq!(against.len(), 1);
    assert!(against[0].to_string().contains("weights_root"));
}

#[test]
fn an_answer_that_names_other_counts_than_were_signed_is_refused() {
    let keys = keys(1);
    let keyset = keyset(&keys);
    let verified = |outcome| {
        let mut receipt = receipt(&keyset);
        receipt.outcome = outcome;
        verify_signed(&sign(receipt, &keys), &keyset).unwrap()
    };
    let (whole, cut) = (verified(Outcome::Complete), verified(Outcome::Cut));
    let told = |answer: &str| {
        whole
            .check_usage(answer.as_bytes())
            .map_err(|e| (e.code(), e.to_string()))
    };
    for good in [
        r#"{"choices":[]}"#,
        r#"{"usage":{"prompt_tokens":31,"completion_tokens":7,"total_tokens":38}}"#,
        r#"{"usage":{"prompt_tokens":31,"total_tokens":31}}"#,
        r#"{"usage":{"input_tokens":31,"output_tokens":7}}"#,
        "data: {\"usage\":null}\n\ndata: {\"usage\":{\"prompt_tokens\":31,\"completion_tokens\":7}}\n\ndata: [DONE]\n\n",
        "event: message_start\ndata: {\"message\":{\"usage\":{\"input_tokens\":31,\"output_tokens\":0}}}\n\nevent: message_delta\ndata: {\"usage\":{\"output_tokens\":7}}\n\n",
        "event: response.completed\ndata: {\"response\":{\"usage\":{\"input_tokens\":31,\"output_tokens\":7}}}\n\n",
        "no answer at all",
    ] {
        assert_eq!(told(good), Ok(()), "{good}");
    }
    for (bad, field) in [
        (
            r#"{"usage":{"prompt_tokens":31,"completion_tokens":6}}"#,
            "completion_tokens: the answer says 6",
        ),
        (
            r#"{"usage":{"prompt_tokens":30,"completion_tokens":7}}"#,
            "prompt_tokens: the answer says 30",
        ),
        (
            "data: {\"usage\":{\"input_tokens\":31,\"output_tokens\":8}}\n\n",
            "completion_tokens: the answer says 8",
        ),
    ] {
        let (code, text) = told(bad).unwrap_err();
        assert!(code == "receipt.usage" && text.contains(field), "{text}");
    }
    // One that was cut off named what there was by then.
    let begun = br#"data: {"message":{"usage":{"input_tokens":31,"output_tokens":1}}}"#;
    cut.check_usage(begun).unwrap();
    assert!(whole.check_usage(begun).is_err());
}

#[test]
fn the_chain_shows_a_missing_receipt() {
    let keys = keys(1);
    let keyset = keyset(&keys);
    let verified = |receipt: Receipt| verify_signed(&sign(receipt, &keys), &keyset).unwrap();
    let next = |before: &VerifiedReceipt| Receipt {
        seq: before.receipt().seq + 1,
        prev: before.digest(),
        ..receipt(&keyset)
    };
    let first = verified(receipt(&keyset));
    let second = verified(next(&first));
    let third = verified(next(&second));
    second.follows(&first).unwrap();
    third.follows(&second).unwrap();
    assert_eq!(third.follows(&first).unwrap_err().code(), "receipt.chain");
    assert_eq!(first.follows(&second).unwrap_err().code(), "receipt.chain");
}

#[test]
fn the_log_alone_does_not_confirm_a_guess() {
    let answers: Vec<_> = (0..10_000).map(|i| format!("answer {i}")).collect();
    let committed = commitment(&Salt([77; 32]), answers[1234].as_bytes());
    assert!(answers.iter().all(|a| Digest384::of(a.as_bytes()) != committed));
    assert!(
        answers
            .iter()
            .all(|a| commitment(&Salt([0; 32]), a.as_bytes()) != committed)
    );
}

#[test]
fn the_worked_example_of_the_specification_is_what_the_code_writes() {
    let mut receipt = receipt(&keyset(&keys(1)));
    // The example stands apart from any key material.
    receipt.keyset_digest = Digest384([11; 48]);
    receipt.prev = Digest384([11; 48]);
    let canonical = String::from_utf8(receipt.canonical().unwrap()).unwrap();
    let spec = include_str!("../RECEIPT.md");
    assert!(spec.contains(&canonical), "{canonical}");
    for value in [
        receipt.digest().unwrap(),
        receipt.request_commitment,
        receipt.response_commitment,
    ] {
        assert!(spec.contains(&value.to_string()), "{value}");
    }
}
