//! A foreign EAR: configured keys, the caller's clock, strict claims.

use std::collections::BTreeMap;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hanzo_attestation::UnixTime;
use hanzo_attestation::foreign::json_without_duplicates;
use hanzo_pqc::dsa::{MlDsa65, VerifyingKey};
use serde::Deserialize;
use serde_json::Value;

use super::jws::Parts;
use super::{EAR_PROFILE, EarAlgorithm, EarError, TRUSTEE_PROFILE, TrustTier, TrustVector};

/// Seconds by which the issuer's clock may be ahead.
const SKEW_S: u64 = 60;
/// Most submodules of one token: 32 devices, the CPU, and their groups.
const SUBMODS_MAX: usize = 64;

/// SubjectPublicKeyInfo of a key on P-256 and on P-384, up to the point (RFC 5480).
const SPKI_P256: &[u8] =
    b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00";
const SPKI_P384: &[u8] =
    b"\x30\x76\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x22\x03\x62\x00";

/// A verifier's key, from the caller's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedKey {
    algorithm: EarAlgorithm,
    /// An uncompressed point, or an ML-DSA-65 public key.
    key: Vec<u8>,
}

impl TrustedKey {
    /// An EC key on P-256 or P-384: SubjectPublicKeyInfo, DER. The curve decides the algorithm.
    ///
    /// # Errors
    /// [`EarError::Key`].
    pub fn from_spki(der: &[u8]) -> Result<Self, EarError> {
        for (prefix, algorithm, length) in [
            (SPKI_P256, EarAlgorithm::Es256, 65),
            (SPKI_P384, EarAlgorithm::Es384, 97),
        ] {
            if let Some(point @ [4, ..]) = der.strip_prefix(prefix)
                && point.len() == length
            {
                return Ok(Self {
                    algorithm,
                    key: point.to_vec(),
                });
            }
        }
        Err(EarError::Key(
            "expected SubjectPublicKeyInfo of a P-256 or P-384 key, uncompressed",
        ))
    }

    /// The same in PEM.
    ///
    /// # Errors
    /// [`EarError::Key`].
    pub fn from_pem(pem: &str) -> Result<Self, EarError> {
        let body: String = pem
            .trim()
            .strip_prefix("-----BEGIN PUBLIC KEY-----")
            .and_then(|rest| rest.strip_suffix("-----END PUBLIC KEY-----"))
            .ok_or(EarError::Key("expected one PUBLIC KEY in PEM"))?
            .split_ascii_whitespace()
            .collect();
        let der = STANDARD
            .decode(body)
            .map_err(|_| EarError::Key("expected base64 in PEM"))?;
        Self::from_spki(&der)
    }

    /// A public JWK: `kty` EC with `crv` P-256 or P-384. One with a private part is refused: it is nobody's to configure.
    ///
    /// # Errors
    /// [`EarError::Key`].
    pub fn from_jwk(json: &[u8]) -> Result<Self, EarError> {
        #[derive(Deserialize)]
        struct Jwk {
            kty: String,
            crv: String,
            x: String,
            y: String,
            alg: Option<String>,
            d: Option<Value>,
        }
        let value = json_without_duplicates(json).map_err(|_| EarError::Key("expected a JWK in JSON"))?;
        let jwk: Jwk =
            serde_json::from_value(value).map_err(|_| EarError::Key("expected kty, crv, x and y of an EC key"))?;
        if jwk.d.is_some() {
            return Err(EarError::Key("expected a public key, got a private one"));
        }
        let (algorithm, length) = match (jwk.kty.as_str(), jwk.crv.as_str()) {
            ("EC", "P-256") => (EarAlgorithm::Es256, 32),
            ("EC", "P-384") => (EarAlgorithm::Es384, 48),
            _ => return Err(EarError::Key("expected kty EC with crv P-256 or P-384")),
        };
        if jwk.alg.is_some_and(|alg| alg != algorithm.name()) {
            return Err(EarError::Key("expected alg to be the curve's"));
        }
        let mut key = vec![4];
        for coordinate in [jwk.x, jwk.y] {
            let bytes = URL_SAFE_NO_PAD
                .decode(coordinate)
                .ok()
                .filter(|bytes| bytes.len() == length)
                .ok_or(EarError::Key("expected coordinates of the curve's length in base64url"))?;
            key.extend(bytes);
        }
        Ok(Self { algorithm, key })
    }

    /// An ML-DSA-65 public key, 1952 bytes.
    ///
    /// # Errors
    /// [`EarError::Key`].
    pub fn ml_dsa_65(key: &[u8]) -> Result<Self, EarError> {
        VerifyingKey::<MlDsa65>::from_bytes(key)
            .map_err(|_| EarError::Key("expected an ML-DSA-65 public key of 1952 bytes"))?;
        Ok(Self {
            algorithm: EarAlgorithm::MlDsa65,
            key: key.to_vec(),
        })
    }

    /// What it is for.
    pub fn algorithm(&self) -> EarAlgorithm {
        self.algorithm
    }

    fn signed(&self, parts: &Parts) -> bool {
        match self.algorithm {
            EarAlgorithm::Es256 => UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &self.key)
                .verify(&parts.signed, &parts.signature)
                .is_ok(),
            EarAlgorithm::Es384 => UnparsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, &self.key)
                .verify(&parts.signed, &parts.signature)
                .is_ok(),
            EarAlgorithm::MlDsa65 => VerifyingKey::<MlDsa65>::from_bytes(&self.key)
                .is_ok_and(|key| key.verify(&parts.signed, &parts.signature).is_ok()),
        }
    }
}

/// Which tokens count: keys, profiles, issuer, audience and age, all from the caller's configuration.
#[derive(Debug, Clone)]
pub struct TrustedKeys {
    keys: Vec<TrustedKey>,
    profiles: Vec<String>,
    issuer: Option<String>,
    audience: Option<String>,
    max_age_s: u64,
}

impl TrustedKeys {
    /// No keys: nothing counts. The profiles are EAR's and Trustee's; a token counts for at most `max_age_s` seconds.
    pub fn none(max_age_s: u64) -> Self {
        Self {
            keys: Vec::new(),
            profiles: vec![EAR_PROFILE.to_owned(), TRUSTEE_PROFILE.to_owned()],
            issuer: None,
            audience: None,
            max_age_s,
        }
    }

    /// Besides, this key.
    pub fn with_key(mut self, key: TrustedKey) -> Self {
        self.keys.push(key);
        self
    }

    /// These profiles and no others.
    pub fn with_profiles(mut self, profiles: Vec<String>) -> Self {
        self.profiles = profiles;
        self
    }

    /// Tokens must say that this issuer made them.
    pub fn with_issuer(mut self, issuer: String) -> Self {
        self.issuer = Some(issuer);
        self
    }

    /// Who the caller is: tokens for others are refused. Without it, every token that names an audience is.
    pub fn with_audience(mut self, audience: String) -> Self {
        self.audience = Some(audience);
        self
    }
}

/// Another verifier's result, its signature, times and inner consistency checked. It is an opinion and no verdict:
/// ```compile_fail,E0277
/// use hanzo_verifier::AttestationResult;
/// use hanzo_verifier::ear::ForeignEar;
/// fn trust(ear: ForeignEar) -> AttestationResult {
///     ear.into()
/// }
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct ForeignEar {
    profile: String,
    issuer: Option<String>,
    verifier: Option<(String, String)>,
    issued_at: UnixTime,
    valid_until: UnixTime,
    nonce: Option<Vec<String>>,
    submods: BTreeMap<String, ForeignSubmod>,
}

/// One part of the attester.
#[derive(Debug, Clone, PartialEq)]
pub struct ForeignSubmod {
    /// As stated; never better than its vector.
    pub status: TrustTier,
    /// The vector, if there is one.
    pub vector: Option<TrustVector>,
    /// Which policy the verifier used.
    pub policy_id: Option<String>,
    /// What the verifier says that the evidence says.
    pub annotated_evidence: Option<Value>,
}

impl ForeignEar {
    /// The worst status of all submodules; [`TrustTier::None`] if there are none.
    pub fn status(&self) -> TrustTier {
        self.submods.values().map(|s| s.status).max().unwrap_or(TrustTier::None)
    }

    /// The submodules, e.g. `cpu0`, `gpu0`.
    pub fn submods(&self) -> &BTreeMap<String, ForeignSubmod> {
        &self.submods
    }

    /// The profile.
    pub fn profile(&self) -> &str {
        &self.profile
    }

    /// `iss`.
    pub fn issuer(&self) -> Option<&str> {
        self.issuer.as_deref()
    }

    /// Developer and build of the verifier.
    pub fn verifier(&self) -> Option<(&str, &str)> {
        self.verifier.as_ref().map(|(d, b)| (d.as_str(), b.as_str()))
    }

    /// `iat`.
    pub fn issued_at(&self) -> UnixTime {
        self.issued_at
    }

    /// Last second at which it counts: `exp`, or the configured age if that ends sooner.
    pub fn valid_until(&self) -> UnixTime {
        self.valid_until
    }

    /// `eat_nonce`: the caller compares it with its own.
    pub fn nonces(&self) -> &[String] {
        self.nonce.as_deref().unwrap_or_default()
    }
}

#[derive(Deserialize)]
struct Claims {
    eat_profile: String,
    iat: u64,
    exp: Option<u64>,
    nbf: Option<u64>,
    iss: Option<String>,
    aud: Option<OneOrMany>,
    eat_nonce: Option<OneOrMany>,
    #[serde(rename = "ear.verifier-id")]
    verifier: Option<VerifierId>,
    submods: BTreeMap<String, Submod>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    fn into_vec(self) -> Vec<String> {
        match self {
            Self::One(one) => vec![one],
            Self::Many(many) => many,
        }
    }
}

#[derive(Deserialize)]
struct VerifierId {
    developer: String,
    build: String,
}

#[derive(Deserialize)]
struct Submod {
    #[serde(rename = "ear.status")]
    status: TrustTier,
    #[serde(rename = "ear.trustworthiness-vector")]
    vector: Option<TrustVector>,
    #[serde(rename = "ear.appraisal-policy-id")]
    policy_id: Option<String>,
    #[serde(rename = "ear.veraison.annotated-evidence")]
    annotated_evidence: Option<Value>,
}

/// Verifies a foreign EAR.
///
/// # Establishes
/// A configured key signed these claims; they are of a listed profile, count at `now`, are for the caller, and no submodule
/// says better of itself than its vector.
///
/// # Does not establish
/// Anything about the attester beyond the issuer's word. That the token answers the caller's nonce: compare
/// [`ForeignEar::nonces`] or the annotated evidence.
///
/// # Errors
/// [`EarError`].
pub fn verify_ear(token: &[u8], trusted: &TrustedKeys, now: UnixTime) -> Result<ForeignEar, EarError> {
    let parts = Parts::parse(token)?;
    let mut keys = trusted
        .keys
        .iter()
        .filter(|k| k.algorithm == parts.algorithm)
        .peekable();
    if keys.peek().is_none() {
        return Err(EarError::NoKey {
            alg: parts.algorithm.name(),
        });
    }
    if !keys.any(|key| key.signed(&parts)) {
        return Err(EarError::Signature);
    }
    let shape = |detail: String| EarError::Shape { part: "claims", detail };
    let value = json_without_duplicates(&parts.payload).map_err(shape)?;
    let claims: Claims = serde_json::from_value(value).map_err(|e| shape(plain(&e)))?;
    if !trusted.profiles.contains(&claims.eat_profile) {
        return Err(EarError::Profile);
    }
    if trusted.issuer.is_some() && trusted.issuer != claims.iss {
        return Err(EarError::Issuer);
    }
    if let Some(named) = claims.aud
        && !trusted
            .audience
            .as_ref()
            .is_some_and(|us| named.into_vec().contains(us))
    {
        return Err(EarError::Audience);
    }
    let valid_until = times(trusted, claims.iat, claims.nbf, claims.exp, now)?;
    if claims.submods.is_empty() || claims.submods.len() > SUBMODS_MAX {
        return Err(shape("submods: expected 1 to 64 members".into()));
    }
    Ok(ForeignEar {
        profile: claims.eat_profile,
        issuer: claims.iss,
        verifier: claims.verifier.map(|v| (v.developer, v.build)),
        issued_at: UnixTime(claims.iat),
        valid_until,
        nonce: claims.eat_nonce.map(OneOrMany::into_vec),
        submods: claims
            .submods
            .into_iter()
            .map(|(name, submod)| Ok((name.clone(), consistent(&name, submod)?)))
            .collect::<Result<_, EarError>>()?,
    })
}

/// serde's messages may quote input: the member's kind stays, the value goes.
fn plain(e: &serde_json::Error) -> String {
    let text = e.to_string();
    match text.split_once('`') {
        Some(("missing field ", rest)) => format!("missing field {}", rest.trim_end_matches('`')),
        _ => "a member of another type than EAR's".to_owned(),
    }
}

fn times(
    trusted: &TrustedKeys,
    iat: u64,
    nbf: Option<u64>,
    exp: Option<u64>,
    now: UnixTime,
) -> Result<UnixTime, EarError> {
    let from = nbf.unwrap_or(iat).max(iat);
    if from > now.0.saturating_add(SKEW_S) {
        return Err(EarError::NotYetValid { from, now: now.0 });
    }
    let aged = iat.saturating_add(trusted.max_age_s);
    let until = exp.map_or(aged, |exp| exp.min(aged));
    if now.0 > until {
        return Err(EarError::Expired { until, now: now.0 });
    }
    Ok(UnixTime(until))
}

fn consistent(name: &str, submod: Submod) -> Result<ForeignSubmod, EarError> {
    if let Some(vector) = submod.vector
        && submod.status < vector.status()
    {
        let plain = name.len() <= 64
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
        return Err(EarError::Status {
            submod: if plain { name } else { "?" }.to_owned(),
        });
    }
    Ok(ForeignSubmod {
        status: submod.status,
        vector: submod.vector,
        policy_id: submod.policy_id,
        annotated_evidence: submod.annotated_evidence,
    })
}
