//! Bearer tokens of admins.
#![allow(dead_code, reason = "each test file uses a part")]

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hanzo_attestation::name::Name;
use hanzo_kbs::{CocoAdmin, CocoAlgorithm, CocoRole};

/// An admin whose key is made of one number.
pub fn admin(name: &str, seed: u8, role: CocoRole) -> CocoAdmin {
    let key = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
    CocoAdmin {
        name: Name::new(name).unwrap(),
        role,
        tenant: None,
        algorithm: CocoAlgorithm::EdDSA,
        public_key: hex::encode(key.public_key()),
    }
}

/// Its token for the next minute.
pub fn token(name: &str, seed: u8, role: &str, now: u64) -> String {
    let part = |json: serde_json::Value| URL_SAFE_NO_PAD.encode(json.to_string());
    let header = part(serde_json::json!({ "alg": "EdDSA", "kid": name, "typ": "JWT" }));
    let claims = part(serde_json::json!({ "exp": now + 60, "iat": now, "role": role }));
    let signed = format!("{header}.{claims}");
    let key = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
    let signature = URL_SAFE_NO_PAD.encode(key.sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}
