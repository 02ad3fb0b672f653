//! The messages of RCAR 0.4.0, read strictly: bounded, no unknown members, nothing ignored that has a meaning.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hanzo_attestation::Nonce;
use hanzo_attestation::foreign::json_without_duplicates;
use hanzo_attestation::name::KeyId;
use kbs_types::Tee;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::WireError;

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
/// Longest `attest` body in bytes: eight GPUs, four switches and an event log take about a third of it.
pub const ATTEST_BYTES_MAX: usize = 1024 * 1024;
/// Start of the paths of every plugin.
pub const KBS_PATH: &str = "/kbs/v0";

const CHALLENGE_BYTES_MAX: usize = 4 * 1024;

/// Whether the sample TEE is let in. It proves nothing; a broker for tests says so in its configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SampleTee {
    /// Refused by name.
    Refused,
    /// Let in: what comes of it is simulated and of tier 0.
    TestOnly,
}

/// Reads an `auth` body; a session may be opened for any kind of evidence this version verifies. The sample TEE is refused.
///
/// # Errors
/// [`WireError`]: another version is told apart before anything else, so that old clients learn why.
pub fn auth_request(bytes: &[u8]) -> Result<Tee, WireError> {
    auth_request_with(bytes, SampleTee::Refused)
}

/// As [`auth_request`], with a word on the sample TEE.
///
/// # Errors
/// [`WireError`].
pub fn auth_request_with(bytes: &[u8], sample: SampleTee) -> Result<Tee, WireError> {
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
        tee @ (Tee::Snp | Tee::Tdx | Tee::AzSnpVtpm | Tee::AzTdxVtpm | Tee::Tpm) => Ok(tee),
        Tee::Sample if sample == SampleTee::TestOnly => Ok(Tee::Sample),
        Tee::Sample => Err(WireError::Sample),
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

/// Where a key is asked for.
pub fn resource_path(key: &KeyId) -> String {
    format!("{RESOURCE_PATH}/{key}")
}

/// Bounded, and no object names a member twice: what two readers could understand differently is refused.
pub(crate) fn read<T: DeserializeOwned>(what: &'static str, bytes: &[u8], limit: usize) -> Result<T, WireError> {
    if bytes.len() > limit {
        return Err(WireError::TooLarge {
            what,
            limit,
            got: bytes.len(),
        });
    }
    let value = json_without_duplicates(bytes).map_err(|detail| WireError::Shape { what, detail })?;
    serde_json::from_value(value).map_err(|e| shape(what, &e))
}

/// serde_json's own message may quote input.
pub(crate) fn shape(what: &'static str, e: &serde_json::Error) -> WireError {
    WireError::Shape {
        what,
        detail: format!("not the expected JSON ({:?})", e.classify()),
    }
}
