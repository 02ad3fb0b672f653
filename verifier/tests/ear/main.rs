//! EAR tokens: ours for others, others' for us, and CoRIM files. Every key here is a test key.

mod corim;
mod ours;
mod published;
mod token;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hanzo_attestation::UnixTime;
use hanzo_verifier::ear::{ForeignEar, TrustedKey, TrustedKeys, verify_ear};
use serde_json::{Value, json};

const NOW: UnixTime = UnixTime(1_760_426_200);

fn b64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A key pair with its JWK.
struct Signer {
    pair: EcdsaKeyPair,
    alg: &'static str,
}

impl Signer {
    fn p256() -> Self {
        Self {
            pair: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
            alg: "ES256",
        }
    }

    fn p384() -> Self {
        Self {
            pair: EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap(),
            alg: "ES384",
        }
    }

    fn jwk(&self) -> Value {
        let point = self.pair.public_key().as_ref();
        let (x, y) = point[1..].split_at((point.len() - 1) / 2);
        let crv = if self.alg == "ES256" { "P-256" } else { "P-384" };
        json!({"kty": "EC", "crv": crv, "x": b64(x), "y": b64(y)})
    }

    fn key(&self) -> TrustedKey {
        TrustedKey::from_jwk(self.jwk().to_string().as_bytes()).unwrap()
    }

    fn trusted(&self) -> TrustedKeys {
        TrustedKeys::none(3600).with_key(self.key())
    }

    fn sign(&self, bytes: &[u8]) -> Vec<u8> {
        self.pair.sign(&SystemRandom::new(), bytes).unwrap().as_ref().to_vec()
    }

    /// A token with this header and these claims, signed by this key whatever the header says.
    fn token_with(&self, header: &Value, claims: &str) -> Vec<u8> {
        let signed = format!("{}.{}", b64(header.to_string().as_bytes()), b64(claims.as_bytes()));
        let signature = self.sign(signed.as_bytes());
        format!("{signed}.{}", b64(&signature)).into_bytes()
    }

    fn token(&self, claims: &Value) -> Vec<u8> {
        self.token_with(&json!({"alg": self.alg, "typ": "JWT"}), &claims.to_string())
    }
}

fn claims() -> Value {
    json!({
        "eat_profile": "tag:github.com,2024:confidential-containers/Trustee",
        "iat": NOW.0 - 66, "exp": NOW.0 + 234,
        "ear.verifier-id": {"developer": "https://confidentialcontainers.org", "build": "attestation-service 0.1.0"},
        "submods": {"cpu0": {
            "ear.status": "affirming",
            "ear.trustworthiness-vector": {"hardware": 2, "executables": 3, "configuration": 2},
            "ear.appraisal-policy-id": "default_cpu",
        }},
    })
}

fn code<T>(outcome: Result<T, hanzo_verifier::ear::EarError>) -> &'static str {
    outcome.map_or_else(|e| e.code(), |_| "accepted")
}

fn verify(token: &[u8], trusted: &TrustedKeys) -> Result<ForeignEar, hanzo_verifier::ear::EarError> {
    verify_ear(token, trusted, NOW)
}
