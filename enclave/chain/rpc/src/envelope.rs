//! JSON-RPC 2.0, read strictly: one call a body, by name, nothing unknown, nothing twice.

use std::fmt;

use hanzo_ledger::TX_BYTES_MAX;
use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value, json};

/// Longest body of a request: a transaction in hex, and what stands around it.
pub const REQUEST_BYTES_MAX: usize = 2 * TX_BYTES_MAX + 4096;
/// Longest `id` that is text.
const ID_CHARS_MAX: usize = 64;
/// Longest text of a refusal that holds anything of the request.
const TEXT_CHARS_MAX: usize = 300;

/// Why a call has no result: a number of JSON-RPC, a text, and a stable dotted code in `data`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// -32700 (no JSON), -32600 (no call), -32601 (no such method), -32602 (parameters), -32603 (the node), -32000 (the ledger or the
    /// mempool refuses), -32001 (there is none), -32002 (not now).
    pub number: i64,
    /// What, where, expected, got.
    pub message: String,
    /// Stable dotted code.
    pub code: String,
}

impl Failure {
    pub(crate) fn new(number: i64, code: impl Into<String>, message: impl Into<String>) -> Self {
        let code = code.into();
        let message = message.into();
        Self { number, message, code }
    }

    pub(crate) fn params(message: impl fmt::Display) -> Self {
        Self::new(-32602, "rpc.params", plain(&format!("params: {message}")))
    }

    pub(crate) fn none(what: &str) -> Self {
        let text = format!("{what}: there is none of that name here; ask another node, or later");
        Self::new(-32001, "rpc.none", text)
    }

    /// The answer to the call `id`; `None`: it could not be read.
    pub(crate) fn answer(&self, id: Option<&Id>) -> Vec<u8> {
        let error = json!({"code": self.number, "message": self.message, "data": {"code": self.code}});
        json!({"jsonrpc": "2.0", "id": id, "error": error})
            .to_string()
            .into_bytes()
    }
}

/// What names a call to its caller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Id {
    Number(u64),
    Text(String),
}

/// Named parameters, each once.
#[derive(Debug, Default)]
struct Members(Map<String, Value>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Once;
        impl<'de> Visitor<'de> for Once {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of named parameters")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut all = Map::new();
                while let Some((name, value)) = map.next_entry::<String, Value>()? {
                    if value.is_object() || value.is_array() {
                        let text = "params: expected a string, a number or null under each name, got more";
                        return Err(serde::de::Error::custom(text));
                    }
                    if all.insert(name, value).is_some() {
                        return Err(serde::de::Error::custom("params: a name stands there twice"));
                    }
                }
                Ok(Members(all))
            }
        }
        from.deserialize_map(Once)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    jsonrpc: String,
    id: Id,
    method: String,
    #[serde(default)]
    params: Members,
}

/// One call.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) id: Id,
    pub(crate) method: String,
    params: Map<String, Value>,
}

impl Request {
    pub(crate) fn parse(body: &[u8]) -> Result<Self, Failure> {
        let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
        if first == Some(&b'[') {
            let text =
                "request: expected one call, got a batch: send one call a request, on as many connections as you like";
            return Err(Failure::new(-32600, "rpc.batch", text));
        }
        let wire: Wire = serde_json::from_slice(body).map_err(|e| match e.is_data() {
            true => Failure::new(-32600, "rpc.request", plain(&format!("request: {e}"))),
            false => Failure::new(-32700, "rpc.json", plain(&format!("request: expected JSON: {e}"))),
        })?;
        if wire.jsonrpc != "2.0" {
            let text = plain(&format!("request: jsonrpc: expected 2.0, got {}", wire.jsonrpc));
            return Err(Failure::new(-32600, "rpc.request", text));
        }
        if matches!(&wire.id, Id::Text(text) if text.chars().count() > ID_CHARS_MAX) {
            let text = format!("request: id: expected at most {ID_CHARS_MAX} characters");
            return Err(Failure::new(-32600, "rpc.request", text));
        }
        Ok(Self {
            id: wire.id,
            method: wire.method,
            params: wire.params.0,
        })
    }

    /// The parameters as a call's own.
    pub(crate) fn call<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_value(Value::Object(self.params.clone())).map_err(Failure::params)
    }
}

/// What may be shown of somebody's words: short, and without control characters.
pub(crate) fn plain(text: &str) -> String {
    let mut chars = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut out: String = chars.by_ref().take(TEXT_CHARS_MAX).collect();
    if chars.next().is_some() {
        out.push('…');
    }
    out
}
