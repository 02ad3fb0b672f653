//! Identity providers (OpenID Connect) whose tokens count, with their public keys. Nothing of them is fetched: who signs the table
//! pins them, and signs another table when they change theirs.

use std::collections::BTreeSet;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::CallersError;

/// Most issuers of one table, and most keys of one issuer.
const ISSUERS_MAX: usize = 16;
const KEYS_MAX: usize = 16;
/// Longest text of an issuer, an audience, a key's name or a claim, in bytes.
pub(super) const TEXT_MAX: usize = 256;
/// RSA moduli in bytes: 2,048 to 8,192 bits.
const MODULUS_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;
/// Longest public exponent in bytes.
const EXPONENT_BYTES_MAX: usize = 4;

/// An identity provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Issuer {
    /// The `aud` that its tokens have to name: 1 to 256 characters.
    pub audience: String,
    /// The `iss` of its tokens, compared whole: 1 to 256 characters.
    pub issuer: String,
    /// Its public keys, ascending by `kid`, each once: 1 to 16.
    pub keys: Vec<IssuerKey>,
    /// How long a token may still count when it is shown, in seconds: 60 to 86,400. Whom the provider locks out stays in for as long.
    pub ttl_s_max: u64,
}

/// A public key of an issuer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssuerKey {
    /// The key, which decides the algorithm.
    pub jwk: Jwk,
    /// Its name in the header of tokens: 1 to 256 characters.
    pub kid: String,
}

/// The members of a JSON Web Key that are the key (RFC 7638 section 3.2), base64url without padding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kty", deny_unknown_fields)]
pub enum Jwk {
    /// Edwards curves (RFC 8037): algorithm EdDSA.
    #[serde(rename = "OKP")]
    Okp {
        /// Which.
        crv: OkpCurve,
        /// The public key, 32 bytes.
        x: String,
    },
    /// NIST's curves (RFC 7518 section 6.2): algorithm ES256.
    #[serde(rename = "EC")]
    Ec {
        /// Which.
        crv: EcCurve,
        /// 32 bytes.
        x: String,
        /// 32 bytes.
        y: String,
    },
    /// RSA (RFC 7518 section 6.3), 2,048 to 8,192 bits: algorithm RS256.
    #[serde(rename = "RSA")]
    Rsa {
        /// At most 4 bytes, big-endian.
        e: String,
        /// 256 to 1,024 bytes, big-endian, no leading zero.
        n: String,
    },
}

/// Curve of [`Jwk::Okp`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum OkpCurve {
    /// RFC 8032.
    Ed25519,
}

/// Curve of [`Jwk::Ec`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum EcCurve {
    /// FIPS 186.
    #[serde(rename = "P-256")]
    P256,
}

fn bytes(text: &str, length: std::ops::RangeInclusive<usize>) -> Option<Vec<u8>> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    length.contains(&bytes.len()).then_some(bytes)
}

impl Jwk {
    /// The word in `alg` of tokens that this key signed (RFC 7518, RFC 8037). There is no other for it.
    pub fn algorithm(&self) -> &'static str {
        match self {
            Self::Okp { .. } => "EdDSA",
            Self::Ec { .. } => "ES256",
            Self::Rsa { .. } => "RS256",
        }
    }

    fn is_well_formed(&self) -> bool {
        match self {
            Self::Okp { x, .. } => bytes(x, 32..=32).is_some(),
            Self::Ec { x, y, .. } => bytes(x, 32..=32).is_some() && bytes(y, 32..=32).is_some(),
            Self::Rsa { e, n } => {
                let odd = |number: &[u8]| {
                    number.first().is_some_and(|b| *b != 0) && number.last().is_some_and(|b| b & 1 == 1)
                };
                let big = bytes(n, MODULUS_BYTES).is_some_and(|n| odd(&n) && n.first().is_some_and(|b| *b >= 0x80));
                big && bytes(e, 1..=EXPONENT_BYTES_MAX).is_some_and(|e| odd(&e) && e != [1])
            }
        }
    }

    /// Whether this key signed `message`, by its own algorithm.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Okp { x, .. } => bytes(x, 32..=32).is_some_and(|key| {
                let key = UnparsedPublicKey::new(&ED25519, key);
                key.verify(message, signature).is_ok()
            }),
            Self::Ec { x, y, .. } => {
                let (Some(x), Some(y)) = (bytes(x, 32..=32), bytes(y, 32..=32)) else {
                    return false;
                };
                let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, [&[4][..], &x, &y].concat());
                key.verify(message, signature).is_ok()
            }
            Self::Rsa { e, n } => {
                let (Some(e), Some(n)) = (bytes(e, 1..=EXPONENT_BYTES_MAX), bytes(n, MODULUS_BYTES)) else {
                    return false;
                };
                let key = RsaPublicKeyComponents { n, e };
                key.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature).is_ok()
            }
        }
    }
}

impl Issuer {
    /// Takes the keys for signatures out of a provider's JWK set (RFC 7517), as it publishes it. Keys of other kinds or uses are
    /// left out; certificates and whatever else stands beside a key are not kept.
    ///
    /// # Errors
    /// [`CallersError::KeySet`], also if no key is left.
    pub fn keys_of(jwks: &[u8]) -> Result<Vec<IssuerKey>, CallersError> {
        let wrong = |what| CallersError::KeySet { what };
        let set = hanzo_attestation::foreign::json_without_duplicates(jwks);
        let set = set.map_err(|_| wrong("expected JSON without repeated members"))?;
        let list = set.get("keys").and_then(Value::as_array);
        let mut keys = Vec::new();
        for one in list.ok_or(wrong("expected a member `keys`, a list"))? {
            let text = |name: &str| one.get(name).and_then(Value::as_str);
            if ["d", "p", "q", "k"].iter().any(|name| one.get(*name).is_some()) {
                return Err(wrong("expected public keys, got a private one: give it to nobody"));
            }
            let own = |names: &[&str]| {
                let members = names
                    .iter()
                    .filter_map(|name| Some(((*name).to_owned(), one.get(*name)?.clone())));
                serde_json::from_value::<Jwk>(Value::Object(members.collect())).ok()
            };
            let jwk = match text("kty") {
                Some("OKP") => own(&["kty", "crv", "x"]),
                Some("EC") => own(&["kty", "crv", "x", "y"]),
                Some("RSA") => own(&["kty", "e", "n"]),
                _ => None,
            };
            let Some(jwk) = jwk.filter(Jwk::is_well_formed) else {
                continue;
            };
            let signs = text("use").is_none_or(|u| u == "sig");
            if !signs || text("alg").is_some_and(|alg| alg != jwk.algorithm()) {
                continue;
            }
            let kid = text("kid").ok_or(wrong("expected a `kid` of every key: tokens name their key by it"))?;
            keys.push(IssuerKey {
                jwk,
                kid: kid.to_owned(),
            });
        }
        if keys.is_empty() {
            return Err(wrong(
                "expected a key for signatures: Ed25519 (EdDSA), P-256 (ES256) or RSA of 2048 bits or more (RS256)",
            ));
        }
        keys.sort_by(|a, b| a.kid.cmp(&b.kid));
        Ok(keys)
    }

    fn check(&self) -> Result<(), CallersError> {
        let value = |ok: bool, field, expected, got: String| match ok {
            true => Ok(()),
            false => Err(CallersError::Value { field, expected, got }),
        };
        let text = |text: &str| (1..=TEXT_MAX).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        let visible = "1 to 256 visible ASCII characters";
        value(text(&self.audience), "issuers.audience", visible, "another text".into())?;
        value(text(&self.issuer), "issuers.issuer", visible, "another text".into())?;
        value(
            (60..=86_400).contains(&self.ttl_s_max),
            "issuers.ttl_s_max",
            "60 to 86400",
            self.ttl_s_max.to_string(),
        )?;
        value(
            (1..=KEYS_MAX).contains(&self.keys.len()) && self.keys.is_sorted_by(|a, b| a.kid < b.kid),
            "issuers.keys",
            "1 to 16, ascending by kid, each once",
            format!("{}, or another order", self.keys.len()),
        )?;
        for key in &self.keys {
            value(text(&key.kid), "issuers.keys.kid", visible, "another text".into())?;
            value(
                key.jwk.is_well_formed(),
                "issuers.keys.jwk",
                "an Ed25519 or P-256 key, or RSA of 2048 to 8192 bits",
                "another key".into(),
            )?;
        }
        Ok(())
    }
}

/// Checks all issuers of a table, and that claims name one of them.
pub(super) fn check<'a>(issuers: &[Issuer], named: impl Iterator<Item = &'a str>) -> Result<(), CallersError> {
    let wrong = |field, expected, got: String| Err(CallersError::Value { field, expected, got });
    if issuers.len() > ISSUERS_MAX || !issuers.is_sorted_by(|a, b| a.issuer < b.issuer) {
        let got = format!("{}, or another order", issuers.len());
        return wrong("issuers", "at most 16, ascending by issuer, each once", got);
    }
    issuers.iter().try_for_each(Issuer::check)?;
    let known: BTreeSet<&str> = issuers.iter().map(|one| one.issuer.as_str()).collect();
    for name in named {
        if !known.contains(name) {
            let expected = "an issuer of the table";
            return wrong("callers.credential.claim.issuer", expected, "another".into());
        }
    }
    Ok(())
}
