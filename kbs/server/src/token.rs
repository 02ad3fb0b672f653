//! The attestation token that RCAR's `attest` answers with: an EAR as JWT (ES256), and who asks with one.
//!
//! # Layout
//! [`EarClaims`] with, besides, `cnf.jwk` and `submods.cpu0."ear.veraison.annotated-evidence".runtime_data_claims` (nonce and
//! `tee-pubkey`, where CoCo's clients look for them) and `jti`, the session. Header: `alg`, `kid` (RFC 7638 thumbprint), `typ`.
//!
//! A token opens nothing by itself: it names a session, as the cookie does, ends with it at the latest, and every secret is
//! decided from that session's evidence and wrapped to that session's key. It counts only under this broker's own key;
//! what its header says about keys is never looked at.

use std::sync::Arc;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hanzo_attestation::{Digest256, UnixTime};
use hanzo_kbs_protocol::AttestBody;
use hanzo_verifier::AttestationResult;
use hanzo_verifier::ear::{EAR_PROFILE, EarClaims, EarIssuer};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::KbsError;
use crate::identity::Identity;
use crate::live::Live;

const ISSUER: &str = "hanzo-kbs";
/// Longest token that is looked at, in bytes.
const TOKEN_BYTES_MAX: usize = 64 * 1024;

/// What attesting proved.
pub(crate) enum Proven {
    /// Signed evidence.
    Signed {
        /// What it is worth.
        result: Arc<AttestationResult>,
        /// The roots and the collateral that say so.
        under: Arc<Live>,
    },
    /// The sample TEE: nothing.
    Sample,
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenError {
    #[error("token: {0}")]
    Json(#[from] serde_json::Error),
    #[error("token: ES256 signing failed")]
    Sign,
}

/// What a token of this broker says.
#[derive(Debug, Deserialize)]
pub(crate) struct Claims {
    /// The session's cookie.
    pub(crate) jti: String,
    pub(crate) cnf: Confirmation,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Confirmation {
    /// The session's `tee-pubkey`.
    pub(crate) jwk: Value,
}

/// The key that signs tokens and nothing else.
pub(crate) struct TokenKey {
    pair: EcdsaKeyPair,
    decoding: DecodingKey,
    jwk: Value,
    /// Encoded; the same for every token.
    header: String,
}

impl TokenKey {
    pub(crate) fn of(identity: &Identity) -> Result<Self, KbsError> {
        let stored = || KbsError::Stored { what: "token key" };
        let pair =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &identity.token_pkcs8).map_err(|_| stored())?;
        let point = pair.public_key().as_ref().strip_prefix(&[4]).ok_or_else(stored)?;
        let (x, y) = point.split_at_checked(32).ok_or_else(stored)?;
        let [x, y] = [x, y].map(|coordinate| URL_SAFE_NO_PAD.encode(coordinate));
        let thumbprint = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        let kid = URL_SAFE_NO_PAD.encode(Digest256::of(thumbprint.as_bytes()).as_bytes());
        let header = format!(r#"{{"typ":"JWT","alg":"ES256","kid":"{kid}"}}"#);
        Ok(Self {
            header: URL_SAFE_NO_PAD.encode(header),
            decoding: DecodingKey::from_ec_components(&x, &y).map_err(|_| stored())?,
            jwk: json!({"alg": "ES256", "crv": "P-256", "kid": kid, "kty": "EC", "use": "sig", "x": x, "y": y}),
            pair,
        })
    }

    /// The key set that verifiers of tokens fetch.
    pub(crate) fn jwks(&self) -> Value {
        json!({"keys": [self.jwk]})
    }

    /// A token for the session whose cookie is `session`, to its end at most.
    pub(crate) fn issue(
        &self,
        proven: &Proven,
        body: &AttestBody,
        session: &str,
        now: UnixTime,
        ends_at: UnixTime,
    ) -> Result<String, TokenError> {
        let mut claims = claims(proven, now, ends_at);
        let runtime = json!({"nonce": body.nonce, "tee-pubkey": body.tee_pubkey});
        let evidence = claims.pointer_mut("/submods/cpu0/ear.veraison.annotated-evidence");
        if let Some(Value::Object(evidence)) = evidence {
            evidence.insert("runtime_data_claims".into(), runtime);
        }
        if let Value::Object(claims) = &mut claims {
            let end = claims.get("exp").and_then(Value::as_u64).unwrap_or(0).min(ends_at.0);
            claims.insert("exp".into(), end.into());
            claims.insert("nbf".into(), now.0.into());
            claims.insert("jti".into(), session.into());
            claims.insert("cnf".into(), json!({"jwk": body.tee_pubkey}));
        }
        let payload = serde_json::to_vec(&claims)?;
        let mut token = String::with_capacity(self.header.len() + payload.len() / 3 * 4 + 96);
        token.push_str(&self.header);
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(&payload, &mut token);
        let signature = self.pair.sign(&SystemRandom::new(), token.as_bytes());
        let signature = signature.map_err(|_| TokenError::Sign)?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature.as_ref(), &mut token);
        Ok(token)
    }

    /// Reads a token of this broker's own that is not past its end.
    pub(crate) fn read(&self, token: &str) -> Option<Claims> {
        if token.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let mut validation = Validation::new(Algorithm::ES256);
        validation.leeway = 0;
        validation.validate_nbf = true;
        validation.set_issuer(&[ISSUER]);
        validation.set_required_spec_claims(&["exp", "iss"]);
        let token = jsonwebtoken::decode::<Claims>(token, &self.decoding, &validation);
        token.ok().map(|token| token.claims)
    }
}

fn claims(proven: &Proven, now: UnixTime, ends_at: UnixTime) -> Value {
    let issuer = EarIssuer {
        issuer: ISSUER.into(),
        developer: "hanzo".into(),
        build: env!("CARGO_PKG_VERSION").into(),
    };
    let ttl_s = ends_at.0.saturating_sub(now.0);
    match proven {
        Proven::Signed { result, .. } => {
            serde_json::to_value(EarClaims::of(result, &issuer, None, ttl_s, now)).unwrap_or_default()
        }
        // Hardware that nobody recognises, executables that nobody compared: contraindicated (AR4SI).
        Proven::Sample => json!({
            "eat_profile": EAR_PROFILE,
            "exp": ends_at.0,
            "iat": now.0,
            "iss": issuer.issuer,
            "ear.verifier-id": {"build": issuer.build, "developer": issuer.developer},
            "submods": {"cpu0": {
                "ear.status": "contraindicated",
                "ear.trustworthiness-vector": {
                    "configuration": 36, "executables": 33, "hardware": 97, "runtime-opaque": 96,
                },
                "ear.veraison.annotated-evidence": {"kind": "sample", "sample": {}, "simulated": true, "tier": 0},
            }},
        }),
    }
}
