//! The evaluator. This build has none: every module is refused when it is put.

use crate::RegoError;

/// What a rule is.
#[allow(dead_code, reason = "made by an evaluator")]
pub(crate) enum Answer {
    Bool(bool),
    Undefined,
    /// Another type, by name.
    Other(&'static str),
}

const NONE: &str = "this build has no evaluator";

/// The package that `text` declares, as `data.<path>`. The error is the parser's text.
pub(crate) fn package(_: &str, _: bool) -> Result<String, String> {
    Err(NONE.to_owned())
}

/// Whether `text` has a rule of this path.
pub(crate) fn has_rule(_: &str, _: bool, _: &str) -> Result<bool, String> {
    Err(NONE.to_owned())
}

/// Evaluates a rule.
pub(crate) fn rule(_: &str, _: bool, _: &str, _: &str, _: &str) -> Result<Answer, RegoError> {
    Err(RegoError::Evaluation {
        detail: NONE.to_owned(),
    })
}
