//! YAML as JSON values.

use serde_json::{Map, Value};
use yaml_rust2::{Yaml, YamlLoader};

/// The documents of a text. Keys are strings; a key twice, an anchor or a number that JSON lacks are refused.
///
/// # Errors
/// Where it is no such YAML.
pub fn documents(text: &str) -> Result<Vec<Value>, String> {
    let documents = YamlLoader::load_from_str(text).map_err(|e| e.to_string())?;
    documents.into_iter().map(value).collect()
}

fn value(yaml: Yaml) -> Result<Value, String> {
    Ok(match yaml {
        Yaml::Null => Value::Null,
        Yaml::Boolean(truth) => truth.into(),
        Yaml::Integer(number) => number.into(),
        Yaml::Real(number) => {
            let number: f64 = number.parse().map_err(|_| format!("the number {number}"))?;
            serde_json::Number::from_f64(number)
                .map(Value::Number)
                .ok_or("a number that JSON lacks")?
        }
        Yaml::String(text) => text.into(),
        Yaml::Array(items) => items.into_iter().map(value).collect::<Result<_, _>>()?,
        Yaml::Hash(members) => {
            let member = |(key, yaml): (Yaml, Yaml)| match key {
                Yaml::String(key) => Ok((key, value(yaml)?)),
                other => Err(format!("a key that is no string: {other:?}")),
            };
            Value::Object(members.into_iter().map(member).collect::<Result<Map<_, _>, String>>()?)
        }
        Yaml::Alias(_) | Yaml::BadValue => return Err("an alias".into()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_stands_once() {
        assert_eq!(documents("a: 1\n---\nb: [x]\n").unwrap().len(), 2);
        assert!(documents("a: 1\na: 2\n").is_err());
        assert!(documents("1: a\n").is_err());
    }
}
