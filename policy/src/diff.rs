//! What changed between two policies, and in which direction.
//!
//! Every key is compared. Of most, one direction admits less: a higher floor, a shorter allow-list, a table that is gone. A
//! policy that differs from another, valid one in nothing but such keys never grants a higher tier to any evidence.

mod tables;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::policy::{AllowList, AppraisalPolicy, Count};

/// One key that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Where, e.g. `snp.tcb_floor.genoa.microcode` or `tdx.references.appliance-0.1.0`.
    pub path: String,
    /// In the first policy; `absent` for an entry or table that it does not have.
    pub from: String,
    /// In the second.
    pub to: String,
    /// What that means.
    pub direction: Direction,
}

/// What the second policy admits compared with the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Less: nothing passes this key that did not before.
    Narrower,
    /// More: nothing fails this key that did not before.
    Wider,
    /// Something else.
    Changed,
}

impl Direction {
    /// `narrower`, `wider` or `changed`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Narrower => "narrower",
            Self::Wider => "wider",
            Self::Changed => "changed",
        }
    }

    fn opposite(self) -> Self {
        match self {
            Self::Narrower => Self::Wider,
            Self::Wider => Self::Narrower,
            Self::Changed => Self::Changed,
        }
    }
}

const ABSENT: &str = "absent";

/// Compares two policies key by key, in the order of the file. Equal policies have no differences.
///
/// # Does not establish
/// That either policy is in its ranges: see [`AppraisalPolicy::check`].
pub fn diff(from: &AppraisalPolicy, to: &AppraisalPolicy) -> Vec<Difference> {
    let mut walk = Walk::default();
    tables::policy(&mut walk, from, to);
    walk.found
}

/// Collects differences.
#[derive(Default)]
struct Walk {
    found: Vec<Difference>,
}

impl Walk {
    fn push(&mut self, path: &str, from: impl Into<String>, to: impl Into<String>, direction: Direction) {
        self.found.push(Difference {
            path: path.to_owned(),
            from: from.into(),
            to: to.into(),
            direction,
        });
    }

    /// A value of which more is `more`.
    fn ordered<T: PartialOrd + Serialize>(&mut self, path: &str, from: &T, to: &T, more: Direction) {
        if from != to {
            let direction = if to > from { more } else { more.opposite() };
            self.push(path, text(from), text(to), direction);
        }
    }

    /// A value of which `strict` admits less than any other.
    fn switch<T: PartialEq + Serialize>(&mut self, path: &str, from: &T, to: &T, strict: &T) {
        if from != to {
            let direction = if to == strict {
                Direction::Narrower
            } else {
                Direction::Wider
            };
            self.push(path, text(from), text(to), direction);
        }
    }

    fn count(&mut self, path: &str, from: Count, to: Count) {
        let direction = match (from, to) {
            (Count::Any, Count::Exactly(_)) => Direction::Narrower,
            (Count::Exactly(_), Count::Any) => Direction::Wider,
            _ => Direction::Changed,
        };
        if from != to {
            self.push(path, text(&from), text(&to), direction);
        }
    }

    /// Entries of which each is worth `each` where it is new.
    fn entries<T: Ord + Serialize>(&mut self, path: &str, from: &[T], to: &[T], each: Direction) {
        for gone in from.iter().filter(|e| !to.contains(e)) {
            self.push(path, text(gone), ABSENT, each.opposite());
        }
        for new in to.iter().filter(|e| !from.contains(e)) {
            self.push(path, ABSENT, text(new), each);
        }
    }

    fn allow_list<T: Ord + Serialize>(&mut self, path: &str, from: &AllowList<T>, to: &AllowList<T>) {
        let listed = |n: usize| format!("{n} listed");
        match (from, to) {
            (AllowList::Any, AllowList::Any) => {}
            (AllowList::Any, AllowList::Listed(l)) => self.push(path, "any", listed(l.len()), Direction::Narrower),
            (AllowList::Listed(l), AllowList::Any) => self.push(path, listed(l.len()), "any", Direction::Wider),
            (AllowList::Listed(from), AllowList::Listed(to)) => self.entries(path, from, to, Direction::Wider),
        }
    }

    /// Entries with a name: a new one admits more, another value under the same name something else.
    fn named<T: PartialEq + Serialize>(&mut self, path: &str, from: &[T], to: &[T], name: impl Fn(&T) -> String) {
        let by_name = |entries: &[T]| -> BTreeMap<String, usize> {
            entries.iter().enumerate().map(|(i, e)| (name(e), i)).collect()
        };
        let (old, new) = (by_name(from), by_name(to));
        let value = |entries: &[T], i: &usize| entries.get(*i).map_or_else(String::new, text);
        for (name, i) in &old {
            let path = format!("{path}.{name}");
            match new.get(name) {
                None => self.push(&path, value(from, i), ABSENT, Direction::Narrower),
                Some(j) if from.get(*i) != to.get(*j) => {
                    self.push(&path, value(from, i), value(to, j), Direction::Changed);
                }
                Some(_) => {}
            }
        }
        for (name, i) in new.iter().filter(|(name, _)| !old.contains_key(*name)) {
            self.push(&format!("{path}.{name}"), ABSENT, value(to, i), Direction::Wider);
        }
    }

    /// A table that is not there admits nothing.
    fn table<T>(&mut self, path: &str, from: Option<&T>, to: Option<&T>, inner: impl FnOnce(&mut Self, &T, &T)) {
        match (from, to) {
            (None, None) => {}
            (Some(_), None) => self.push(path, "present", ABSENT, Direction::Narrower),
            (None, Some(_)) => self.push(path, ABSENT, "present", Direction::Wider),
            (Some(from), Some(to)) => inner(self, from, to),
        }
    }
}

/// A value as the policy file has it.
fn text<T: Serialize>(value: &T) -> String {
    match toml::Value::try_from(value) {
        Ok(toml::Value::String(word)) => word,
        Ok(other) => other.to_string().trim_end().replace('\n', " "),
        Err(_) => "?".to_owned(),
    }
}

#[cfg(test)]
mod tests;
