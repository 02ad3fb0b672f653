//! The messages of RCAR 0.4.0, read strictly: bounded, no unknown members, nothing ignored that has a meaning.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hanzo_attestation::Nonce;
use hanzo_attestation::bundle::SnpEvidence;
use hanzo_attestation::name::KeyId;
use kbs_types::Tee;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{WireError, WrapKey};

/// The only protocol version spoken.
pub const PROTOCOL_VERSION: &str = "0.4.0";
/// `POST`: asks for a challenge.
pub const AUTH_PATH: &str = "/kbs/v0/auth";
/// `POST`: answers it with evidence.
pub const ATTEST_PATH: &str = "/kbs/v0/attest";
/// `GET`, with `/repository/type/tag`: asks for a key.
pub const RESOURCE_PATH: &str = "/kbs/v0/resource";
/// The session cookie.
pub const COOKIE_NAME: &str = "kbs-session-id";
/// Start of the `type` of every error body.
pub const ERROR_TYPE_PREFIX: &str = "https://github.com/confidential-containers/kbs/errors/";
/// Longest `auth` body in bytes.
pub const AUTH_BYTES_MAX: usize = 4 * 1024;
/// Longest `attest` body in bytes.
pub const ATTEST_BYTES_MAX: usize = 256 * 1024;

const CHALLENGE_BYTES_MAX: usize = 4 * 1024;

/// Reads an `auth` body; a session may be opened for any kind of evidence this version verifies.
///
/// # Errors
/// [`WireError`]: another version is told apart before anything else, so that old clients learn why.
pub fn auth_request(bytes: &[u8]) -> Result<Tee, WireError> {
    #[derive(Deserialize)]
    struct VersionOnly {
        version: String,
    }
    let what = "auth";
    let version: VersionOnly = read(what, bytes, AUTH_BYTES_MAX)?;
    if version.version != PROTOCOL_VERSION {
        return Err(WireError::Version);
    }
    let request: kbs_types::Request = read(what, bytes, AUTH_BYTES_MAX)?;
    match request.tee {
        Tee::Snp => Ok(Tee::Snp),
        got => Err(WireError::Tee { got }),
    }
}

/// The body of the reply to `auth`.
pub fn challenge_body(nonce: &Nonce) -> Value {
    serde_json::json!({"nonce": encode_nonce(nonce), "extra-params": ""})
}

/// The 32 bytes as RCAR spells them: standard base64 with padding.
pub fn encode_nonce(nonce: &Nonce) -> String {
    STANDARD.encode(nonce.as_bytes())
}

/// Reads what [`encode_nonce`] writes and no other spelling of it.
///
/// # Errors
/// [`WireError::Nonce`].
pub fn decode_nonce(text: &str) -> Result<Nonce, WireError> {
    if text.len() != 44 {
        return Err(WireError::Nonce);
    }
    let bytes = STANDARD.decode(text).map_err(|_| WireError::Nonce)?;
    bytes.try_into().map(Nonce).map_err(|_| WireError::Nonce)
}

/// Reads the reply to `auth`.
///
/// # Errors
/// [`WireError`].
pub(crate) fn read_challenge(bytes: &[u8]) -> Result<(String, Nonce), WireError> {
    let challenge: kbs_types::Challenge = read("challenge", bytes, CHALLENGE_BYTES_MAX)?;
    let default_hash = match &challenge.extra_params {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Object(members) => match members.get("selected-hash-algorithm") {
            Some(chosen) => chosen == "sha384" && members.len() == 1,
            None => members.is_empty(),
        },
        _ => false,
    };
    if !default_hash {
        return Err(WireError::Unsupported {
            member: "extra-params",
            expected: "an empty string, or sha384 as selected-hash-algorithm",
        });
    }
    let nonce = decode_nonce(&challenge.nonce)?;
    Ok((challenge.nonce, nonce))
}

/// An `attest` body whose shape was checked and nothing else.
#[derive(Debug)]
pub struct AttestBody {
    /// The session's nonce string, verbatim.
    pub nonce: String,
    /// The `tee-pubkey` object, verbatim: it is what the evidence commits to.
    pub tee_pubkey: Value,
    /// The same key, checked.
    pub wrap_key: WrapKey,
    /// The evidence.
    pub evidence: SnpEvidence,
}

impl AttestBody {
    /// Reads an `attest` body of a session that was opened for `snp`.
    ///
    /// # Errors
    /// [`WireError`]. Init-data and additional evidence are refused rather than ignored.
    pub fn parse(bytes: &[u8]) -> Result<Self, WireError> {
        let raw: RawAttest = read("attest", bytes, ATTEST_BYTES_MAX)?;
        if raw.init_data.is_some_and(|v| !v.is_null()) {
            return Err(WireError::Unsupported {
                member: "init-data",
                expected: "null (the configuration is measured)",
            });
        }
        if !raw.tee_evidence.additional_evidence.is_empty() {
            return Err(WireError::Unsupported {
                member: "additional_evidence",
                expected: "an empty string (no device evidence is verified)",
            });
        }
        let wrap_key = WrapKey::parse(&raw.runtime_data.tee_pubkey)?;
        let evidence =
            serde_json::from_value(raw.tee_evidence.primary_evidence).map_err(|e| shape("primary_evidence", &e))?;
        Ok(Self {
            nonce: raw.runtime_data.nonce,
            tee_pubkey: raw.runtime_data.tee_pubkey,
            wrap_key,
            evidence,
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawAttest {
    init_data: Option<Value>,
    runtime_data: RawRuntime,
    tee_evidence: RawEvidence,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawRuntime {
    nonce: String,
    tee_pubkey: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawEvidence {
    primary_evidence: Value,
    additional_evidence: String,
}

/// Where a key is asked for.
pub fn resource_path(key: &KeyId) -> String {
    format!("{RESOURCE_PATH}/{key}")
}

fn read<T: DeserializeOwned>(what: &'static str, bytes: &[u8], limit: usize) -> Result<T, WireError> {
    if bytes.len() > limit {
        return Err(WireError::TooLarge {
            what,
            limit,
            got: bytes.len(),
        });
    }
    serde_json::from_slice(bytes).map_err(|e| shape(what, &e))
}

/// serde_json's own message may quote input; the place is enough.
fn shape(what: &'static str, e: &serde_json::Error) -> WireError {
    WireError::Shape {
        what,
        detail: format!(
            "not the expected JSON ({:?}) at line {} column {}",
            e.classify(),
            e.line(),
            e.column()
        ),
    }
}
