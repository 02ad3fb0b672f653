//! The attestation token that RCAR's `attest` answers with: a JWT (ES256) with EAR-shaped claims.
//!
//! It is for clients that want to see one. This broker releases nothing against it: every key is decided from the
//! session's evidence.

use hanzo_attestation::UnixTime;
use hanzo_verifier::AttestationResult;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;

use crate::identity::Identity;

/// Makes the token, alive for `ttl_s` seconds.
pub(crate) fn token(
    identity: &Identity,
    result: &AttestationResult,
    now: UnixTime,
    ttl_s: u64,
) -> Result<String, jsonwebtoken::errors::Error> {
    // No release policy is applied before a key is asked for: `ear.status` 0 is "none" (AR4SI).
    let claims = json!({
        "eat_profile": "tag:hanzo.ai,2026:kbs",
        "exp": now.0.saturating_add(ttl_s),
        "iat": now.0,
        "iss": "hanzo-kbs",
        "ear.verifier-id": {"build": env!("CARGO_PKG_VERSION"), "developer": "hanzo"},
        "submods": {"cpu0": {
            "ear.status": 0,
            "hanzo.measurement": result.measurement(),
            "hanzo.simulated": result.simulated(),
            "hanzo.tier": result.tier().number(),
        }},
    });
    let key = EncodingKey::from_ec_der(&identity.token_pkcs8);
    jsonwebtoken::encode(&Header::new(Algorithm::ES256), &claims, &key)
}
