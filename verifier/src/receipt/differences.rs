//! What a changed receipt says otherwise: names for people, after the signatures were found not to verify.

use std::collections::{BTreeMap, BTreeSet};

use hanzo_attestation::keyset::Keyset;
use serde_json::Value;

use super::verify::contradictions;
use super::{Receipt, ReceiptError};

/// A member in which a receipt differs from the genuine one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Its name, members of members after a dot.
    pub member: String,
    /// What was signed.
    pub expected: String,
    /// What the receipt at hand says.
    pub got: String,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: signed {}, here {}", self.member, self.expected, self.got)
    }
}

impl Receipt {
    /// The members in which this receipt differs from `genuine`, ascending by name.
    pub fn differences(&self, genuine: &Self) -> Vec<Difference> {
        let (here, there) = (members(self), members(genuine));
        let names: BTreeSet<&String> = here.keys().chain(there.keys()).collect();
        let value =
            |of: &BTreeMap<String, String>, name: &str| of.get(name).map_or("nothing", |v| v.as_str()).to_owned();
        names
            .into_iter()
            .filter(|name| here.get(*name) != there.get(*name))
            .map(|name| Difference {
                member: name.clone(),
                expected: value(&there, name),
                got: value(&here, name),
            })
            .collect()
    }

    /// Everything in which this receipt contradicts the keyset that it names, whether or not anybody signed it.
    pub fn contradictions(&self, keyset: &Keyset) -> Vec<ReceiptError> {
        contradictions(self, keyset)
    }
}

fn members(receipt: &Receipt) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    // A receipt is a flat object but for two members, which are flat.
    if let Ok(Value::Object(all)) = serde_json::to_value(receipt) {
        for (name, value) in all {
            match value {
                Value::Object(inner) => {
                    found.extend(inner.into_iter().map(|(n, v)| (format!("{name}.{n}"), text(&v))));
                }
                value => drop(found.insert(name, text(&value))),
            }
        }
    }
    found
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
