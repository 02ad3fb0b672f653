//! What a tenant puts over all its keys: one Rego module, and the reference values that it may look at.

use hanzo_attestation::foreign::json_without_duplicates;
use hanzo_attestation::jcs;
use serde_json::{Map, Value};

/// Longest canonical form of a tenant's reference values.
pub const REFERENCE_BYTES_MAX: usize = 128 * 1024;
/// Most reference values of a tenant.
pub const REFERENCE_NAMES_MAX: usize = 1024;
/// Longest name of a reference value in bytes.
const NAME_BYTES_MAX: usize = 128;

/// A module that every release of a tenant's keys must pass besides the key's own policy. It only narrows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantPolicy {
    /// Text of the module: `package policy`, rule `allow`.
    pub rego: String,
    /// The tenant's reference values, an object: `data.reference` of this module and of nothing else.
    pub reference: Value,
}

/// Why reference values were refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// Not a JSON object of values.
    #[error(
        "reference values: {what}: expected an object of names (1 to 128 bytes) and values: texts, integers, true or false, or lists of these"
    )]
    Value {
        /// Which part.
        what: &'static str,
    },
    /// More than a tenant may have.
    #[error(
        "reference values: {names} names, {bytes} bytes: at most {REFERENCE_NAMES_MAX} names and {REFERENCE_BYTES_MAX} bytes of one tenant are kept"
    )]
    TooMany {
        /// How many names there would be.
        names: usize,
        /// How many bytes.
        bytes: usize,
    },
}

impl ReferenceError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Value { .. } => "kbs.reference.value",
            Self::TooMany { .. } => "kbs.reference.too_many",
        }
    }
}

/// Reads reference values and returns them with their canonical form.
///
/// # Errors
/// [`ReferenceError`]. Fractions are refused: they have no one spelling.
pub fn check_reference(bytes: &[u8]) -> Result<(Map<String, Value>, String), ReferenceError> {
    let wrong = |what| ReferenceError::Value { what };
    let value = json_without_duplicates(bytes).map_err(|_| wrong("not JSON, or a name twice"))?;
    let Value::Object(values) = value else {
        return Err(wrong("not an object"));
    };
    for (name, value) in &values {
        if !(1..=NAME_BYTES_MAX).contains(&name.len()) {
            return Err(wrong("a name"));
        }
        let good = match value {
            Value::Array(list) => list.iter().all(is_plain),
            one => is_plain(one),
        };
        if !good {
            return Err(wrong("a value"));
        }
    }
    let text = jcs::to_vec("reference values", &values).map_err(|_| wrong("a value"))?;
    if values.len() > REFERENCE_NAMES_MAX || text.len() > REFERENCE_BYTES_MAX {
        return Err(ReferenceError::TooMany {
            names: values.len(),
            bytes: text.len(),
        });
    }
    Ok((values, String::from_utf8_lossy(&text).into_owned()))
}

fn is_plain(value: &Value) -> bool {
    match value {
        Value::String(_) | Value::Bool(_) => true,
        Value::Number(n) => n.is_i64() || n.is_u64(),
        _ => false,
    }
}
