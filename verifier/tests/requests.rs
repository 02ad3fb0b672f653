//! Signed requests: what is taken, and the nearest that is not.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use hanzo_attestation::name::Name;
use hanzo_pqc::dsa::{MlDsa65, SigningKey};
use hanzo_verifier::callers::*;

const CREATED: u64 = 1_800_000_000;

/// A caller's two keys, without what keeps them.
struct TestSigner(Ed25519KeyPair, SigningKey<MlDsa65>);

impl TestSigner {
    fn new(ed25519: [u8; 32], ml_dsa_65: [u8; 32]) -> Self {
        let classical = Ed25519KeyPair::from_seed_unchecked(&ed25519).unwrap();
        Self(classical, SigningKey::from_seed(&ml_dsa_65).unwrap())
    }

    fn keys(&self) -> RequestKeys {
        RequestKeys {
            ed25519: Some(hex::encode(self.0.public_key())),
            ml_dsa_65: Some(hex::encode(self.1.verifying_key().as_bytes())),
        }
    }

    fn sign(&self, line: &RequestLine<'_>, created: u64, nonce: [u8; 16]) -> (String, String) {
        let both = [RequestAlgorithm::Ed25519, RequestAlgorithm::MlDsa65];
        let id = Name::new("acme").unwrap();
        line.sign(&id, created, nonce, &both, |algorithm, message| match algorithm {
            RequestAlgorithm::Ed25519 => Ok(self.0.sign(message).as_ref().to_vec()),
            RequestAlgorithm::MlDsa65 => self.1.sign(message),
        })
        .unwrap()
    }
}

fn signer() -> TestSigner {
    TestSigner::new([1; 32], [2; 32])
}

fn line<'a>(digest: &'a str) -> RequestLine<'a> {
    RequestLine {
        method: "POST",
        path: "/v1/chat/completions",
        query: None,
        content_digest: digest,
        keyset: "00ff",
    }
}

/// One half of a dictionary of two, with its label first.
fn half(value: &str, label: &str) -> String {
    let at = value.find(&format!("{label}=")).unwrap();
    let end = value[at..].find(", ").map_or(value.len(), |n| at + n);
    value[at..end].to_owned()
}

#[test]
fn both_signatures_cover_method_path_query_digest_and_keyset() {
    let signer = signer();
    let digest = content_digest(b"{}");
    assert_eq!(
        digest, "sha-256=:RBNvo1WzZ4oRRq0W9+hknpT7T8If536DEMBg9hyq/4o=:",
        "what `openssl dgst -sha256` says of two braces"
    );
    let (input, signature) = signer.sign(&line(&digest), CREATED, [7; 16]);
    let read = RequestSignature::parse(input.as_bytes(), signature.as_bytes()).unwrap();
    assert_eq!(
        (read.keyid(), read.created(), read.nonce()),
        ("acme", CREATED, "07".repeat(16).as_str())
    );
    let keys = signer.keys();
    let check = |line: RequestLine<'_>| read.verify(&keys, &line).map_err(|e| e.code());
    assert_eq!(check(line(&digest)), Ok(()));
    let other = content_digest(b"{ }");
    for changed in [
        RequestLine {
            method: "GET",
            ..line(&digest)
        },
        RequestLine {
            path: "/v1/completions",
            ..line(&digest)
        },
        RequestLine {
            query: Some("a=1"),
            ..line(&digest)
        },
        RequestLine {
            keyset: "00fe",
            ..line(&digest)
        },
        line(&other),
    ] {
        assert_eq!(check(changed), Err("request.signature"), "{changed:?}");
    }
    // No query and an empty one are one in RFC 9421.
    assert_eq!(
        check(RequestLine {
            query: Some(""),
            ..line(&digest)
        }),
        Ok(())
    );
    // The base, as RFC 9421 section 2.5 writes it, so that any implementation signs the same.
    let base = format!(
        "\"@method\": POST\n\"@path\": /v1/chat/completions\n\"@query\": ?\n\"content-digest\": {digest}\n\"hanzo-keyset\": 00ff\n\
         \"@signature-params\": {}",
        half(&input, "ed25519").strip_prefix("ed25519=").unwrap()
    );
    let pair = aws_lc_rs::signature::Ed25519KeyPair::from_seed_unchecked(&[1; 32]).unwrap();
    use base64::Engine as _;
    let ours = base64::engine::general_purpose::STANDARD.encode(pair.sign(base.as_bytes()));
    assert_eq!(half(&signature, "ed25519"), format!("ed25519=:{ours}:"));
}

#[test]
fn a_request_has_one_signature_of_each_key_and_no_other() {
    let signer = signer();
    let digest = content_digest(b"");
    let (input, signature) = signer.sign(&line(&digest), CREATED, [7; 16]);
    let both = signer.keys();
    let classical = RequestKeys {
        ml_dsa_65: None,
        ..both.clone()
    };
    let post_quantum = RequestKeys {
        ed25519: None,
        ..both.clone()
    };
    let check = |keys: &RequestKeys, input: &str, signature: &str| {
        RequestSignature::parse(input.as_bytes(), signature.as_bytes())
            .and_then(|read| read.verify(keys, &line(&digest)))
            .map_err(|e| e.code())
    };
    let one = |label: &str| (half(&input, label), half(&signature, label));
    let (ed_input, ed) = one("ed25519");
    let (pq_input, pq) = one("ml-dsa-65");
    assert_eq!(check(&both, &input, &signature), Ok(()));
    assert_eq!(
        check(&both, &format!("{pq_input},{ed_input}"), &signature),
        Ok(()),
        "order says nothing"
    );
    assert_eq!(check(&classical, &ed_input, &ed), Ok(()));
    assert_eq!(check(&post_quantum, &pq_input, &pq), Ok(()));
    assert_eq!(check(&both, &ed_input, &ed), Err("request.keys"));
    assert_eq!(check(&both, &pq_input, &pq), Err("request.keys"));
    assert_eq!(check(&classical, &input, &signature), Err("request.keys"));
    assert_eq!(check(&classical, &pq_input, &pq), Err("request.keys"));
    let other = TestSigner::new([3; 32], [2; 32]);
    assert_eq!(check(&other.keys(), &input, &signature), Err("request.signature"));
    let other = TestSigner::new([1; 32], [3; 32]);
    assert_eq!(check(&other.keys(), &input, &signature), Err("request.signature"));
    // One half of another request.
    let (_, later) = signer.sign(&line(&digest), CREATED, [8; 16]);
    let mixed = format!("{ed}, {}", half(&later, "ml-dsa-65"));
    assert_eq!(check(&both, &input, &mixed), Err("request.signature"));
}

#[test]
fn one_form_is_read_and_its_neighbours_are_not() {
    let digest = content_digest(b"");
    let (input, signature) = signer().sign(&line(&digest), CREATED, [7; 16]);
    let (input, signature) = (half(&input, "ed25519"), half(&signature, "ed25519"));
    let read = |input: &str, signature: &str| {
        RequestSignature::parse(input.as_bytes(), signature.as_bytes())
            .map(drop)
            .map_err(|e| e.code())
    };
    assert_eq!(read(&input, &signature), Ok(()));
    let relabelled = |text: &str| text.replacen("ed25519=", "sig1=", 1);
    assert_eq!(
        read(&relabelled(&input), &relabelled(&signature)),
        Ok(()),
        "labels are free"
    );
    let swapped = input.replace(
        ";alg=\"ed25519\";tag=\"hanzo-request\"",
        ";tag=\"hanzo-request\";alg=\"ed25519\"",
    );
    assert_eq!(read(&swapped, &signature), Ok(()), "any order of parameters");
    let refused = |from: &str, to: &str| {
        let changed = input.replacen(from, to, 1);
        assert_ne!(changed, input, "{from}");
        assert_eq!(read(&changed, &signature), Err("request.form"), "{to}");
    };
    for (from, to) in [
        (" \"@query\"", ""),
        ("\"@method\" \"@path\"", "\"@path\" \"@method\""),
        ("\"hanzo-keyset\"", "\"hanzo-keyset\" \"date\""),
        ("(\"@method\"", "( \"@method\""),
        (";created=1800000000", ""),
        (";created=1800000000", ";created=1800000000;created=1800000001"),
        (";created=1800000000", ";created=-1"),
        (";created=1800000000", ";created=1800000000.5"),
        (";created=1800000000", ";created=\"1800000000\""),
        (";created=1800000000", ";created=1000000000000000"),
        (";created=1800000000", ";created=1800000000;expires=1900000000"),
        (";nonce=", ";n="),
        ("070707", "07 707"),
        ("07070707070707070707070707070707", "07"),
        (";alg=\"ed25519\"", ""),
        (";alg=\"ed25519\"", ";alg=\"hmac-sha256\""),
        (";alg=\"ed25519\"", ";alg=ed25519"),
        (";tag=\"hanzo-request\"", ""),
        (";tag=\"hanzo-request\"", ";tag=\"other\""),
        ("acme", &"a".repeat(65)),
        ("acme", ""),
        ("acme", "ac\\\"me"),
        ("ed25519=(", "Ed25519=("),
        ("ed25519=(", "other=("),
    ] {
        refused(from, to);
    }
    for (input, signature) in [
        (String::new(), signature.clone()),
        (input.clone(), String::new()),
        (format!("{input},"), signature.clone()),
        (format!("{input}, {input}"), format!("{signature}, {signature}")),
        (format!("{input} x"), signature.clone()),
        (input.clone(), signature.replace(":", "")),
        (input.clone(), signature.replacen("=:", "=:!", 1)),
        (input.clone(), format!("{signature}, b=:AA==:")),
        (input.clone(), "é".into()),
        (format!("{input}{}", " ".repeat(8192)), signature.clone()),
    ] {
        assert_eq!(read(&input, &signature), Err("request.form"), "{input} {signature}");
    }
}

#[test]
fn only_keys_with_which_requests_can_be_signed_are_taken() {
    let good = signer().keys();
    let check = |change: &dyn Fn(&mut RequestKeys)| {
        let mut keys = good.clone();
        change(&mut keys);
        keys.check().map_err(|e| e.code())
    };
    assert_eq!(check(&|_| {}), Ok(()));
    assert_eq!(check(&|k| k.ed25519 = None), Ok(()));
    assert_eq!(check(&|k| k.ml_dsa_65 = None), Ok(()));
    for change in [
        &|k: &mut RequestKeys| (k.ed25519, k.ml_dsa_65) = (None, None),
        &|k| k.ed25519 = Some("00".repeat(31)),
        // Of small order: a signature under it fits many messages.
        &|k| k.ed25519 = Some(format!("01{}", "00".repeat(31))),
        &|k| k.ed25519 = k.ed25519.as_ref().map(|hex| hex.to_uppercase()),
        &|k| k.ml_dsa_65 = Some("00".repeat(1951)),
        &|k| k.ml_dsa_65 = Some(String::new()),
    ] as [&dyn Fn(&mut RequestKeys); 6]
    {
        assert_eq!(check(change), Err("request.key"));
    }
}
