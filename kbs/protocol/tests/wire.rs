//! Messages of the stock client, captured, and what is refused about messages.

use std::io::Write as _;
use std::path::Path;

use hanzo_attestation::Nonce;
use hanzo_attestation::bundle::{Base64, CpuEvidence, SnpEvidence, TdxEvidence};
use hanzo_kbs_protocol::{
    AttestBody, GuestSession, SessionError, auth_request, challenge_body, decode_nonce, encode_nonce,
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
        assert_eq!(auth_code(&body), "kbs.tee.unsupported");
        let snp = String::from_utf8(body).unwrap().replace("\"sample\"", "\"snp\"");
        assert_eq!(auth_code(snp.as_bytes()), "ok");
    }
    if let Some(body) = vector("old_auth_0.1.0.json") {
        let e = auth_request(&body).unwrap_err();
        assert_eq!(e.code(), "kbs.protocol.version");
        assert!(e.to_string().contains("KBS Client Protocol Version Mismatch"));
    }
    if let Some(body) = vector("rcar_0.4.0_attest_sample.json") {
        assert_eq!(attest_code(&body), "kbs.wrap.classical");
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
    assert!(matches!(error, SessionError::Kind { got: "tdx" }), "{error}");
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
        changed("/init-data", json!({"format": "toml", "body": "x"})),
        "kbs.unsupported"
    );
    assert_eq!(
        changed("/tee-evidence/additional_evidence", json!("{\"nvidia\":{}}")),
        "kbs.unsupported"
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
        "kbs.wrap.key"
    );
    assert_eq!(
        changed("/runtime-data/tee-pubkey/alg", json!("hanzo-hpke-mlkem1024-p384")),
        "kbs.wrap.key"
    );
    assert_eq!(changed("/runtime-data/tee-pubkey/pub", json!("AAAA")), "kbs.wrap.key");
    let rsa = json!({"kty": "RSA", "alg": "RSA-OAEP-256", "n": "AQAB", "e": "AQAB"});
    assert_eq!(changed("/runtime-data/tee-pubkey", rsa), "kbs.wrap.classical");
    assert_eq!(attest_code(&vec![b' '; 300_000]), "kbs.body.too_large");
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
    assert_eq!(auth("0.4.0", "tdx"), "kbs.tee.unsupported");
    assert_eq!(auth("0.4.0", "a tee of the future"), "kbs.body.malformed");
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
