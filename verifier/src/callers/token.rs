//! Tokens of identity providers: JSON Web Tokens (RFC 7519) in compact JWS (RFC 7515), as OpenID Connect and OAuth 2.0 (RFC 9068)
//! issue them, read with the care that RFC 8725 asks for.
//!
//! The table pins issuers and their keys; a key decides its algorithm, and a token that names another is refused. Keys and
//! addresses of keys in a token are read by nobody. Whatever is wrong before the signature is verified, and a signature that
//! does not verify, is one error; what a genuine token lacks is told to its holder.
//!
//! # Establishes
//! [`Claims`]: an issuer of the table signed this for the audience that the table names, and it counts now.
//!
//! # Does not establish
//! Who showed it: a bearer token is whoever has it. That its issuer still stands by it: nobody is asked.

mod error;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hanzo_attestation::UnixTime;
use hanzo_attestation::foreign::json_without_duplicates;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{CallersError, Issuer};
use crate::callers::issuer::TEXT_MAX;
pub use error::TokenError;

/// Longest token that is looked at, in bytes.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;
/// Seconds by which an issuer's clock may be ahead of the guest's.
const SKEW_S: u64 = 60;
/// `typ` of tokens that say who asks; RFC 9068 has the second. Without `typ`, the claims decide.
const TYPES: [&str; 2] = ["jwt", "at+jwt"];

/// What a caller's tokens say and nobody else's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// Whose tokens: an issuer of the table.
    pub issuer: String,
    /// Which member: `sub`, or another of 1 to 256 bytes.
    pub name: String,
    /// The text that it is, or one of the list of texts that it is; 1 to 256 bytes.
    pub value: String,
}

impl Claim {
    pub(super) fn check(&self) -> Result<(), CallersError> {
        let fits = |text: &str| (1..=TEXT_MAX).contains(&text.len());
        match fits(&self.name) && fits(&self.value) {
            true => Ok(()),
            false => Err(CallersError::Value {
                field: "callers.credential.claim",
                expected: "a name and a value of 1 to 256 bytes each",
                got: format!("{} and {}", self.name.len(), self.value.len()),
            }),
        }
    }
}

/// What a verified token says.
///
/// ```compile_fail,E0451
/// # fn forge(issuer: String) -> hanzo_verifier::callers::Claims {
/// hanzo_verifier::callers::Claims { issuer, members: Default::default() }
/// # }
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Claims {
    issuer: String,
    members: Map<String, Value>,
}

impl Claims {
    /// Whether they say it. An address that its issuer has not verified is nobody's: `email` counts with `email_verified` alone.
    pub fn say(&self, claim: &Claim) -> bool {
        let wanted = |value: &Value| value.as_str() == Some(claim.value.as_str());
        let is_vouched = claim.name != "email" || self.members.get("email_verified") == Some(&Value::Bool(true));
        let said = match self.members.get(&claim.name) {
            Some(Value::Array(list)) => list.iter().any(wanted),
            Some(value) => wanted(value),
            None => false,
        };
        self.issuer == claim.issuer && is_vouched && said
    }
}

/// Whether a credential has the form of a token: three parts.
pub fn is_token(shown: &[u8]) -> bool {
    shown.iter().filter(|b| **b == b'.').count() == 2
}

/// Verifies a token.
///
/// # Errors
/// [`TokenError`].
pub fn verify_token(issuers: &[Issuer], token: &[u8], now: UnixTime) -> Result<Claims, TokenError> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(TokenError::NotAuthentic);
    }
    let mut parts = token.split(|b| *b == b'.');
    let (Some(header), Some(payload), Some(signature), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(TokenError::NotAuthentic);
    };
    let signed = token.get(..header.len() + 1 + payload.len());
    let signed = signed.ok_or(TokenError::NotAuthentic)?;
    let (header, members) = (object(header)?, object(payload)?);
    // The unverified claims choose which pinned key has to have signed them, and nothing else.
    let text = |members: &Map<String, Value>, name| members.get(name).and_then(Value::as_str).map(str::to_owned);
    let of = text(&members, "iss").ok_or(TokenError::NotAuthentic)?;
    let kid = text(&header, "kid").ok_or(TokenError::NotAuthentic)?;
    let issuer = issuers.iter().find(|one| one.issuer == of);
    let issuer = issuer.ok_or(TokenError::NotAuthentic)?;
    let key = issuer.keys.iter().find(|key| key.kid == kid);
    let key = key.ok_or(TokenError::NotAuthentic)?;
    // Members that change what is signed or have to be understood (RFC 7515 section 4.1.11, RFC 7797): none is known.
    let is_plain = !header.contains_key("crit") && !header.contains_key("b64");
    if text(&header, "alg").as_deref() != Some(key.jwk.algorithm()) || !is_plain {
        return Err(TokenError::NotAuthentic);
    }
    let signature = URL_SAFE_NO_PAD
        .decode(signature)
        .map_err(|_| TokenError::NotAuthentic)?;
    if !key.jwk.verifies(signed, &signature) {
        return Err(TokenError::NotAuthentic);
    }
    check_kind(&header, &members)?;
    issuer.check_claims(&members, now)?;
    Ok(Claims { issuer: of, members })
}

/// A part of a token: an object without repeated members.
fn object(part: &[u8]) -> Result<Map<String, Value>, TokenError> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::NotAuthentic)?;
    match json_without_duplicates(&bytes) {
        Ok(Value::Object(members)) => Ok(members),
        _ => Err(TokenError::NotAuthentic),
    }
}

/// Refuses what issuers sign for something else under the same keys (RFC 8725 section 2.8): logout tokens and other security
/// events (RFC 8417), and tokens that only the holder of a further key may use (RFC 7800).
fn check_kind(header: &Map<String, Value>, members: &Map<String, Value>) -> Result<(), TokenError> {
    let is_known = match header.get("typ") {
        None => true,
        Some(Value::String(typ)) => {
            let typ = typ.to_ascii_lowercase();
            TYPES.contains(&typ.strip_prefix("application/").unwrap_or(&typ))
        }
        Some(_) => false,
    };
    match is_known && !members.contains_key("events") {
        false => Err(TokenError::Kind),
        true if members.contains_key("cnf") => Err(TokenError::Bound),
        true => Ok(()),
    }
}

impl Issuer {
    fn check_claims(&self, members: &Map<String, Value>, now: UnixTime) -> Result<(), TokenError> {
        let ours = |value: &Value| value.as_str() == Some(self.audience.as_str());
        let is_for_us = match members.get("aud") {
            Some(Value::Array(list)) => list.iter().any(ours),
            Some(value) => ours(value),
            None => false,
        };
        if !is_for_us {
            return Err(TokenError::Audience {
                expected: self.audience.clone(),
            });
        }
        // Whole seconds, as issuers write them.
        let time = |name: &'static str| match members.get(name).map(Value::as_u64) {
            None => Ok(None),
            Some(Some(at)) => Ok(Some(at)),
            Some(None) => Err(TokenError::Time { name }),
        };
        let exp = time("exp")?.ok_or(TokenError::Time { name: "exp" })?;
        if now.0 >= exp {
            return Err(TokenError::Over { exp, now: now.0 });
        }
        if exp - now.0 > self.ttl_s_max {
            return Err(TokenError::TooLong {
                expected: self.ttl_s_max,
                got: exp - now.0,
            });
        }
        for name in ["nbf", "iat"] {
            if let Some(at) = time(name)?.filter(|at| *at > now.0.saturating_add(SKEW_S)) {
                return Err(TokenError::Early { name, at, now: now.0 });
            }
        }
        Ok(())
    }
}
