//! Admins who speak as CoCo's client does, and sessions of its sample TEE.
#![allow(dead_code, reason = "each test file uses a part")]

use std::net::SocketAddr;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hanzo_attestation::binding::RcarRuntime;
use hanzo_attestation::name::Name;
use hanzo_kbs::{CocoAdmin, CocoAlgorithm, CocoRole};
use hanzo_kbs_protocol::jwe::{Curve, JwePrivateKey};
use hanzo_kbs_protocol::{ATTEST_PATH, AUTH_PATH};
use serde_json::{Value, json};

use super::harness::{Reply, http, now};

/// How the configuration pins an Ed25519 admin.
pub fn ed25519_admin(name: &str, seed: u8, role: CocoRole, tenant: Option<&str>) -> CocoAdmin {
    let key = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
    CocoAdmin {
        name: Name::new(name).unwrap(),
        role,
        tenant: tenant.map(|t| Name::new(t).unwrap()),
        algorithm: CocoAlgorithm::EdDSA,
        public_key: hex::encode(key.public_key()),
    }
}

/// A token that `sign` signs.
pub fn token(alg: &str, kid: &str, role: &str, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let encode = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let header = encode(json!({"alg": alg, "kid": kid}));
    let claims = encode(json!({"role": role, "iat": now().0, "exp": now().0 + 60}));
    let signed = format!("{header}.{claims}");
    let signature = URL_SAFE_NO_PAD.encode(sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}

/// The token of an admin of [`ed25519_admin`].
pub fn ed25519_token(name: &str, seed: u8, role: &str) -> String {
    let key = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
    token("EdDSA", name, role, |signed| key.sign(signed).as_ref().to_vec())
}

/// A request with an admin's bearer token.
pub fn admin(at: SocketAddr, method: &str, path: &str, token: &str, body: &[u8]) -> Reply {
    let headers = format!("a=b\r\nAuthorization: Bearer {token}");
    http(at, method, path, &headers, body)
}

/// A session of the sample TEE: its cookie.
pub fn sample_session(at: SocketAddr, key: &Value) -> String {
    let auth = br#"{"version":"0.4.0","tee":"sample","extra-params":""}"#;
    let reply = http(at, "POST", AUTH_PATH, "", auth);
    assert_eq!(reply.status, 200, "{}", reply.text());
    let (nonce, cookie) = (
        reply.json()["nonce"].as_str().unwrap().to_owned(),
        reply.cookie.unwrap(),
    );
    let runtime = RcarRuntime {
        additional_evidence: "",
        nonce: &nonce,
        tee_pubkey: key,
    };
    let report_data = STANDARD.encode(runtime.digest().unwrap().as_bytes());
    let body = json!({
        "runtime-data": {"nonce": nonce, "tee-pubkey": key},
        "tee-evidence": {
            "primary_evidence": {"svn": "1", "report_data": report_data}, "additional_evidence": "",
        },
    });
    let reply = http(at, "POST", ATTEST_PATH, &cookie, body.to_string().as_bytes());
    assert_eq!(reply.status, 200, "{}", reply.text());
    cookie
}

/// What a guest of the sample TEE with a key of its own gets: "ok", or the code.
pub fn sample_asks(at: SocketAddr, key: &str) -> String {
    let own = JwePrivateKey::generate_ec(Curve::P256).unwrap();
    let cookie = sample_session(at, &own.public_value().unwrap());
    let reply = http(at, "GET", &format!("/kbs/v0/resource/{key}"), &cookie, b"");
    match reply.status {
        200 => own.decrypt(&reply.body).map(|_| "ok".to_owned()).unwrap(),
        _ => reply.error().1,
    }
}
