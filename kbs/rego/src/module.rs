//! One module and its evaluation.

use serde_json::json;

use crate::evaluate::{self, Answer};

/// Longest module in bytes.
pub const TEXT_BYTES_MAX: usize = 64 * 1024;
/// Longest input in bytes.
pub const INPUT_BYTES_MAX: usize = 256 * 1024;

/// Most steps of one evaluation. A policy of a hundred rules over eight GPUs takes some ten thousand.
pub const STEPS_MAX: u64 = 1_000_000;

/// Functions that turn a few bytes of arguments into any amount of memory in one step.
const REFUSED: [&str; 3] = ["numbers.range", "bits.lsh", "sprintf"];

const PACKAGE: &str = "data.policy";
const RULE: &str = "data.policy.allow";

/// Checked text of a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    text: String,
    /// True for text of before Rego 1.0, which many CoCo policies are.
    v0: bool,
}

/// What is asked for: `kbs:///repository/type/tag`, or a plugin's path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource<'a> {
    /// `resource` for stored secrets.
    pub plugin: &'a str,
    /// The path's segments.
    pub path: &'a [&'a str],
    /// The query's members.
    pub query: &'a [(&'a str, &'a str)],
}

/// Why a module was refused, or said no.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RegoError {
    /// Longer than 64 KiB, or empty.
    #[error("rego: expected 1 to {TEXT_BYTES_MAX} bytes, got {got}")]
    Length {
        /// Its length.
        got: usize,
    },
    /// Not Rego.
    #[error("rego: not a module: {detail}")]
    Syntax {
        /// The parser's text, first line.
        detail: String,
    },
    /// Another package.
    #[error("rego: package: expected `policy`, got `{got}`")]
    Package {
        /// What it says.
        got: String,
    },
    /// There is no rule to ask.
    #[error("rego: expected a rule `allow`, the module has none: it could never release anything")]
    NoRule,
    /// A function that this broker does not have.
    #[error(
        "rego: {name}: this function is not available, because it makes values of any size: write the rule without it"
    )]
    Function {
        /// Its name.
        name: &'static str,
    },
    /// The claims are larger than anything real.
    #[error("rego: input: at most {INPUT_BYTES_MAX} bytes are accepted, got {got}")]
    InputTooLarge {
        /// Its length.
        got: usize,
    },
    /// `allow` is false.
    #[error("rego: allow is false")]
    Denied,
    /// No rule says anything.
    #[error("rego: allow is undefined: no rule of the module applies, and there is no default")]
    Undefined,
    /// `allow` is something else.
    #[error("rego: allow: expected true or false, got {got}")]
    NotBoolean {
        /// Its type.
        got: &'static str,
    },
    /// The evaluation failed.
    #[error("rego: evaluation: {detail}")]
    Evaluation {
        /// The evaluator's text, first line.
        detail: String,
    },
    /// More than [`crate::STEPS_MAX`] steps.
    #[error("rego: evaluation: more than {} steps: simplify the module", crate::STEPS_MAX)]
    Steps,
}

impl RegoError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Length { .. } => "rego.length",
            Self::Syntax { .. } => "rego.syntax",
            Self::Package { .. } => "rego.package",
            Self::NoRule => "rego.no_rule",
            Self::Function { .. } => "rego.function",
            Self::InputTooLarge { .. } => "rego.input",
            Self::Denied => "rego.denied",
            Self::Undefined => "rego.undefined",
            Self::NotBoolean { .. } => "rego.not_boolean",
            Self::Evaluation { .. } => "rego.evaluation",
            Self::Steps => "rego.steps",
        }
    }
}

impl Module {
    /// Checks `text`: length, syntax, package, a rule `allow`, no function of the refused ones.
    ///
    /// # Errors
    /// [`RegoError`], the first that applies.
    pub fn parse(text: &str) -> Result<Self, RegoError> {
        if text.is_empty() || text.len() > TEXT_BYTES_MAX {
            return Err(RegoError::Length { got: text.len() });
        }
        let dense: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        if let Some(name) = REFUSED.into_iter().find(|name| dense.contains(name)) {
            return Err(RegoError::Function { name });
        }
        let v1 = evaluate::package(text, false);
        let (package, v0) = match v1 {
            Ok(package) => (package, false),
            Err(in_v1) => match evaluate::package(text, true) {
                Ok(package) => (package, true),
                Err(_) => return Err(RegoError::Syntax { detail: in_v1 }),
            },
        };
        if package != PACKAGE {
            let got = package.strip_prefix("data.").unwrap_or(&package).to_owned();
            return Err(RegoError::Package { got });
        }
        let module = Self {
            text: text.to_owned(),
            v0,
        };
        match evaluate::has_rule(text, v0, "allow") {
            Ok(true) => Ok(module),
            Ok(false) => Err(RegoError::NoRule),
            Err(detail) => Err(RegoError::Syntax { detail }),
        }
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Asks the module about `resource`, with `input` (JSON: the claims of the attestation).
    ///
    /// # Errors
    /// [`RegoError`]: everything but `true`.
    pub fn allows(&self, input: &serde_json::Value, resource: &Resource<'_>) -> Result<(), RegoError> {
        self.ask(input, resource, None)
    }

    /// As [`Module::allows`], with `reference` (a JSON object: name to value) as `data.reference` and as what
    /// `query_reference_value(name)` answers from, which is null for every other name.
    ///
    /// # Errors
    /// [`RegoError`]: everything but `true`.
    pub fn allows_by_reference(
        &self,
        input: &serde_json::Value,
        resource: &Resource<'_>,
        reference: &serde_json::Value,
    ) -> Result<(), RegoError> {
        self.ask(input, resource, Some(reference))
    }

    fn ask(
        &self,
        input: &serde_json::Value,
        resource: &Resource<'_>,
        reference: Option<&serde_json::Value>,
    ) -> Result<(), RegoError> {
        let input = input.to_string();
        if input.len() > INPUT_BYTES_MAX {
            return Err(RegoError::InputTooLarge { got: input.len() });
        }
        let query: serde_json::Map<_, _> = resource
            .query
            .iter()
            .map(|(name, value)| ((*name).to_owned(), json!(value)))
            .collect();
        let mut data = json!({"plugin": resource.plugin, "query": query, "resource-path": resource.path});
        if let (Some(reference), Some(data)) = (reference, data.as_object_mut()) {
            data.insert("reference".to_owned(), reference.clone());
        }
        let (data, reference) = (data.to_string(), reference.map(ToString::to_string));
        if reference.as_ref().is_some_and(|r| r.len() > INPUT_BYTES_MAX) {
            return Err(RegoError::InputTooLarge { got: data.len() });
        }
        match evaluate::rule(&self.text, self.v0, RULE, &data, reference.as_deref(), &input)? {
            Answer::Bool(true) => Ok(()),
            Answer::Bool(false) => Err(RegoError::Denied),
            Answer::Undefined => Err(RegoError::Undefined),
            Answer::Other(got) => Err(RegoError::NotBoolean { got }),
        }
    }
}
