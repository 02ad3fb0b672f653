//! Members of a request object, taken one by one; what is left over is unknown.

use serde_json::{Map, Value};

use crate::error::ApiError;

pub(super) struct Fields(pub(super) Map<String, Value>);

/// What kind of JSON value, for error texts.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn invalid(param: &str, expected: &'static str, got: &Value) -> ApiError {
    let got = match got {
        Value::Number(n) => n.to_string(),
        other => kind(other).into(),
    };
    ApiError::Invalid {
        param: param.into(),
        expected,
        got,
    }
}

impl Fields {
    /// Takes a member; null counts as absent.
    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name).filter(|v| !v.is_null())
    }

    pub(super) fn boolean(&mut self, name: &str) -> Result<Option<bool>, ApiError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Bool(b)) => Ok(Some(b)),
            Some(other) => Err(invalid(name, "true or false", &other)),
        }
    }

    pub(super) fn integer(&mut self, name: &str, least: u64, most: u64) -> Result<Option<u64>, ApiError> {
        let Some(value) = self.take(name) else { return Ok(None) };
        match value.as_u64() {
            Some(n) if (least..=most).contains(&n) => Ok(Some(n)),
            _ if least == 0 => Err(invalid(name, "a whole number from 0 to 2^53 - 1", &value)),
            _ => Err(invalid(name, "a whole number from 1 to 2^53 - 1", &value)),
        }
    }

    pub(super) fn number(
        &mut self,
        name: &str,
        expected: &'static str,
        least: f64,
        most: f64,
    ) -> Result<Option<f64>, ApiError> {
        let Some(value) = self.take(name) else { return Ok(None) };
        match value.as_f64() {
            Some(n) if (least..=most).contains(&n) => Ok(Some(n)),
            _ => Err(invalid(name, expected, &value)),
        }
    }

    /// Takes the members of `table` (name, the one value besides null that asks for nothing; `*`: any).
    pub(super) fn refuse_what_is_not_built(&mut self, table: &[(&str, &str)]) -> Result<(), ApiError> {
        for (name, neutral) in table {
            let Some(value) = self.take(name) else { continue };
            let neutral_value = serde_json::from_str::<Value>(neutral).ok();
            let same =
                neutral_value.is_some_and(|n| n == value || n.as_f64().is_some_and(|n| value.as_f64() == Some(n)));
            if *neutral != "*" && !same {
                return Err(ApiError::Unsupported {
                    param: (*name).into(),
                    hint: "",
                });
            }
        }
        Ok(())
    }

    pub(super) fn refuse_the_rest(self) -> Result<(), ApiError> {
        match self.0.into_iter().next() {
            // The name is the caller's own text: it goes back to the caller alone, cut short.
            Some((name, _)) => Err(ApiError::Unknown {
                param: name.chars().take(64).collect(),
            }),
            None => Ok(()),
        }
    }
}
