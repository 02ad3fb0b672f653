//! The evaluator: everything that is said to crate `regorus`.

use std::panic::{AssertUnwindSafe, catch_unwind};

use regorus::{Engine, Value};

use crate::RegoError;
use crate::steps;

const FILE: &str = "policy.rego";

/// Trustee's function: the reference value of a name, or null.
const QUERY_REFERENCE: &str = "query_reference_value";

/// What a rule is.
pub(crate) enum Answer {
    Bool(bool),
    Undefined,
    /// Another type, by name.
    Other(&'static str),
}

/// The package that `text` declares, as `data.<path>`. The error is the parser's text.
pub(crate) fn package(text: &str, v0: bool) -> Result<String, String> {
    guarded(|| {
        let mut engine = engine(v0)?;
        engine.add_policy(FILE.to_owned(), text.to_owned()).map_err(first_line)
    })
}

/// Whether `text` has a rule of this path.
pub(crate) fn has_rule(text: &str, v0: bool, name: &str) -> Result<bool, String> {
    guarded(|| {
        let engine = loaded(text, v0)?;
        engine.has_declared_rule_rooted_at(FILE, name).map_err(first_line)
    })
}

/// Evaluates a rule. `reference` (JSON) is what [`QUERY_REFERENCE`] answers from; without it there is no such function.
pub(crate) fn rule(
    text: &str,
    v0: bool,
    rule: &str,
    data: &str,
    reference: Option<&str>,
    input: &str,
) -> Result<Answer, RegoError> {
    let outcome = guarded(|| {
        let mut engine = loaded(text, v0)?;
        engine.add_data_json(data).map_err(first_line)?;
        if let Some(reference) = reference {
            let values = Value::from_json_str(reference).map_err(first_line)?;
            let query = move |names: Vec<Value>| {
                let name = names.first().unwrap_or(&Value::Undefined);
                let found = values.as_object().ok().and_then(|values| values.get(name));
                Ok(found.cloned().unwrap_or(Value::Null))
            };
            let function = QUERY_REFERENCE.to_owned();
            engine.add_extension(function, 1, Box::new(query)).map_err(first_line)?;
        }
        engine.set_input_json(input).map_err(first_line)?;
        engine.eval_rule(rule.to_owned()).map_err(first_line)
    });
    if steps::used_up() {
        return Err(RegoError::Steps);
    }
    Ok(match outcome.map_err(|detail| RegoError::Evaluation { detail })? {
        Value::Bool(answer) => Answer::Bool(answer),
        Value::Undefined => Answer::Undefined,
        Value::Null => Answer::Other("null"),
        Value::Number(_) => Answer::Other("a number"),
        Value::String(_) => Answer::Other("a text"),
        Value::Array(_) => Answer::Other("an array"),
        Value::Set(_) => Answer::Other("a set"),
        Value::Object(_) => Answer::Other("an object"),
    })
}

/// An engine whose steps are counted from here.
fn engine(v0: bool) -> Result<Engine, String> {
    let bound = steps::bound().ok_or("the evaluator's steps cannot be counted")?;
    let mut engine = Engine::new();
    engine.set_rego_v0(v0);
    engine.set_strict_builtin_errors(true);
    engine.set_execution_timer_config(bound);
    Ok(engine)
}

fn loaded(text: &str, v0: bool) -> Result<Engine, String> {
    let mut engine = engine(v0)?;
    engine
        .add_policy(FILE.to_owned(), text.to_owned())
        .map_err(first_line)?;
    Ok(engine)
}

/// The evaluator is other people's code over text that a tenant wrote: if it panics, the answer is no.
fn guarded<T>(run: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| Err("the evaluator stopped".to_owned()))
}

/// Errors of the evaluator draw the place below the first lines; they quote the module, never the input.
fn first_line(e: impl std::fmt::Display) -> String {
    let text = e.to_string();
    let lines: Vec<_> = text.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
    let said = lines.iter().find(|l| l.starts_with("error:")).or(lines.last());
    said.map_or("", |l| l.trim_start_matches("error:").trim())
        .chars()
        .take(200)
        .collect()
}
