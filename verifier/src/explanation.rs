//! What was checked, with values: the tree that `hanzo-verify explain` prints and draws.
//!
//! An explanation is for showing alone: it decides nothing and no function takes one. Its verdict is the one that
//! [`crate::verify_bundle`], [`crate::read_bundle`] or [`crate::verify_foreign`] gave.

mod amd;
mod build;
mod documents;
mod intel;
mod nvidia;
mod tpm;

use hanzo_attestation::evidence::Class;
use hanzo_policy::Check;
use serde::Serialize;

use crate::view::VerdictView;

pub use build::{explain_bundle, explain_foreign};

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Checked, and holds.
    Passed,
    /// Checked, and does not hold.
    Failed,
    /// Not reached, because an earlier step failed.
    NotReached,
    /// A value, checked by nothing in this place.
    Stated,
}

/// One step or value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Node {
    /// What it is, in the field's own words.
    pub title: String,
    /// How it ended.
    pub status: Status,
    /// The value, if there is one.
    pub value: Option<String>,
    /// Stable code, of a step that failed.
    pub code: Option<String>,
    /// What a person can do, of a step that failed.
    pub help: Option<String>,
    /// Parts.
    pub parts: Vec<Node>,
}

impl Node {
    fn step(title: &str, status: Status) -> Self {
        Self {
            title: title.into(),
            status,
            value: None,
            code: None,
            help: None,
            parts: Vec::new(),
        }
    }

    fn passed(title: &str) -> Self {
        Self::step(title, Status::Passed)
    }

    fn stated(title: &str, value: impl Into<String>) -> Self {
        Self {
            value: Some(value.into()),
            ..Self::step(title, Status::Stated)
        }
    }

    fn with(mut self, parts: impl IntoIterator<Item = Self>) -> Self {
        self.parts.extend(parts);
        self
    }

    fn saying(mut self, value: impl Into<String>) -> Self {
        self.value = Some(value.into());
        self
    }
}

/// One hop of a chain of trust, from the root down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Hop {
    /// Who or what.
    pub name: String,
    /// What it says about the next one; empty for the last.
    pub vouches: &'static str,
}

/// How a rule of the policy ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RuleOutcome {
    /// It holds.
    Passed,
    /// It does not hold, and the policy's minimum tier needs it.
    Failed,
    /// It does not hold, and only tiers that the policy does not ask for need it.
    NotAskedFor,
}

/// One rule of the policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RuleView {
    /// How it ended.
    pub outcome: RuleOutcome,
    /// The rule and what was found.
    #[serde(flatten)]
    pub check: Check,
}

/// Everything that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Explanation {
    /// True if the verdict is yes.
    pub accepted: bool,
    /// One sentence.
    pub headline: String,
    /// Stable code of the refusal.
    pub code: Option<String>,
    /// Exit code of `hanzo-verify`.
    pub exit_code: u8,
    /// The four steps with what they looked at: parse and authenticate, bind, appraise, result.
    pub steps: Vec<Node>,
    /// Chains of trust, each from a pinned root down to what it finally vouches for.
    pub chains: Vec<Vec<Hop>>,
    /// Every rule of the policy that was run, passed or failed.
    pub rules: Vec<RuleView>,
    /// The verdict; `None` if the evidence is not authentic or not bound.
    pub verdict: Option<VerdictView>,
}

/// The step at which a class of errors ends the way.
fn failed_step(class: Class) -> usize {
    match class {
        Class::Malformed => 0,
        Class::NotAuthentic => 1,
        Class::Unbound => 2,
        Class::Refused => 3,
    }
}
