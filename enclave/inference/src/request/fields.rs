//! Members of a request object, taken one by one; what is left over is unknown. Errors name the whole path.

use serde_json::{Map, Value};

use crate::error::ApiError;

pub(super) struct Fields {
    members: Map<String, Value>,
    at: String,
}

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

pub(super) fn invalid(param: impl Into<String>, expected: &'static str, got: impl Into<String>) -> ApiError {
    ApiError::Invalid {
        param: param.into(),
        expected,
        got: got.into(),
    }
}

/// What came in place of what was expected; numbers are shown, texts never.
pub(super) fn wrong(param: impl Into<String>, expected: &'static str, got: Option<&Value>) -> ApiError {
    let got = match got {
        None => "nothing".into(),
        Some(Value::Number(n)) => n.to_string(),
        Some(other) => kind(other).into(),
    };
    invalid(param, expected, got)
}

impl Fields {
    /// The members of the object at `at`; an empty path is the request itself.
    pub(super) fn of(at: impl Into<String>, value: Value, expected: &'static str) -> Result<Self, ApiError> {
        let at = at.into();
        match value {
            Value::Object(members) => Ok(Self { members, at }),
            other => Err(wrong(at, expected, Some(&other))),
        }
    }

    /// The path of a member.
    pub(super) fn path(&self, name: &str) -> String {
        match self.at.is_empty() {
            true => name.to_owned(),
            false => format!("{}.{name}", self.at),
        }
    }

    /// Takes a member; null counts as absent.
    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        #[cfg(test)]
        seen::note(&self.path(name));
        self.members.remove(name).filter(|v| !v.is_null())
    }

    /// Takes members that change nothing about an answer.
    pub(super) fn drop_all(&mut self, names: &[&str]) {
        names.iter().for_each(|name| drop(self.take(name)));
    }

    pub(super) fn boolean(&mut self, name: &str) -> Result<Option<bool>, ApiError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Bool(b)) => Ok(Some(b)),
            Some(other) => Err(wrong(self.path(name), "true or false", Some(&other))),
        }
    }

    pub(super) fn integer(
        &mut self,
        name: &str,
        expected: &'static str,
        least: u64,
        most: u64,
    ) -> Result<Option<u64>, ApiError> {
        let Some(value) = self.take(name) else { return Ok(None) };
        match value.as_u64() {
            Some(n) if (least..=most).contains(&n) => Ok(Some(n)),
            _ => Err(wrong(self.path(name), expected, Some(&value))),
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
            _ => Err(wrong(self.path(name), expected, Some(&value))),
        }
    }

    pub(super) fn text(&mut self, name: &str) -> Result<Option<String>, ApiError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(wrong(self.path(name), "a text", Some(&other))),
        }
    }

    pub(super) fn required_text(&mut self, name: &str) -> Result<String, ApiError> {
        let missing = wrong(self.path(name), "a text", None);
        self.text(name)?.ok_or(missing)
    }

    /// An object member, with its own path.
    pub(super) fn object(&mut self, name: &str) -> Result<Option<Fields>, ApiError> {
        let path = self.path(name);
        self.take(name)
            .map(|value| Fields::of(path, value, "an object"))
            .transpose()
    }

    pub(super) fn list(&mut self, name: &str) -> Result<Option<Vec<Value>>, ApiError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Array(list)) => Ok(Some(list)),
            Some(other) => Err(wrong(self.path(name), "a list", Some(&other))),
        }
    }

    /// Refuses a member that is there, saying why.
    pub(super) fn refuse(&mut self, name: &str, hint: &'static str) -> Result<(), ApiError> {
        match self.take(name) {
            None => Ok(()),
            Some(_) => Err(ApiError::Unsupported {
                param: self.path(name),
                hint,
            }),
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
                    param: self.path(name),
                    hint: "",
                });
            }
        }
        Ok(())
    }

    pub(super) fn refuse_the_rest(self) -> Result<(), ApiError> {
        match self.members.keys().next() {
            // The name is the caller's own text: it goes back to the caller alone, cut short.
            Some(name) => Err(ApiError::Unknown {
                param: self.path(&name.chars().take(64).collect::<String>()),
            }),
            None => Ok(()),
        }
    }
}

/// Which members were asked for while a test ran: what the document must name.
#[cfg(test)]
pub(crate) mod seen {
    use std::cell::RefCell;
    use std::collections::BTreeSet;

    thread_local! {
        static SEEN: RefCell<BTreeSet<String>> = const { RefCell::new(BTreeSet::new()) };
    }

    pub(super) fn note(path: &str) {
        let mut plain = String::new();
        let mut inside = false;
        for c in path.chars() {
            match c {
                '[' => inside = true,
                ']' => {
                    inside = false;
                    plain.push_str("[]");
                }
                c if !inside => plain.push(c),
                _ => {}
            }
        }
        SEEN.with(|seen| seen.borrow_mut().insert(plain));
    }

    /// The paths since the last call, `[]` for any place in a list.
    pub(crate) fn drain() -> BTreeSet<String> {
        SEEN.with(|seen| std::mem::take(&mut *seen.borrow_mut()))
    }
}
