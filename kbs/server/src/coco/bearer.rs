//! Bearer tokens of admins: JWT under a key that the configuration pins. Anything else is nobody.

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hanzo_attestation::foreign::json_without_duplicates;
use hanzo_attestation::name::Name;
use hanzo_attestation::{Digest384, UnixTime};
use hanzo_pqc::dsa::{MlDsa65, VerifyingKey};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{CocoAdmin, CocoAlgorithm, CocoRole};

/// Longest token in bytes.
const TOKEN_BYTES_MAX: usize = 16 * 1024;
/// Longest life of a token in seconds.
const LIFETIME_S_MAX: u64 = 24 * 3600;
/// How far an admin's clock may be ahead.
const SKEW_S: u64 = 60;

/// An admin who proved it, for one request.
#[derive(Debug)]
pub(crate) struct Admin<'a> {
    pub(crate) pinned: &'a CocoAdmin,
    /// SHA-384 of the public key: the audit's `party`.
    pub(crate) party: Digest384,
}

/// Why a token is nobody's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BearerRefusal {
    #[error("Authorization: expected one bearer token of a pinned admin key")]
    Missing,
    #[error("bearer token: expected a compact JWS with alg, kid, and claims exp, iat and role")]
    Malformed,
    #[error("bearer token: alg: expected EdDSA or ML-DSA-65, that of the pinned key")]
    Algorithm,
    #[error("bearer token: kid names no admin key of this broker's configuration")]
    NotPinned,
    #[error("bearer token: the signature does not verify under the pinned key")]
    Signature,
    #[error("bearer token: its time is over, has not begun, or is longer than a day")]
    Time,
    #[error("bearer token: role: expected the one that is pinned with the key")]
    Role,
    #[error("this admin may not do that: its role is for another repository")]
    Tenant,
    #[error("this admin may not do that: its role is for something else")]
    Denied,
}

impl BearerRefusal {
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::Missing => "kbs.bearer.missing",
            Self::Malformed => "kbs.bearer.malformed",
            Self::Algorithm => "kbs.bearer.algorithm",
            Self::NotPinned => "kbs.bearer.not_pinned",
            Self::Signature => "kbs.bearer.signature",
            Self::Time => "kbs.bearer.time",
            Self::Role => "kbs.bearer.role",
            Self::Tenant => "kbs.bearer.tenant",
            Self::Denied => "kbs.bearer.denied",
        }
    }
}

/// A key in the token would be ignored by a lenient reader and believed by a careless one; here it is refused.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: String,
    kid: String,
    #[serde(default, rename = "typ")]
    _typ: Option<String>,
}

#[derive(Deserialize)]
struct Claims {
    exp: u64,
    iat: u64,
    #[serde(default)]
    nbf: Option<u64>,
    role: String,
}

/// Whose request this is.
///
/// # Errors
/// [`BearerRefusal`].
pub(crate) fn authenticate<'a>(
    token: &str,
    admins: &'a [CocoAdmin],
    now: UnixTime,
) -> Result<Admin<'a>, BearerRefusal> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(BearerRefusal::Malformed);
    }
    let (signed, signature) = token.rsplit_once('.').ok_or(BearerRefusal::Malformed)?;
    let (header, claims) = signed.split_once('.').ok_or(BearerRefusal::Malformed)?;
    let header: Header = part(header)?;
    let pinned = admins.iter().find(|a| a.name.as_str() == header.kid);
    let pinned = pinned.ok_or(BearerRefusal::NotPinned)?;
    if header.alg != pinned.algorithm.name() {
        return Err(BearerRefusal::Algorithm);
    }
    let signature = URL_SAFE_NO_PAD
        .decode(signature)
        .map_err(|_| BearerRefusal::Malformed)?;
    let key = hex::decode(&pinned.public_key).map_err(|_| BearerRefusal::NotPinned)?;
    let verified = match pinned.algorithm {
        CocoAlgorithm::EdDSA => UnparsedPublicKey::new(&ED25519, &key)
            .verify(signed.as_bytes(), &signature)
            .is_ok(),
        CocoAlgorithm::MlDsa65 => VerifyingKey::<MlDsa65>::from_bytes(&key)
            .and_then(|key| key.verify(signed.as_bytes(), &signature))
            .is_ok(),
    };
    if !verified {
        return Err(BearerRefusal::Signature);
    }
    let claims: Claims = part(claims)?;
    let begun = claims.iat.max(claims.nbf.unwrap_or(0)) <= now.0.saturating_add(SKEW_S);
    let short = claims.exp.checked_sub(claims.iat).is_some_and(|s| s <= LIFETIME_S_MAX);
    if !begun || !short || now.0 > claims.exp {
        return Err(BearerRefusal::Time);
    }
    let role = match pinned.role {
        CocoRole::Auditor => "auditor",
        CocoRole::Operator => "operator",
        CocoRole::TenantAdmin => "tenant-admin",
    };
    if claims.role != role {
        return Err(BearerRefusal::Role);
    }
    Ok(Admin {
        pinned,
        party: Digest384::of(&key),
    })
}

impl Admin<'_> {
    /// Refuses another tenant's repository, and who only reads.
    pub(crate) fn may_change(&self, repository: &Name) -> Result<(), BearerRefusal> {
        match &self.pinned.tenant {
            _ if self.pinned.role == CocoRole::Auditor => Err(BearerRefusal::Denied),
            Some(tenant) if tenant != repository => Err(BearerRefusal::Tenant),
            _ => Ok(()),
        }
    }
}

impl Admin<'_> {
    /// Refuses who may not read the audit log: it names every tenant.
    pub(crate) fn may_audit(&self) -> Result<(), BearerRefusal> {
        match self.pinned.role {
            CocoRole::Auditor => Ok(()),
            CocoRole::Operator | CocoRole::TenantAdmin => Err(BearerRefusal::Denied),
        }
    }
}

/// True if the key that audit lines name by this digest is still pinned, and for this tenant.
pub(crate) fn may_still(admins: &[CocoAdmin], party: &Digest384, tenant: &Name) -> bool {
    admins.iter().any(|pinned| {
        let party = *party;
        let named = hex::decode(&pinned.public_key).is_ok_and(|key| Digest384::of(&key) == party);
        named && Admin { pinned, party }.may_change(tenant).is_ok()
    })
}

/// What is wrong with a pinned key, if something is.
pub(super) fn check_key(admin: &CocoAdmin) -> Result<(), &'static str> {
    let key = hex::decode(&admin.public_key).map_err(|_| "public_key: expected lower-case hex")?;
    let good = match admin.algorithm {
        CocoAlgorithm::EdDSA => key.len() == 32,
        CocoAlgorithm::MlDsa65 => VerifyingKey::<MlDsa65>::from_bytes(&key).is_ok(),
    };
    match good {
        true => Ok(()),
        false => Err("public_key: expected 32 bytes (EdDSA) or 1952 (ML-DSA-65)"),
    }
}

fn part<T: DeserializeOwned>(text: &str) -> Result<T, BearerRefusal> {
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| BearerRefusal::Malformed)?;
    let value = json_without_duplicates(&bytes).map_err(|_| BearerRefusal::Malformed)?;
    serde_json::from_value(value).map_err(|_| BearerRefusal::Malformed)
}
