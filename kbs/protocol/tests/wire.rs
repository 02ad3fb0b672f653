//! Messages of the stock client, captured, and what is refused about messages.

use std::io::Write as _;
use std::path::Path;

use hanzo_attestation::Nonce;
use hanzo_attestation::bundle::{Base64, CpuEvidence, DeviceEvidence, SnpEvidence, TdxEvidence};
use hanzo_kbs_protocol::{
    AttestBody, GuestSession, SampleTee, SessionError, SessionEvidence, Tee, auth_request, auth_request_with,
    challenge_body, decode_nonce, encode_nonce,
};
use hanzo_pqc::hpke::{KemSuite, PrivateKey};
use serde_json::{Value, json};

fn vector(name: &str) -> Option<Vec<u8>> {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/vectors/kbs")).join(name);
    let bytes = std::fs::read(&path).ok();
    if bytes.is_none() {
        let _ = writeln!(std::io::stderr(), "VECTORS MISSING {}: not run", path.display());
    }
    bytes
}

fn auth_code(body: &[u8]) -> &'static str {
    auth_request(body).map_or_else(|e| e.code(), |_| "ok")
}

fn attest_code(body: &[u8]) -> &'static str {
    AttestBody::parse(body).map_or_else(|e| e.code(), |_| "ok")
}

#[test]
fn captured_bodies_of_the_stock_client_are_understood_and_refused_for_their_reason() {
    if let Some(body) = vector("rcar_0.4.0_auth.json") {
        // Well-formed; its TEE is the sample one, which proves nothing.
        assert_eq!(auth_code(&body), "kbs.tee.sample");
        assert_eq!(auth_request_with(&body, SampleTee::TestOnly).unwrap(), Tee::Sample);
        let snp = String::from_utf8(body).unwrap().replace("\"sample\"", "\"snp\"");
        assert_eq!(auth_code(snp.as_bytes()), "ok");
    }
    if let Some(body) = vector("old_auth_0.1.0.json") {
        let e = auth_request(&body).unwrap_err();
        assert_eq!(e.code(), "kbs.protocol.version");
        assert!(e.to_string().contains("KBS Client Protocol Version Mismatch"));
    }
    if let Some(body) = vector("rcar_0.4.0_attest_sample.json") {
        attested_by_the_sample_tee(&body);
    }
    if let Some(body) = vector("old_attest.json") {
        assert_eq!(attest_code(&body), "kbs.body.malformed");
    }
}

fn attest() -> Value {
    let key = PrivateKey::from_seed(KemSuite::Xwing, &[3; 32]).unwrap();
    let mut session = GuestSession::new(key.public_key());
    let challenge = challenge_body(&Nonce([9; 32])).to_string();
    let body = session.attest_body(challenge.as_bytes(), |_| {
        Ok::<_, std::convert::Infallible>(CpuEvidence::Snp(SnpEvidence {
            ask: None,
            crl: None,
            report: Base64(vec![1]),
            vek: Base64(vec![2]),
        }))
    });
    serde_json::from_slice(&body.unwrap()).unwrap()
}

#[test]
fn evidence_of_another_kind_than_the_session_was_opened_for_is_refused() {
    let key = PrivateKey::from_seed(KemSuite::Xwing, &[3; 32]).unwrap();
    let mut session = GuestSession::new(key.public_key());
    let challenge = challenge_body(&Nonce([9; 32])).to_string();
    let tdx = CpuEvidence::Tdx(TdxEvidence {
        collateral: None,
        event_log: None,
        quote: Base64(vec![4]),
    });
    let error = session
        .attest_body(challenge.as_bytes(), |_| Ok::<_, std::convert::Infallible>(tdx))
        .unwrap_err();
    assert!(
        matches!(
            error,
            SessionError::Kind {
                expected: Tee::Snp,
                got: "tdx"
            }
        ),
        "{error}"
    );
}

#[test]
fn what_would_be_ignored_is_refused() {
    let changed = |pointer: &str, value: Value| {
        let mut body = attest();
        match pointer.rsplit_once('/') {
            Some((parent, last)) => {
                body.pointer_mut(parent).unwrap()[last] = value;
            }
            None => unreachable!("pointers start with a slash"),
        }
        attest_code(body.to_string().as_bytes())
    };
    assert_eq!(attest_code(attest().to_string().as_bytes()), "ok");
    assert_eq!(
        changed("/tee-evidence/primary_evidence", json!({"quote": "AA"})),
        "kbs.unsupported"
    );
    assert_eq!(
        changed("/tee-evidence/primary_evidence", json!({"kind": "sgx"})),
        "kbs.body.malformed"
    );
    assert_eq!(changed("/extra", json!(1)), "kbs.body.malformed");
    assert_eq!(changed("/runtime-data/extra", json!(1)), "kbs.body.malformed");
    assert_eq!(
        changed("/tee-evidence/primary_evidence/extra", json!(1)),
        "kbs.body.malformed"
    );
    assert_eq!(changed("/runtime-data/tee-pubkey/kid", json!("x")), "kbs.wrap.key");
    assert_eq!(
        changed("/runtime-data/tee-pubkey/alg", json!("ML-KEM-768+A192KW")),
        "kbs.wrap.jwk"
    );
    assert_eq!(
        changed("/runtime-data/tee-pubkey/alg", json!("hanzo-hpke-mlkem1024-p384")),
        "kbs.wrap.key"
    );
    assert_eq!(changed("/runtime-data/tee-pubkey/pub", json!("AAAA")), "kbs.wrap.key");
    let rsa = json!({"kty": "RSA", "alg": "RSA-OAEP-256", "n": "AQAB", "e": "AQAB"});
    assert_eq!(changed("/runtime-data/tee-pubkey", rsa), "kbs.wrap.jwk");
    assert_eq!(attest_code(&vec![b' '; 1_100_000]), "kbs.body.too_large");
    assert_eq!(attest_code("[".repeat(100_000).as_bytes()), "kbs.body.malformed");
}

#[test]
fn versions_are_told_apart_before_anything_else() {
    let auth = |version: &str, tee: &str| {
        auth_code(
            json!({"version": version, "tee": tee, "extra-params": ""})
                .to_string()
                .as_bytes(),
        )
    };
    assert_eq!(auth("0.4.0", "snp"), "ok");
    assert_eq!(auth("0.4.1", "snp"), "kbs.protocol.version");
    assert_eq!(auth("0.3.0", "a tee of the future"), "kbs.protocol.version");
    for tee in ["tdx", "tpm", "az-snp-vtpm", "az-tdx-vtpm"] {
        assert_eq!(auth("0.4.0", tee), "ok");
    }
    assert_eq!(auth("0.4.0", "sample"), "kbs.tee.sample");
    for tee in [
        "sgx",
        "cca",
        "csv",
        "se",
        "hygondcu",
        "nvidia",
        "nvidia-dpu",
        "sampledevice",
    ] {
        assert_eq!(auth("0.4.0", tee), "kbs.tee.unsupported");
    }
    assert_eq!(auth("0.4.0", "a tee of the future"), "kbs.body.malformed");
}

fn attested_by_the_sample_tee(body: &[u8]) {
    let code = |changed: &Value| {
        let body = AttestBody::parse(changed.to_string().as_bytes()).unwrap();
        let SessionEvidence::Sample(sample) = &body.evidence else {
            panic!("{:?}", body.evidence)
        };
        sample.check(&body.runtime()).map_or_else(|e| e.code(), |()| "ok")
    };
    let good: Value = serde_json::from_slice(body).unwrap();
    assert_eq!(code(&good), "ok");
    // Nonce, key and additional evidence are each under the digest.
    let other_key = hanzo_kbs_protocol::jwe::JwePrivateKey::generate_ec(hanzo_kbs_protocol::jwe::Curve::P256).unwrap();
    for (pointer, value) in [
        ("/runtime-data/nonce", json!(encode_nonce(&Nonce([1; 32])))),
        ("/runtime-data/tee-pubkey", other_key.public_value().unwrap()),
        ("/tee-evidence/additional_evidence", json!("{}")),
    ] {
        let mut changed = good.clone();
        *changed.pointer_mut(pointer).unwrap() = value;
        assert_eq!(code(&changed), "binding.sample", "{pointer}");
    }
}

#[test]
fn init_data_that_cannot_be_honoured_is_refused_by_name() {
    let with = |init: Value| {
        let mut body = attest();
        body["init-data"] = init;
        match AttestBody::parse(body.to_string().as_bytes()) {
            Ok(_) => "ok".to_owned(),
            Err(e) => format!("{} {e}", e.code()),
        }
    };
    let toml = |text: &str| with(json!({"format": "toml", "body": text}));
    assert_eq!(
        toml("version = \"0.1.0\"\nalgorithm = \"sha384\"\n[data]\n\"aa.toml\" = \"x\"\n"),
        "ok"
    );
    for (text, names) in [
        ("version = \"0.2.0\"\nalgorithm = \"sha384\"\n[data]\n", "version"),
        ("version = \"0.1.0\"\nalgorithm = \"sm3\"\n[data]\n", "algorithm"),
        ("version = \"0.1.0\"\nalgorithm = \"sha384\"\n", "body"),
        (
            "version = \"0.1.0\"\nalgorithm = \"sha384\"\nmore = 1\n[data]\n",
            "body",
        ),
        ("{", "body"),
    ] {
        let refused = toml(text);
        assert!(
            refused.starts_with(&format!("kbs.init_data init-data: {names}")),
            "{refused}"
        );
    }
    assert!(with(json!({"format": "zip", "body": ""})).starts_with("kbs.init_data init-data: format"));
    assert!(with(json!("text")).starts_with("kbs.body.malformed"));
}

#[test]
fn devices_stand_in_the_string_that_the_processor_signs() {
    let key = PrivateKey::from_seed(KemSuite::Xwing, &[3; 32]).unwrap();
    let mut session = GuestSession::for_tee(key.public_key(), Tee::Tdx);
    assert!(
        String::from_utf8(session.auth_body())
            .unwrap()
            .contains("\"tee\":\"tdx\"")
    );
    let device = DeviceEvidence {
        arch: "hopper".into(),
        certificates: Base64(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_vec()),
        kind: "nvidia".into(),
        report: Base64(vec![0x11, 0xe0, 1, 2]),
    };
    let (mut asked, mut signed) = ([0; 32], [0; 64]);
    let challenge = challenge_body(&Nonce([9; 32])).to_string();
    let body = session
        .attest_body_with_devices(
            challenge.as_bytes(),
            |nonce| {
                asked = *nonce;
                Ok::<_, std::convert::Infallible>(vec![device.clone()])
            },
            |request| {
                signed = *request.report_data();
                Ok(CpuEvidence::Tdx(TdxEvidence {
                    collateral: None,
                    event_log: None,
                    quote: Base64(vec![4]),
                }))
            },
        )
        .unwrap();
    let body = AttestBody::parse(&body).unwrap();
    assert_eq!(body.evidence.tee(), Tee::Tdx);
    assert_eq!(body.runtime().device_nonce().unwrap(), asked);
    assert_eq!(body.runtime().report_data().unwrap(), signed);
    assert_eq!(
        hanzo_attestation::foreign::devices_of_additional_evidence(&body.additional_evidence).unwrap(),
        [device]
    );
}

#[test]
fn nonces_have_one_spelling() {
    let nonce = Nonce([255; 32]);
    let text = encode_nonce(&nonce);
    assert_eq!(text.len(), 44);
    assert_eq!(decode_nonce(&text).unwrap(), nonce);
    for bad in [
        text.replace('/', "_"),
        text.trim_end_matches('=').to_owned(),
        format!("{text} "),
        hex::encode([255; 22]),
    ] {
        assert_eq!(decode_nonce(&bad).unwrap_err().code(), "kbs.nonce.malformed", "{bad}");
    }
}

#[test]
fn a_broker_that_selects_another_hash_is_refused() {
    let answer = |extra: Value| {
        let key = PrivateKey::from_seed(KemSuite::Xwing, &[3; 32]).unwrap();
        let body = json!({"nonce": encode_nonce(&Nonce([1; 32])), "extra-params": extra}).to_string();
        GuestSession::new(key.public_key())
            .attest_body(body.as_bytes(), |_| Err::<CpuEvidence, _>("asked"))
            .unwrap_err()
            .to_string()
    };
    assert_eq!(answer(json!("")), "evidence: asked");
    assert_eq!(answer(json!({"selected-hash-algorithm": "sha384"})), "evidence: asked");
    assert!(answer(json!({"selected-hash-algorithm": "sha256"})).starts_with("extra-params"));
}

proptest::proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..512)) {
        let _ = auth_request(&bytes);
        let _ = AttestBody::parse(&bytes);
        let _ = hanzo_kbs_protocol::WrappedDek::parse(&bytes);
    }
}
