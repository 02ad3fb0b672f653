//! The table of a guest's callers: who they are and how much each may ask (`enclave/inference/ACCESS.md`).
//!
//! The measured configuration pins one signer. What it signs may add customers, which changes who asks and nothing that the
//! guest can do; the guest takes newer versions of the table alone, and none after its end.
//!
//! # Layout
//! JCS (RFC 8785) of at most 1 MiB. Signed bytes: the canonical [`Table`] under [`Domain::Callers`], by both keys of the signer.
//!
//! # Establishes
//! [`VerifiedTable`]: the pinned signer signed this table for this operator, it is well-formed and has not ended.
//!
//! # Does not establish
//! That it is the newest: whoever keeps an older one can show it. The guest remembers the newest it saw.

mod api_key;
mod error;
mod issuer;
mod request;
mod token;

use hanzo_attestation::config::PinnedSigner;
use hanzo_attestation::jcs;
use hanzo_attestation::keyset::SignaturePair;
use hanzo_attestation::name::Name;
use hanzo_attestation::{Digest384, UnixTime};
use hanzo_pqc::sign::{Signature, SignatureSuite, VerifyingKeys};
use hanzo_pqc::{Domain, PqcError};
use serde::{Deserialize, Serialize};

pub use api_key::ApiKey;
pub use error::CallersError;
pub use issuer::{EcCurve, Issuer, IssuerKey, Jwk, OkpCurve};
pub use request::{RequestAlgorithm, RequestError, RequestKeys, RequestLine, RequestSignature, content_digest};
pub use token::{Claim, Claims, TOKEN_BYTES_MAX, TokenError, is_token, verify_token};

/// Longest signed table in bytes.
pub const TABLE_BYTES_MAX: usize = 1 << 20;
/// Most callers of one table.
pub const CALLERS_MAX: usize = 2048;
/// Largest count that the table holds: JSON's integers end at 2^53.
const COUNT_MAX: u64 = (1 << 53) - 1;
/// Most requests of one caller at a time.
const CONCURRENT_MAX: u32 = 1024;
const WHAT: &str = "table of callers";

/// Every caller of one operator's guests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// Ascending by `id`, each once.
    pub callers: Vec<Caller>,
    /// When it was signed, Unix seconds.
    pub issued_at: u64,
    /// Identity providers whose tokens count, ascending by `issuer`; at most 16. Left out if there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub issuers: Vec<Issuer>,
    /// The last second at which it counts.
    pub not_after: u64,
    /// Whose guests take it: the `operator` of their configuration.
    pub operator: Name,
    /// What it is.
    pub purpose: Purpose,
    /// 1 or more; a guest takes no older one than it has seen.
    pub version: u64,
}

/// The one thing that such a document is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Purpose {
    /// Version 1 of the format.
    #[serde(rename = "hanzo.callers.v1")]
    V1,
}

/// One caller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Caller {
    /// Tokens of prompts and answers in all; `null`: no end. A guest counts what it served itself.
    pub budget_tokens: Option<u64>,
    /// Requests at a time: 1 to 1,024. More wait.
    pub concurrent_requests: u32,
    /// How it is known.
    pub credential: Credential,
    /// The last second at which it may ask.
    pub expires_at: u64,
    /// Its name in usage and in the operator's books.
    pub id: Name,
    /// With whom it shares an engine.
    pub isolation: Isolation,
    /// What it may ask.
    pub models: Models,
    /// Requests a minute: 1 or more.
    pub requests_per_min: u64,
    /// What else it may do.
    pub role: Role,
    /// The least tier of a guest that serves it: 0 to 4.
    pub tier_min: u8,
    /// Tokens of prompts and answers a minute: 1 or more.
    pub tokens_per_min: u64,
}

/// What a caller shows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Credential {
    /// An API key, by its hash ([`ApiKey::hash`]).
    ApiKey(Digest384),
    /// A token of an issuer of the table, by what it says.
    Claim(Claim),
    /// Signed requests, by public keys.
    RequestKeys(RequestKeys),
}

/// With whom a caller shares an engine's process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Isolation {
    /// With whoever may ask the same model.
    Shared,
    /// With nobody: each model that it asks is started for it alone.
    Own,
}

/// What a caller may do besides asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Nothing.
    User,
    /// See what every caller used.
    Admin,
}

/// Which models a caller may ask. All of them has to be written out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Models {
    /// `"any"`.
    Any,
    /// `{"named":[…]}`: ascending, each once, at least one.
    Named(Vec<Name>),
}

impl Models {
    /// True if `model` is among them.
    pub fn allow(&self, model: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Named(names) => names.iter().any(|name| name.as_str() == model),
        }
    }
}

/// A table as it travels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedTable {
    /// Both signatures over the canonical table.
    pub signature: SignaturePair,
    /// What they are over.
    pub table: Table,
}

/// A table whose signer, operator and time were checked.
///
/// ```compile_fail,E0451
/// # fn forge(table: hanzo_verifier::callers::Table) -> hanzo_verifier::callers::VerifiedTable {
/// hanzo_verifier::callers::VerifiedTable { table }
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedTable {
    table: Table,
}

impl VerifiedTable {
    /// The table.
    pub fn table(&self) -> &Table {
        &self.table
    }
}

impl Table {
    /// Refuses what no guest may take.
    ///
    /// # Errors
    /// [`CallersError::Value`].
    pub fn check(&self) -> Result<(), CallersError> {
        let value = |ok: bool, field, expected, got: String| match ok {
            true => Ok(()),
            false => Err(CallersError::Value { field, expected, got }),
        };
        let callers = &self.callers;
        value(
            callers.len() <= CALLERS_MAX,
            "callers",
            "at most 2048",
            callers.len().to_string(),
        )?;
        value(
            callers.is_sorted_by(|a, b| a.id < b.id),
            "callers",
            "ascending by id, each once",
            "another order".into(),
        )?;
        value(
            (1..=COUNT_MAX).contains(&self.version),
            "version",
            "1 to 2^53 - 1",
            self.version.to_string(),
        )?;
        value(
            self.issued_at <= self.not_after && self.not_after <= COUNT_MAX,
            "not_after",
            "issued_at or later",
            self.not_after.to_string(),
        )?;
        let mut shown: Vec<_> = callers.iter().map(|c| &c.credential).collect();
        shown.sort();
        value(
            shown.is_sorted_by(|a, b| a < b),
            "callers.credential",
            "each once",
            "a repeated one".into(),
        )?;
        callers.iter().try_for_each(Caller::check)?;
        let claims = callers.iter().filter_map(|c| match &c.credential {
            Credential::Claim(claim) => Some(claim.issuer.as_str()),
            Credential::ApiKey(_) | Credential::RequestKeys(_) => None,
        });
        issuer::check(&self.issuers, claims)
    }

    /// Signed by `sign`, which gets the domain and the bytes to be signed, once the table is one that a guest may take.
    ///
    /// # Errors
    /// As [`Table::check`]; [`CallersError::Crypto`].
    pub fn sign(
        self,
        sign: impl FnOnce(Domain, &[u8]) -> Result<Signature, PqcError>,
    ) -> Result<SignedTable, CallersError> {
        self.check()?;
        let signature = sign(Domain::Callers, &jcs::to_vec(WHAT, &self)?)?;
        Ok(SignedTable {
            signature: SignaturePair {
                ed25519: signature.ed25519_hex(),
                ml_dsa: signature.ml_dsa_hex(),
            },
            table: self,
        })
    }
}

impl Caller {
    fn check(&self) -> Result<(), CallersError> {
        let value = |ok: bool, field, expected, got: String| match ok {
            true => Ok(()),
            false => Err(CallersError::Value { field, expected, got }),
        };
        let counts = 1..=COUNT_MAX;
        value(
            self.budget_tokens.is_none_or(|n| counts.contains(&n)),
            "callers.budget_tokens",
            "null or 1 to 2^53 - 1",
            "another number".into(),
        )?;
        value(
            (1..=CONCURRENT_MAX).contains(&self.concurrent_requests),
            "callers.concurrent_requests",
            "1 to 1024",
            self.concurrent_requests.to_string(),
        )?;
        value(
            self.expires_at <= COUNT_MAX,
            "callers.expires_at",
            "below 2^53",
            self.expires_at.to_string(),
        )?;
        value(
            counts.contains(&self.requests_per_min),
            "callers.requests_per_min",
            "1 to 2^53 - 1",
            self.requests_per_min.to_string(),
        )?;
        value(
            counts.contains(&self.tokens_per_min),
            "callers.tokens_per_min",
            "1 to 2^53 - 1",
            self.tokens_per_min.to_string(),
        )?;
        value(
            self.tier_min <= 4,
            "callers.tier_min",
            "0 to 4",
            self.tier_min.to_string(),
        )?;
        match &self.credential {
            Credential::ApiKey(_) => {}
            Credential::Claim(claim) => claim.check()?,
            Credential::RequestKeys(keys) => keys.check().map_err(CallersError::RequestKeys)?,
        }
        match &self.models {
            Models::Any => Ok(()),
            Models::Named(names) => value(
                !names.is_empty() && names.is_sorted_by(|a, b| a < b),
                "callers.models",
                "any, or names in ascending order, each once",
                format!("{} names", names.len()),
            ),
        }
    }
}

impl SignedTable {
    /// Reads a table, and trusts nothing of it.
    ///
    /// # Errors
    /// [`CallersError::Format`].
    pub fn parse(bytes: &[u8]) -> Result<Self, CallersError> {
        let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        Ok(jcs::from_slice(WHAT, bytes, TABLE_BYTES_MAX)?)
    }

    /// The document.
    ///
    /// # Errors
    /// [`CallersError::Format`], never for a table that was parsed or signed.
    pub fn to_bytes(&self) -> Result<Vec<u8>, CallersError> {
        Ok(jcs::to_vec(WHAT, self)?)
    }

    /// Checks signatures, operator and time, and that the table is well-formed.
    ///
    /// # Errors
    /// [`CallersError`].
    pub fn verify(self, signer: &PinnedSigner, operator: &Name, now: UnixTime) -> Result<VerifiedTable, CallersError> {
        verifying_keys(signer)?.verify(
            Domain::Callers,
            &jcs::to_vec(WHAT, &self.table)?,
            &Signature::from_hex(&self.signature.ml_dsa, &self.signature.ed25519)?,
        )?;
        let table = self.table;
        table.check()?;
        if table.operator != *operator {
            return Err(CallersError::Operator {
                expected: operator.clone(),
                got: table.operator,
            });
        }
        if now.0 > table.not_after {
            return Err(CallersError::Over {
                not_after: table.not_after,
            });
        }
        Ok(VerifiedTable { table })
    }
}

/// The keys of a signer that a configuration pins.
fn verifying_keys(signer: &PinnedSigner) -> Result<VerifyingKeys, CallersError> {
    let suite = SignatureSuite::from_name(&signer.suite).ok_or(CallersError::Suite)?;
    Ok(VerifyingKeys::from_hex(suite, &signer.ml_dsa, &signer.ed25519)?)
}

impl From<PqcError> for CallersError {
    fn from(e: PqcError) -> Self {
        match e {
            PqcError::Signature { .. } => Self::Signature,
            other => Self::Crypto(other),
        }
    }
}
