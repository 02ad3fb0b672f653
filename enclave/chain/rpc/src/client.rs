//! Calls as bytes and answers out of bytes; whoever has a socket carries them.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::calls::Call;

/// Where calls are posted.
pub const PATH: &str = "/v1/chain/rpc";
/// Where blocks stream from; `?from=HEIGHT`.
pub const BLOCKS_PATH: &str = "/v1/chain/blocks";
/// Longest answer that is read: the longest light proof in hex, and what stands around it.
pub const ANSWER_BYTES_MAX: usize = 2 * hanzo_chain_types::LIGHT_PROOF_BYTES_MAX + 4096;

/// Why a call has no answer.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The node refused, in its own words.
    #[error("{message}")]
    Refused {
        /// JSON-RPC's number.
        number: i64,
        /// The node's words.
        message: String,
        /// Its dotted code.
        code: String,
    },
    /// What came is no answer to this call.
    #[error("{method}: expected an answer as in enclave/chain/rpc/SPEC.md, got something else: {what}")]
    Answer {
        /// Which call.
        method: &'static str,
        /// How.
        what: String,
    },
}

impl CallError {
    /// Stable dotted code; the node's where it refused.
    pub fn code(&self) -> &str {
        match self {
            Self::Refused { code, .. } => code,
            Self::Answer { .. } => "rpc.answer",
        }
    }
}

#[derive(Deserialize)]
struct Envelope {
    jsonrpc: String,
    id: Option<u64>,
    #[serde(default)]
    result: Option<Value>,
    #[serde(default)]
    error: Option<Refused>,
}

#[derive(Deserialize)]
struct Refused {
    code: i64,
    message: String,
    #[serde(default)]
    data: Option<Coded>,
}

#[derive(Deserialize)]
struct Coded {
    code: String,
}

/// The body of a call.
pub fn request<C: Call>(id: u64, call: &C) -> Vec<u8> {
    let params = serde_json::to_value(call).unwrap_or_default();
    let whole = json!({"jsonrpc": "2.0", "id": id, "method": C::METHOD, "params": params});
    whole.to_string().into_bytes()
}

/// The answer to call `id`, out of a body.
///
/// # Does not establish
/// That any of it is so: a light proof does.
///
/// # Errors
/// [`CallError`].
pub fn answer<C: Call>(id: u64, body: &[u8]) -> Result<C::Answer, CallError> {
    let wrong = |what: String| CallError::Answer {
        method: C::METHOD,
        what,
    };
    let read: Envelope = serde_json::from_slice(body).map_err(|e| wrong(e.to_string()))?;
    if read.jsonrpc != "2.0" {
        return Err(wrong("jsonrpc: expected 2.0".into()));
    }
    if let Some(refused) = read.error {
        return Err(CallError::Refused {
            number: refused.code,
            message: crate::envelope::plain(&refused.message),
            code: refused
                .data
                .map_or_else(|| "rpc.refused".into(), |d| crate::envelope::plain(&d.code)),
        });
    }
    if read.id != Some(id) {
        return Err(wrong(format!("id: expected {id}, got {:?}", read.id)));
    }
    let result = read
        .result
        .ok_or_else(|| wrong("result: expected one, got none".into()))?;
    serde_json::from_value(result).map_err(|e| wrong(e.to_string()))
}
