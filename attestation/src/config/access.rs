//! Who may ask, and how much waits for the engine.

use serde::{Deserialize, Serialize};

use super::{Config, ConfigError, PinnedSigner, SealedMessages};

/// Most requests that wait.
const QUEUED_MAX: u32 = 4096;
/// Longest wait in seconds.
const WAIT_S_MAX: u64 = 3600;

/// Whether callers have to say who they are. There is no default: a guest that asks nobody says so in its configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Auth {
    /// Whoever reaches the guest may ask.
    None,
    /// Only callers of the table that `access` pins.
    Required,
}

/// Who says which callers there are.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Access {
    /// Signs the table of callers (`enclave/inference/ACCESS.md`): who they are and how much each may ask. What the guest can do
    /// at all, this table cannot change.
    pub table_signer: PinnedSigner,
    /// The oldest version of the table that counts, whatever the guest's store remembers: 1 or more.
    pub table_version_min: u64,
}

/// How requests wait for the engine. Without it none does: what comes while the engine works on as many as configured is
/// refused at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Queue {
    /// Requests of all callers that wait: 0 to 4,096.
    pub requests: u32,
    /// How long one waits at most, in seconds: 1 to 3,600.
    pub wait_s: u64,
    /// Tokens, of prompts and answers, that the engine works on at a time: what its memory has room for. At least every model's
    /// `context_tokens`; as many as requests bring if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
}

impl Config {
    /// Checks what this module reads.
    ///
    /// # Errors
    /// [`ConfigError::Value`].
    pub(super) fn check_access(&self) -> Result<(), ConfigError> {
        let wrong = |field, expected, got: String| Err(ConfigError::Value { field, expected, got });
        match (self.auth, &self.access) {
            (Auth::None, Some(_)) => {
                return wrong(
                    "access",
                    "no [access] beside auth = \"none\", where nobody is asked",
                    "one".into(),
                );
            }
            (Auth::Required, None) => {
                return wrong(
                    "access",
                    "[access] with table_signer beside auth = \"required\"",
                    "none".into(),
                );
            }
            (Auth::Required, Some(access)) if access.table_version_min == 0 || access.table_version_min >= 1 << 53 => {
                return wrong(
                    "access.table_version_min",
                    "1 to 2^53 - 1",
                    access.table_version_min.to_string(),
                );
            }
            (Auth::None, None) | (Auth::Required, Some(_)) => {}
        }
        if matches!(
            (self.auth, self.sealed),
            (Auth::Required, SealedMessages { ehbp: true, .. })
        ) {
            return wrong(
                "sealed.ehbp",
                "false beside auth = \"required\": EHBP shows headers, and API keys in them, to the host",
                "true".into(),
            );
        }
        let Some(queue) = &self.queue else { return Ok(()) };
        if queue.requests > QUEUED_MAX {
            return wrong("queue.requests", "0 to 4096", queue.requests.to_string());
        }
        if !(1..=WAIT_S_MAX).contains(&queue.wait_s) {
            return wrong("queue.wait_s", "1 to 3600", queue.wait_s.to_string());
        }
        let longest = self.models.iter().map(|m| u64::from(m.context_tokens)).max();
        match queue.tokens {
            Some(tokens) if tokens < longest.unwrap_or(0) || tokens >= 1 << 53 => wrong(
                "queue.tokens",
                "at least the context_tokens of every model",
                tokens.to_string(),
            ),
            _ => Ok(()),
        }
    }
}
