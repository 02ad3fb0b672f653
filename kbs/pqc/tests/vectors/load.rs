//! Where vectors come from, and how their fields are read.

use serde_json::Value;
use std::io::Write as _;

/// The bytes of one vector file, or a loud line on stderr.
pub fn bytes(name: &str) -> Option<Vec<u8>> {
    let path = format!(
        concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/vectors/pqc/{}"),
        name
    );
    match std::fs::read(&path) {
        Ok(bytes) => Some(bytes),
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "VECTORS MISSING {path} ({error}): not run");
            None
        }
    }
}

pub fn json(name: &str) -> Option<Value> {
    Some(serde_json::from_slice(&bytes(name)?).unwrap())
}

/// All tests of a Wycheproof or ACVP file, each with its group.
#[allow(dead_code, reason = "not every includer reads grouped files")]
pub fn grouped(name: &str) -> Option<Vec<(Value, Value)>> {
    let file = json(name)?;
    let mut all = Vec::new();
    for group in file["testGroups"].as_array().unwrap() {
        for test in group["tests"].as_array().unwrap() {
            let mut head = group.clone();
            head.as_object_mut().unwrap().remove("tests");
            all.push((head, test.clone()));
        }
    }
    Some(all)
}

/// A hex field; absent reads as empty.
pub fn hex_of(value: &Value, field: &str) -> Vec<u8> {
    hex::decode(value[field].as_str().unwrap_or("")).unwrap()
}
